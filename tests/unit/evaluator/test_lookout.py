"""A reign's models are asked about fresh reviews in batches; every answer counts once, in the order of the stream."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.evaluator import bets
from services.evaluator.bets import Bet
from services.evaluator.exam import Model, Unavailable
from services.evaluator.lookout import MOST_ROWS, REFERENCE_ROWS, SKETCHED_ROWS, Lookout
from services.evaluator.notebook import Notebook
from services.evaluator.quarantine import Tally
from services.evaluator.reign import Reign
from services.evaluator.shadow import Answers, Questions
from shared.metrics import Role
from shared.monitor_settings import MonitorSettings

OLD, NEW = Model("1", "1" * 64), Model("2", "2" * 64)
TRUTH = 1


class FakeShadow:
    """Answers at the next look: the old model is always right, the new one where `new_is_right` says so."""

    def __init__(self, new_is_right: Callable[[int], bool] = lambda offset: True) -> None:
        self.asked: list[Questions] = []
        self.unusable: dict[Model, str] = {}
        self.is_away = False
        self._new_is_right = new_is_right
        self._under_way: Questions | None = None

    @property
    def is_busy(self) -> bool:
        return self._under_way is not None

    def ask(self, questions: Questions) -> None:
        assert not self.is_busy
        self.asked.append(questions)
        self._under_way = questions

    def result(self) -> Answers | Unavailable | None:
        questions, self._under_way = self._under_way, None
        if questions is None:
            return None
        if self.is_away:
            return Unavailable("MLflow is away")
        labels = {
            model: {offset: self._label(model, offset) for offset in offsets}
            for model, offsets in questions.asked.items()
            if model not in self.unusable
        }
        sketches = {model: dict.fromkeys(offsets, b"seen") for model, offsets in questions.sketched.items()}
        return Answers(
            labels, sketches, {model: why for model, why in self.unusable.items() if model in questions.asked}
        )

    def close(self) -> None:
        self._under_way = None

    def _label(self, model: Model, offset: int) -> int:
        is_right = model == OLD or self._new_is_right(offset)
        return TRUTH if is_right else 1 - TRUTH


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    notebook = Notebook(tmp_path / "monitor.sqlite", MonitorSettings())
    yield notebook
    notebook.close()


def read(notebook: Notebook, offsets: range, lookout: Lookout | None = None) -> None:
    with notebook.transaction():
        for offset in offsets:
            notebook.note(offset, float(offset), TRUTH, f"review {offset}")
    if lookout:
        lookout.look_again()


def reign(
    *, after_offset: int = -1, number: int = 2, previous: Model | None = OLD, after: float | None = None
) -> Reign:
    contenders = {Role.CHAMPION: NEW} | ({Role.PREVIOUS: previous} if previous else {})
    more: dict[str, Any] = {} if after is None else {"after": datetime.fromtimestamp(after, UTC)}
    return Reign(number, contenders, after_offset, **more)


def serving(notebook: Notebook, shadow: FakeShadow, served: Reign | None = None) -> Lookout:
    lookout = Lookout(MonitorSettings(), notebook, shadow)
    lookout.serve(served or reign())
    return lookout


def stepped(lookout: Lookout, steps: int = 12) -> Lookout:
    for _ in range(steps):
        lookout.step()
    return lookout


def bets_of(notebook: Notebook, number: int = 2) -> tuple[Bet, ...]:
    return bets.read(notebook.path, number, OLD.version)


def tally(lookout: Lookout, role: Role = Role.CHAMPION) -> Tally:
    assert lookout.vigil is not None
    return lookout.vigil.prequential.overall(role)


def test_nothing_is_asked_before_a_batch_is_there(notebook: Notebook) -> None:
    shadow = FakeShadow()
    read(notebook, range(49))
    lookout = stepped(serving(notebook, shadow))
    assert shadow.asked == []
    read(notebook, range(49, 50), lookout)
    stepped(lookout)
    assert [len(questions.texts) for questions in shadow.asked] == [50]
    assert tally(lookout) == Tally(50, 50)


def test_a_backlog_is_worked_off_in_bounded_batches(notebook: Notebook) -> None:
    shadow = FakeShadow()
    read(notebook, range(2 * MOST_ROWS + 60))
    lookout = stepped(serving(notebook, shadow))
    assert [len(questions.texts) for questions in shadow.asked] == [MOST_ROWS, MOST_ROWS, 60]
    assert tally(lookout).rows == 2 * MOST_ROWS + 60


def test_without_a_champion_no_model_is_asked(notebook: Notebook) -> None:
    shadow = FakeShadow()
    read(notebook, range(500))
    lookout = Lookout(MonitorSettings(), notebook, shadow)
    stepped(lookout)
    assert shadow.asked == []
    assert lookout.vigil is None


def test_reviews_that_the_champion_was_made_or_chosen_with_do_not_count(notebook: Notebook) -> None:
    read(notebook, range(500))
    assert tally(stepped(serving(notebook, FakeShadow(), reign(after_offset=299)))).rows == 200
    assert tally(stepped(serving(notebook, FakeShadow(), reign(after_offset=299, after=399.0)))).rows == 100


def test_a_worse_champion_raises_the_alarm_once(notebook: Notebook) -> None:
    read(notebook, range(500))
    lookout = stepped(serving(notebook, FakeShadow(lambda offset: offset % 4 > 0)))
    assert lookout.vigil is not None
    alarm = lookout.vigil.alarms[Role.PREVIOUS]
    assert alarm.bet.offset < 200
    read(notebook, range(500, 800), lookout)
    stepped(lookout)
    assert lookout.vigil.alarms == {Role.PREVIOUS: alarm}


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_restart_at_any_step_counts_every_review_once(notebook: Notebook, steps: int) -> None:
    """Batches are cut elsewhere and some are asked twice; what they add up to is the same."""
    read(notebook, range(700))
    wrong = FakeShadow(lambda offset: offset % 7 > 0)
    stepped(serving(notebook, wrong), steps)
    again = stepped(serving(notebook, FakeShadow(lambda offset: offset % 7 > 0)))
    assert again.vigil is not None
    unbroken = Lookout(MonitorSettings(), notebook, FakeShadow())
    unbroken.serve(reign())
    stepped(unbroken)
    assert unbroken.vigil is not None
    assert tally(again) == tally(unbroken) == Tally(600, 700)
    assert again.vigil.watches == unbroken.vigil.watches
    assert again.vigil.alarms == unbroken.vigil.alarms
    assert [bet.flips.rows for bet in bets_of(notebook)] == list(range(50, 701, 50))


def test_the_bets_of_a_reign_are_kept_when_the_next_begins(notebook: Notebook) -> None:
    shadow = FakeShadow()
    read(notebook, range(100))
    lookout = stepped(serving(notebook, shadow))
    lookout.serve(reign(number=3, after_offset=49))
    stepped(lookout)
    assert [bet.offset for bet in bets_of(notebook)] == [49, 99]
    assert [bet.offset for bet in bets_of(notebook, number=3)] == [99]


def test_bets_are_begun_anew_with_the_count_that_they_belong_to(notebook: Notebook) -> None:
    """As after a restart that finds fewer reviews than were counted before."""
    read(notebook, range(100))
    stepped(serving(notebook, FakeShadow()))
    stepped(serving(notebook, FakeShadow(), reign(after_offset=49)))
    assert [(bet.offset, bet.flips.rows) for bet in bets_of(notebook)] == [(99, 50)]


def test_after_a_restart_only_what_is_missing_is_asked(notebook: Notebook) -> None:
    read(notebook, range(300))
    stepped(serving(notebook, FakeShadow()))
    shadow = FakeShadow()
    stepped(serving(notebook, shadow))
    assert shadow.asked == []


def test_a_new_champion_is_asked_what_its_predecessor_answered_already(notebook: Notebook) -> None:
    read(notebook, range(100))
    shadow = FakeShadow()
    lookout = Lookout(MonitorSettings(), notebook, shadow)
    lookout.serve(Reign(1, {Role.CHAMPION: OLD}, -1))
    stepped(lookout)
    lookout.serve(reign())
    stepped(lookout)
    assert [set(questions.asked) for questions in shadow.asked] == [{OLD}, {OLD, NEW}]
    assert shadow.asked[1].asked == {NEW: tuple(range(100)), OLD: ()}
    assert tally(lookout, Role.PREVIOUS) == Tally(100, 100)


def test_the_champion_sketches_some_of_each_batch_and_once_the_texts_before_its_reign(notebook: Notebook) -> None:
    read(notebook, range(1000))
    shadow = FakeShadow()
    stepped(serving(notebook, shadow, reign(after_offset=400)))
    first, second, third = (questions.sketched[NEW] for questions in shadow.asked)
    before = {offset for offset in first if offset <= 400}
    assert before == set(range(401 - REFERENCE_ROWS, 401))
    assert len(first) - len(before) == len(second) == SKETCHED_ROWS
    assert not any(offset <= 400 for offset in (*second, *third))
    assert all(set(questions.sketched[NEW]) <= questions.texts.keys() for questions in shadow.asked)
    assert len(notebook.sketches(NEW.digest, 10_000, up_to=400)) == REFERENCE_ROWS
    assert len(notebook.sketches(NEW.digest, 10_000, beyond=400)) == len(first) - len(before) + len(second) + len(third)


def test_a_predecessor_that_cannot_be_asked_is_left_out(notebook: Notebook) -> None:
    shadow = FakeShadow()
    shadow.unusable = {OLD: "its weights were deleted"}
    read(notebook, range(100))
    lookout = stepped(serving(notebook, shadow))
    assert set(lookout.contenders) == {Role.CHAMPION}
    assert tally(lookout) == Tally(100, 100)


def test_a_champion_that_cannot_be_asked_is_not_asked_on_and_on(notebook: Notebook) -> None:
    shadow = FakeShadow()
    shadow.unusable = {NEW: "damaged"}
    read(notebook, range(100))
    lookout = stepped(serving(notebook, shadow))
    assert lookout.vigil is None
    assert len(shadow.asked) == 1


def test_what_is_away_is_asked_again_later(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    shadow = FakeShadow()
    shadow.is_away = True
    read(notebook, range(100))
    lookout = stepped(serving(notebook, shadow))
    assert len(shadow.asked) == 1, "not at every step"
    shadow.is_away = False
    monkeypatch.setattr(lookout, "_not_before", 0.0)
    stepped(lookout)
    assert tally(lookout) == Tally(100, 100)
