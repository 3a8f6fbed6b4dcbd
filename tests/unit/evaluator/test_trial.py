"""A trial never waits unseen, and stays open to a rollback until its decision is tagged."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.evaluator.exam import (
    BASELINE,
    CHALLENGER,
    CHAMPION,
    Exam,
    Exhibit,
    Killed,
    Measured,
    Result,
    Unavailable,
    Unusable,
)
from services.evaluator.launcher import Scoring
from services.evaluator.ledger import Ledger
from services.evaluator.record import DECISION_FILE
from services.evaluator.trial import Desk, Stage, Trial
from services.evaluator.windows import TrialRows, WindowBook
from shared.errors import RegistryRefusedError, RegistryUnavailableError, RetryableError
from shared.events import CandidateStatus, Verdict
from shared.label_quality import QUALITY_FILE, LabelQuality
from shared.metrics import EvaluatorMetrics
from shared.rebuilds import LeftOut
from shared.registry import DECISION_PAGE, Registry
from shared.retry import Backoff
from shared.settings import EvaluatorSettings
from tests.unit.evaluator.builders import NOW, candidate, decision, measured, window, window_id
from tests.unit.evaluator.page.test_suspects import quality

NOTHING_RIGHT = {model: np.zeros(0, np.bool_) for model in (CHALLENGER, BASELINE)}


@pytest.fixture
def found(tmp_path: Path) -> Measured:
    pictures = (tmp_path / "a.png", tmp_path / "b.png")
    for picture in pictures:
        picture.write_bytes(b"PNG")
    return measured(NOTHING_RIGHT, exhibits={CHALLENGER: Exhibit(pictures)})


class Finished:
    """Scoring that came to its end."""

    def __init__(self, found: Result) -> None:
        self._found = found

    def result(self) -> Result:
        return self._found

    def close(self) -> None:
        """Nothing is under way."""


def desk(results: Iterator[Result], registry: Any) -> Desk:
    windows = create_autospec(WindowBook, instance=True)
    windows.rows_on_trial.return_value = TrialRows((), {candidate(0).window_id: frozenset()}, frozenset(), {}, {}, ())
    backoff = create_autospec(Backoff(threading.Event()))

    def launch(_: object) -> Scoring[Measured]:
        return Finished(next(results))

    metrics = EvaluatorMetrics(CollectorRegistry())
    return Desk(EvaluatorSettings(), registry, windows, launch, lambda champion: {}, metrics, backoff, lambda: NOW)


def trial(*results: Result) -> tuple[Trial, Any]:
    registry = create_autospec(Registry, instance=True)
    registry.version.return_value = None
    registry.run_url.return_value = registry.version_url.return_value = "http://127.0.0.1/"
    return Trial(desk(iter(results), registry), candidate(0), Ledger()), registry


def until(stage: Stage, under_way: Trial) -> None:
    while under_way.stage is not stage:
        under_way.advance()


def test_what_cannot_be_scored_yet_is_said_and_tried_again(found: Measured) -> None:
    under_way, _ = trial(Unavailable("the disk is full"), found)
    under_way.advance()
    with pytest.raises(RetryableError, match="the disk is full"):
        under_way.advance()
    assert (under_way.stage, under_way.decisions) == (Stage.LOOK, ())
    until(Stage.RECORD, under_way)


def killed_times(under_way: Trial) -> int:
    """Advances until there is a decision; how often it had to be put off."""
    put_off = 0
    while under_way.stage is not Stage.RECORD:
        try:
            under_way.advance()
        except RetryableError:
            put_off += 1
    return put_off


def test_a_scorer_that_is_killed_says_nothing_about_the_challenger(found: Measured) -> None:
    """More often than a challenger may fail to load, and then it is scored like any other."""
    attempts = EvaluatorSettings().attempts + 1
    under_way, _ = trial(*[Killed("out of memory")] * attempts, found)
    assert killed_times(under_way) == attempts
    assert len(under_way.decisions) == 1
    assert not any("out of memory" in reason for entry in under_way.decisions for reason in entry.reasons)


def test_a_scoring_that_was_killed_is_said(found: Measured) -> None:
    under_way, _ = trial(Killed("out of memory"), found)
    under_way.advance()
    with pytest.raises(RetryableError, match="out of memory; attempt 1 of 20, which says nothing about it yet"):
        under_way.advance()


def test_a_challenger_that_kills_its_scorer_every_time_is_unusable_in_the_end() -> None:
    most = EvaluatorSettings().killed_attempts
    under_way, _ = trial(*[Killed("out of memory")] * most)
    assert killed_times(under_way) == most - 1
    (entry,) = under_way.decisions
    assert entry.verdict is Verdict.REJECT
    assert f"unusable: out of memory; {most} times" in entry.reasons[0]


def test_kills_and_failures_are_counted_apart(found: Measured) -> None:
    failures = EvaluatorSettings().attempts - 1
    under_way, _ = trial(*[Killed("out of memory"), Unusable("odd")] * failures, found)
    assert killed_times(under_way) == failures
    assert not any("odd" in reason for entry in under_way.decisions for reason in entry.reasons)


def test_a_trial_whose_artifacts_cannot_be_kept_is_still_open_to_a_rollback(found: Measured) -> None:
    under_way, registry = trial(found)
    registry.log_file.side_effect = RegistryUnavailableError("gone")
    until(Stage.RECORD, under_way)
    with pytest.raises(RegistryUnavailableError):
        under_way.advance()
    assert under_way.is_open


def test_one_step_uploads_one_file(found: Measured) -> None:
    under_way, registry = trial(found)
    until(Stage.RECORD, under_way)
    uploads = []
    while under_way.stage is Stage.RECORD:
        under_way.advance()
        uploads.append(registry.log_file.call_count + registry.log_text.call_count)
    assert uploads == [1, 2, 3, 4]


def test_the_page_for_people_shows_the_pictures_and_lies_in_the_run(found: Measured) -> None:
    under_way, registry = trial(found)
    until(Stage.TAG, under_way)
    run, page, name = registry.log_text.call_args.args
    assert (run, name) == ("run-1", DECISION_PAGE)
    assert page.count("data:image/png;base64,UE5H") == 2


def test_uploads_that_the_registry_refuses_do_not_stop_the_ledger(found: Measured) -> None:
    under_way, registry = trial(found)
    registry.log_file.side_effect = registry.log_text.side_effect = RegistryRefusedError("the run is gone")
    until(Stage.SETTLED, under_way)
    assert len(under_way.decisions) == 1


def test_a_page_that_cannot_be_written_does_not_stop_the_ledger(found: Measured) -> None:
    under_way, registry = trial(found)
    until(Stage.RECORD, under_way)
    for picture in found.exhibits[CHALLENGER].pictures:
        picture.unlink()
    until(Stage.SETTLED, under_way)
    assert [call.args[2] for call in registry.log_text.call_args_list] == [DECISION_FILE]


def distrusted_trial(found: LabelQuality, stored: bytes | None) -> tuple[Trial, Any]:
    """The trial of a window whose labels were not learned, and the registry that may hold what was found."""
    registry = create_autospec(Registry, instance=True)
    registry.run_url.return_value = "http://127.0.0.1/"
    registry.run_file.return_value = stored
    desk_of = desk(iter(()), registry)
    windows: Any = desk_of.windows
    windows.find.return_value = window(0)
    told = {"status": CandidateStatus.DISTRUSTED, "reason": "too many", "numbers": found.numbers()}
    return Trial(desk_of, candidate(0, None, run_id="run-look", model_digest=None, **told), Ledger()), registry


def page_of(registry: Any) -> str:
    run, page, name = registry.log_text.call_args.args
    assert (run, name) == ("run-look", DECISION_PAGE)
    return str(page)


def test_a_distrusted_window_has_a_page_with_what_was_found_in_the_run_of_the_look() -> None:
    found = quality()
    under_way, registry = distrusted_trial(found, found.model_dump_json().encode())
    until(Stage.SETTLED, under_way)
    (entry,) = under_way.decisions
    assert (entry.run_id, entry.quarantined, entry.numbers) == ("run-look", True, found.numbers())
    registry.run_file.assert_called_once_with("run-look", QUALITY_FILE)
    page = page_of(registry)
    assert "Which label is taken for which" in page
    assert "1,000, of which 1,000 were kept" in page


@pytest.mark.parametrize("stored", [None, b"{}", b"half"])
def test_what_was_found_but_cannot_be_read_leaves_the_page_to_the_ledgers_numbers(stored: bytes | None) -> None:
    under_way, registry = distrusted_trial(quality(), stored)
    until(Stage.SETTLED, under_way)
    page = page_of(registry)
    assert "importer" in page
    assert "Which label is taken for which" not in page


def test_a_registry_that_is_away_while_the_page_is_made_is_waited_for() -> None:
    found = quality()
    under_way, registry = distrusted_trial(found, None)
    registry.run_file.side_effect = registry.log_text.side_effect = RegistryUnavailableError("gone")
    until(Stage.RECORD, under_way)
    with pytest.raises(RegistryUnavailableError):
        until(Stage.TAG, under_way)
    registry.log_text.side_effect = registry.run_file.side_effect = None
    registry.run_file.return_value = found.model_dump_json().encode()
    until(Stage.SETTLED, under_way)
    assert "Which label is taken for which" in page_of(registry)


def rebuild_trial(ledger: Ledger, found: Measured, newest: str | None) -> tuple[Trial, Any, list[Exam]]:
    """The trial of a rebuild of window 0's version, the window book, and the exams that were set."""
    registry, exams = create_autospec(Registry, instance=True), list[Exam]()
    registry.version.return_value = None
    desk_of = desk(iter(()), registry)
    windows: Any = desk_of.windows
    windows.newest_trusted.return_value = newest
    births = {newest: frozenset(), window_id(2): frozenset()}
    windows.rows_on_trial.return_value = TrialRows((), births, frozenset(), {}, {}, (), left_out=3)

    def launch(exam: Exam) -> Scoring[Measured]:
        exams.append(exam)
        return Finished(found)

    rebuild = candidate(0, "9", window_id="rebuild-1", rebuild_of="1", without=("source=spam",))
    return Trial(replace(desk_of, launch=launch), rebuild, ledger), windows, exams


