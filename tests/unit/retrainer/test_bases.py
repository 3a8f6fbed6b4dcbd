from itertools import permutations

import pytest

from services.retrainer.bases import AdaptedBase, Bases
from services.retrainer.history import History
from shared.events import Event, Verdict
from tests.unit.retrainer.adaptation.builders import base_candidate, base_decision, text_id, unlabeled_window
from tests.unit.retrainer.builders import SHA

OTHER = "b" * 64


def bases(*events: Event) -> Bases:
    made = Bases()
    for event in events:
        made.observe(event)
    return made


def look(sequence: int, version: str, verdict: Verdict, after: str | None = None) -> list[Event]:
    return [base_candidate(sequence, version), base_decision(sequence, version, verdict, after)]


def test_windows_without_a_candidate_are_to_be_learned_oldest_first() -> None:
    made = bases(unlabeled_window(2), unlabeled_window(0), unlabeled_window(1), base_candidate(0, "1"))
    assert [window.window_id for window in made.to_learn()] == [text_id(1), text_id(2)]
    assert made.covered() == {text_id(0)}


def test_windows_of_a_failed_adaptation_are_not_learned_again() -> None:
    failed = base_candidate(1).model_copy(update={"window_ids": (text_id(0), text_id(1))})
    assert bases(unlabeled_window(0), unlabeled_window(1), failed).to_learn() == ()


def test_earlier_windows_can_be_replayed() -> None:
    made = bases(*(unlabeled_window(sequence) for sequence in (1, 0, 2)))
    assert list(made.earlier_than(unlabeled_window(2))) == [text_id(0), text_id(1)]


def test_texts_of_undecided_bases_are_unsettled_until_a_base_is_accepted() -> None:
    windows = [unlabeled_window(sequence) for sequence in range(4)]
    first, second = look(0, "1", Verdict.UNDECIDED), look(1, "2", Verdict.REJECT)
    third, fourth = look(2, "3", Verdict.UNDECIDED), look(3, "4", Verdict.PROMOTE, "4")
    assert [window.sequence for window in bases(*windows, *first, *second, *third).unsettled(SHA)] == [0, 2]
    assert bases(*windows, *first, *second, *third, *fourth).unsettled(SHA) == ()


def test_texts_of_a_line_that_began_with_another_base_are_no_business_of_this_one() -> None:
    made = bases(
        unlabeled_window(0), base_candidate(0, "1", root=OTHER), base_decision(0, "1", Verdict.UNDECIDED, None)
    )
    assert (made.unsettled(SHA), made.unsettled(OTHER)) == ((), (unlabeled_window(0),))


def test_a_candidate_without_its_decision_is_undecided() -> None:
    made = bases(unlabeled_window(0), base_candidate(0, "1"))
    assert (made.undecided(), made.unsettled(SHA)) == (text_id(0), ())
    made.observe(base_decision(0, "1", Verdict.UNDECIDED, None))
    assert (made.undecided(), made.unsettled(SHA)) == (None, (unlabeled_window(0),))


def test_the_base_in_use_is_what_the_last_decision_left() -> None:
    first, second = look(0, "1", Verdict.PROMOTE, "1"), look(1, "2", Verdict.UNDECIDED, "1")
    assert bases().accepted(SHA) is None
    assert bases(*first, *second).accepted(SHA) == AdaptedBase("1", SHA, SHA)
    assert bases(*look(0, "1", Verdict.REJECT)).accepted(SHA) is None


def test_a_line_that_began_with_another_base_is_left_behind() -> None:
    """As after `model.base` was changed."""
    made = bases(base_candidate(0, "1", root=OTHER), base_decision(0, "1", Verdict.PROMOTE, "1"))
    assert made.accepted(SHA) is None
    assert made.accepted(OTHER) is not None


@pytest.mark.parametrize("order", permutations(range(3)))
def test_topics_may_be_read_in_any_order_and_twice(order: tuple[int, ...]) -> None:
    topics: list[list[Event]] = [
        [unlabeled_window(0), unlabeled_window(1)],
        [base_candidate(0, "1"), base_candidate(1, "2")],
        [base_decision(0, "1", Verdict.PROMOTE, "1"), base_decision(1, "2", Verdict.REJECT, "1")],
    ]
    made = bases(*(event for _ in range(2) for topic in order for event in topics[topic]))
    assert made.accepted(SHA) == AdaptedBase("1", SHA, SHA)
    assert (made.to_learn(), made.undecided()) == ((), None)


def test_the_history_knows_them() -> None:
    history = History()
    history.observe(unlabeled_window(0))
    assert [window.window_id for window in history.bases.to_learn()] == [text_id(0)]
