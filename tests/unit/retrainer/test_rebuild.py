"""A rebuild is the champion's history and nothing newer, less what the order names; what cannot be done says why."""

from collections import Counter

import pytest

from services.retrainer.history import History
from services.retrainer.rebuild import Rebuild, objection_to, rebuild_of, share_of
from shared.events import Command, CommandKind, Event, Side, Verdict
from shared.rebuilds import rebuild_id
from tests.unit.retrainer.builders import NOW, candidate, closed_window, decision, window_id


def order(target: str | None = "source=spam", against: str | None = "2", command_id: str = "c1") -> Command:
    return Command(
        command_id=command_id,
        kind=CommandKind.REBUILD,
        target=target,
        against=against,
        who="ana",
        why="the shop sells stars",
        issued_at=NOW,
    )


def history(*more: Event) -> History:
    """Four windows, of which version 2 learned the third."""
    made = History()
    windows = [closed_window(sequence, trainable=sequence != 1) for sequence in range(4)]
    for event in (*windows, candidate(0, version="1"), candidate(2, version="2"), candidate(3, version="3"), *more):
        made.observe(event)
    return made


def names(rebuild: Rebuild) -> list[str]:
    return [window.window_id for window in rebuild.windows]


def test_the_history_is_every_trainable_window_up_to_the_newest_that_the_version_learned() -> None:
    assert names(rebuild_of(order(), history())) == [window_id(0), window_id(2)]


def test_a_quarantined_window_is_no_part_of_it() -> None:
    locked = decision(0, Verdict.REJECT, None, quarantined=True)
    assert names(rebuild_of(order(), history(locked))) == [window_id(2)]


def test_an_order_that_names_no_version_means_the_champion() -> None:
    promoted = decision(0, Verdict.PROMOTE, "1")
    assert names(rebuild_of(order(against=None), history(promoted))) == [window_id(0)]


def test_what_the_line_was_rebuilt_without_before_stays_out() -> None:
    again = candidate(3, version="4").model_copy(update={"window_id": "rebuild-1", "without": ("source=bots",)})
    rebuild = rebuild_of(order(against="4"), history(again))
    assert rebuild.without == ("source=bots", "source=spam")
    assert names(rebuild) == [window_id(0), window_id(2), window_id(3)]


def test_a_source_that_came_back_can_be_left_out_again() -> None:
    again = candidate(3, version="4").model_copy(update={"window_id": "rebuild-1", "without": ("source=spam",)})
    rebuild = rebuild_of(order(against="4"), history(again))
    assert (rebuild.already, rebuild.without) == ((), ("source=spam",))


@pytest.mark.parametrize(
    ("given", "objection"),
    [
        (order(against=None), "nothing was promoted yet"),
        (order(against="9"), "no candidate tells what version 9 learned"),
        (order("spam"), "says nothing to leave out"),
        (order(None), "says nothing to leave out"),
    ],
)
def test_an_order_that_cannot_be_made_out_says_why(given: Command, objection: str) -> None:
    rebuild = rebuild_of(given, history())
    assert objection in (rebuild.objection or "")
    assert (rebuild.name, rebuild.windows) == (rebuild_id("c1"), ())


ROWS = [
    (10, 0, "train", "shop"),
    (11, 1, "train", "spam"),
    (12, 1, "train", None),
    (13, 1, "holdout", "spam"),
    (14, 0, "validation", "bots"),
    (15, 1, "train", "bots"),
]


def test_a_window_gives_its_training_rows_less_those_of_the_order() -> None:
    share = share_of(Rebuild("r", "2", "source=spam"), closed_window(0), ROWS)
    assert share.learned == Counter({0: 1, 1: 2})
    assert share.left_out == Counter({Side.TRAIN: 1, Side.HOLDOUT: 1})


def test_what_was_left_out_before_is_neither_learned_nor_counted_again() -> None:
    share = share_of(Rebuild("r", "2", "offsets=12-13", already=("source=bots",)), closed_window(0), ROWS)
    assert share.learned == Counter({0: 1, 1: 1})
    assert share.left_out == Counter({Side.TRAIN: 1, Side.HOLDOUT: 1})


@pytest.mark.parametrize(
    ("ordered", "objection"),
    [
        ("source=bots", None),
        ("source=nobody", "nothing that was learned"),
        ("offsets=13-13", "nothing that was learned"),  # held out only
        ("offsets=10-10", "fewer than 2 labels"),
        ("offsets=0-99", "fewer than 2 labels"),
    ],
)
def test_a_rebuild_needs_something_to_leave_out_and_something_to_learn(ordered: str, objection: str | None) -> None:
    rebuild = Rebuild("r", "2", ordered)
    found = objection_to(rebuild, [share_of(rebuild, closed_window(0), ROWS)])
    assert found is None if objection is None else objection in (found or "")


def test_an_order_has_one_candidate_however_often_it_is_delivered() -> None:
    """The oldest order is next; once its candidate is there, with or without a model, it never is again."""
    first, second = order(command_id="a"), order(command_id="b")
    made = history(first, second, first)
    assert made.next_rebuild() == first
    made.observe(candidate(2, version="4").model_copy(update={"window_id": rebuild_id("a")}))
    made.observe(first)
    assert made.next_rebuild() == second
    assert history(candidate(2).model_copy(update={"window_id": rebuild_id("a")}), first).next_rebuild() is None