def test_a_rebuild_is_judged_by_what_the_gate_has_seen_less_what_it_was_rebuilt_without(found: Measured) -> None:
    first = Ledger.of([decision(1, Verdict.PROMOTE, "1", None)])
    waiting = first.after(decision(2, Verdict.UNDECIDED, "7", "1", without=("offsets=1-2",)))
    answers = measured({name: np.zeros(0, np.bool_) for name in (CHALLENGER, CHAMPION, "waiting 7")})
    under_way, windows, exams = rebuild_trial(waiting, answers, window_id(5))
    until(Stage.RECORD, under_way)
    seen, locked = windows.newest_trusted.call_args.args
    assert (window_id(0) in seen, window_id(2) in seen, locked) == (True, True, frozenset())
    call = windows.rows_on_trial.call_args
    assert (call.args[0], call.kwargs["births"]) == (window_id(5), {window_id(5), window_id(2)})
    assert call.kwargs["without"] == LeftOut.of(["offsets=1-2", "source=spam"])
    assert (exams[0].window_id, exams[0].own_windows, exams[0].left_out) == (window_id(5), (), 3)
    assert {entry.looked_window_id for entry in under_way.decisions} == {window_id(5)}
    assert not any(entry.quarantined for entry in under_way.decisions)


def test_a_rebuild_of_windows_that_nobody_knows_is_rejected(found: Measured) -> None:
    under_way, _, _ = rebuild_trial(Ledger(), found, None)
    until(Stage.RECORD, under_way)
    assert [entry.verdict for entry in under_way.decisions] == [Verdict.REJECT]
