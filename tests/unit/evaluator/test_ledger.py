"""The ledger adds up to one champion, and contradictions are found, never guessed away."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.ledger import WATCH, Ledger
from shared.errors import LedgerCorruptError
from shared.events import CommandKind, Decision, Verdict
from tests.unit.evaluator.builders import NOW, command, decision, window_id

PROMOTE, REJECT, UNDECIDED, ROLLBACK = Verdict.PROMOTE, Verdict.REJECT, Verdict.UNDECIDED, Verdict.ROLLBACK

THREE_CHAMPIONS = [
    decision(1, PROMOTE, "1", None),
    decision(2, PROMOTE, "2", "1"),
    decision(3, PROMOTE, "3", "2"),
]


def told(*entries: tuple[Verdict, str]) -> Ledger:
    """A ledger after a first champion, version 1, with more entries about versions; each of a window of its own."""
    ledger = Ledger.of([decision(1, PROMOTE, "1", None, anchor="1")])
    for verdict, version in entries:
        fields = {"window_id": window_id(100 + int(version)), "anchor": ledger.anchor}
        if verdict is ROLLBACK:
            fields = {"anchor": ledger.anchor_after_rollback(version)}
        ledger = ledger.after(decision(ledger.number + 1, verdict, version, ledger.champion, **fields))
    return ledger


def test_undecided_challengers_wait_until_they_are_settled() -> None:
    ledger = told((UNDECIDED, "2"), (UNDECIDED, "3"), (UNDECIDED, "2"))
    assert ledger.waiting_versions == ("2", "3")
    assert [entry.number for entry in ledger.waiting] == [4, 3]
    settled = ledger.after(decision(5, REJECT, "2", "1", window_id=window_id(102)))
    assert settled.waiting_versions == ("3",)
    assert settled.settled_versions == {"1", "2"}


@pytest.mark.parametrize("version", ["3", "2"])
def test_a_promotion_empties_the_waiting_room(version: str) -> None:
    assert told((UNDECIDED, "2"), (PROMOTE, version)).waiting_versions == ()


def test_a_rollback_empties_the_waiting_room() -> None:
    assert told((PROMOTE, "2"), (UNDECIDED, "3"), (ROLLBACK, "1")).waiting_versions == ()


def test_a_settled_version_is_never_decided_again() -> None:
    with pytest.raises(LedgerCorruptError, match="its version again"):
        told((UNDECIDED, "2"), (REJECT, "2"), (UNDECIDED, "2"))


def test_the_anchor_moves_forward_with_proof_and_back_with_a_rollback() -> None:
    ledger = told((PROMOTE, "2"), (PROMOTE, "3"))
    assert ledger.anchor == "1"
    proven = ledger.after(decision(4, UNDECIDED, "4", "3", anchor="3"))
    assert (proven.anchor, proven.anchors) == ("3", ("1", "3"))
    assert (proven.anchor_after_rollback("2"), ledger.anchor_after_rollback("2")) == ("1", "1")
    back = proven.after(decision(5, ROLLBACK, "2", "3", anchor=proven.anchor_after_rollback("2")))
    assert (back.champion, back.anchor) == ("2", "1")


def test_a_promotion_remembers_the_newest_window_that_was_looked_at() -> None:
    ledger = Ledger.of([decision(1, PROMOTE, "1", None, looked_window_id=window_id(5))])
    assert (ledger.promoted_with, Ledger.of(THREE_CHAMPIONS).promoted_with) == (window_id(5), window_id(3))


def test_an_empty_ledger_has_no_champion() -> None:
    ledger = Ledger.of([])
    assert (ledger.number, ledger.champion, ledger.previous_champion) == (0, None, None)


def test_the_last_promotion_is_champion_whatever_was_rejected_after_it() -> None:
    ledger = Ledger.of(
        [decision(1, PROMOTE, "1", None), decision(2, REJECT, "2", "1"), decision(3, UNDECIDED, "3", "1")]
    )
    assert (ledger.number, ledger.champion) == (3, "1")
    assert ledger.decided_versions == {"1", "2", "3"}


def test_a_rollback_steps_down_and_the_next_one_steps_further() -> None:
    once = Ledger.of([*THREE_CHAMPIONS, decision(4, ROLLBACK, "2", "3")])
    twice = once.after(decision(5, ROLLBACK, "1", "2"))
    assert [(ledger.champion, ledger.previous_champion) for ledger in (once, twice)] == [("2", "1"), ("1", None)]


def test_a_rollback_may_return_to_a_champion_that_was_rolled_back() -> None:
    ledger = Ledger.of([*THREE_CHAMPIONS, decision(4, ROLLBACK, "1", "3"), decision(5, ROLLBACK, "3", "1")])
    assert (ledger.champion, ledger.previous_champion) == ("3", "1")


def test_a_window_or_a_version_is_decided_once() -> None:
    ledger = Ledger.of([decision(1, REJECT, None, None), decision(2, REJECT, "7", None)])
    assert ledger.has_decided(window_id(1), "9")
    assert ledger.has_decided(window_id(9), "7")
    assert not ledger.has_decided(window_id(9), None)


def test_a_window_is_quarantined_until_it_is_released() -> None:
    ledger = Ledger.of([decision(1, REJECT, "1", None, quarantined=True)])
    released = ledger.heeding(command(CommandKind.RELEASE_WINDOW, window_id(1)))
    assert (sorted(ledger.quarantined), sorted(released.quarantined)) == ([window_id(1)], [])


def test_a_rollback_order_releases_nothing() -> None:
    ledger = Ledger.of([decision(1, REJECT, "1", None, quarantined=True)])
    assert ledger.heeding(command(CommandKind.ROLLBACK, window_id(1))) == ledger


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ([decision(2, REJECT, "1", None)], "comes after entry 0"),
        ([THREE_CHAMPIONS[0], THREE_CHAMPIONS[2]], "comes after entry 1"),
        ([THREE_CHAMPIONS[0], THREE_CHAMPIONS[0]], "comes after entry 1"),
        ([decision(1, PROMOTE, "2", "1")], "takes 1 for the champion, which was None"),
        ([decision(1, REJECT, "1", None, champion_after="1")], "makes 1 champion after None by the verdict reject"),
        ([decision(1, UNDECIDED, "1", None, champion_after="1")], "by the verdict undecided"),
        ([decision(1, PROMOTE, "1", None, champion_after="2")], "by the verdict promote"),
        ([decision(1, PROMOTE, None, None)], "by the verdict promote"),
        ([THREE_CHAMPIONS[0], decision(2, ROLLBACK, "9", "1")], "makes 9 champion after 1"),
        ([THREE_CHAMPIONS[0], decision(2, ROLLBACK, "1", "1")], "makes 1 champion after 1"),
        ([decision(1, REJECT, "1", None), decision(2, REJECT, "1", None)], "its version again"),
        ([decision(1, REJECT, "1", None), decision(2, REJECT, "2", None, window_id=window_id(1))], "its window again"),
        (
            [decision(1, REJECT, None, None, command_id="c"), decision(2, REJECT, None, None, command_id="c")],
            "answers command c again",
        ),
    ],
)
def test_a_contradiction_ends_the_reading(entries: list[Decision], named: str) -> None:
    with pytest.raises(LedgerCorruptError, match=named):
        Ledger.of(entries)


@given(verdicts=st.lists(st.sampled_from([PROMOTE, REJECT, UNDECIDED]), min_size=1, max_size=12), gap=st.data())
def test_any_lost_entry_is_noticed(verdicts: list[Verdict], gap: st.DataObject) -> None:
    """Numbers have no gaps, so a ledger that was read in part is never taken for the whole."""
    ledger, entries = Ledger(), []
    for number, verdict in enumerate(verdicts, 1):
        entries.append(decision(number, verdict, str(number), ledger.champion))
        ledger = ledger.after(entries[-1])
    entries.append(decision(len(entries) + 1, REJECT, "last", ledger.champion))
    lost = gap.draw(st.integers(0, len(entries) - 2))
    with pytest.raises(LedgerCorruptError):
        Ledger.of([*entries[:lost], *entries[lost + 1 :]])


def test_rollbacks_by_the_watch_are_counted_apart_from_those_of_people() -> None:
    """And a version that the watch deposed was decided on, so that no entry can promote it again."""
    ledger = Ledger.of(
        [
            *THREE_CHAMPIONS,
            decision(4, ROLLBACK, "2", "3", decided_by=WATCH),
            decision(5, ROLLBACK, "1", "2", decided_by="ann"),
        ]
    )
    assert ledger.rollbacks_by_watch(since=NOW - timedelta(days=1)) == 1
    assert ledger.rollbacks_by_watch(since=NOW) == 0
    with pytest.raises(LedgerCorruptError, match="decides on its version again"):
        ledger.after(decision(6, PROMOTE, "3", "1"))


def test_the_entries_that_moved_the_champion_are_remembered_up_to_any_rollback() -> None:
    entries = [
        decision(1, Verdict.PROMOTE, "1", None),
        decision(2, Verdict.REJECT, "2", "1"),
        decision(3, Verdict.PROMOTE, "3", "1"),
        decision(4, Verdict.ROLLBACK, "1", "3"),
        decision(5, Verdict.ROLLBACK, "3", "1"),
    ]
    ledger = Ledger.of(entries)
    assert [entry.number for entry in ledger.moves] == [1, 3, 4, 5]
    assert [entry.number for entry in ledger.rollbacks] == [4, 5]
    assert [entry.number for entry in ledger.moves_until(entries[3])] == [1, 3, 4]


def test_a_challenger_was_born_with_the_window_that_the_gate_looked_at_first() -> None:
    first = {"window_id": "rebuild-1", "looked_window_id": window_id(4)}
    ledger = told((UNDECIDED, "2")).after(decision(3, UNDECIDED, "7", "1", **first))
    ledger = ledger.after(decision(4, UNDECIDED, "7", "1", **first | {"looked_window_id": window_id(9)}))
    assert ledger.births == {"1": window_id(1), "2": window_id(102), "7": window_id(4)}


def test_what_a_champion_or_one_that_waits_was_rebuilt_without_decides_about_nobody() -> None:
    """As long as that is so: a rejection or a rollback ends it."""
    first = Ledger.of([decision(1, PROMOTE, "1", None)])
    waits = first.after(decision(2, UNDECIDED, "2", "1", without=("source=spam",)))
    rejected = waits.after(decision(3, REJECT, "2", "1", window_id=window_id(2), without=("source=spam",)))
    promoted = waits.after(decision(3, PROMOTE, "2", "1", window_id=window_id(2), without=("source=spam",)))
    back = promoted.after(decision(4, ROLLBACK, "1", "2"))
    found = [ledger.left_out for ledger in (first, waits, rejected, promoted, back)]
    assert found == [(), ("source=spam",), (), ("source=spam",), ()]
