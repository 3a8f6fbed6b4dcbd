"""Ledger entries: every one continues the ledger, and only a promotion or a rollback moves the champion."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.evaluator.comparison import Flips
from services.evaluator.exam import CHALLENGER, waiting_role
from services.evaluator.gate import Ruling, decide
from services.evaluator.ledger import WATCH, Ledger
from services.evaluator.quarantine import QuarantineVerdict
from services.evaluator.suites import AnchorVerdict, Weighed
from services.evaluator.verdicts import (
    judged,
    objection,
    refused,
    rollback_target,
    rolled_back,
    unusable,
    without_model,
)
from shared.events import CandidateStatus, CommandKind, Decision, Verdict
from shared.settings import GateSettings
from tests.unit.evaluator.builders import DIGEST, NOW, candidate, challenge, command, decision, exam, window_id

SETTINGS = GateSettings()
TRUSTED = QuarantineVerdict(quarantine=False, reason="fine", numbers={})
CHAMPION_ONE = Ledger.of([decision(1, Verdict.PROMOTE, "1", None, anchor="1")])
TWO_CHAMPIONS = CHAMPION_ONE.after(decision(2, Verdict.PROMOTE, "2", "1", anchor="1"))
ROLLBACK = CommandKind.ROLLBACK
BETTER, WORSE, EVEN = Flips(300, 100, 1600), Flips(100, 300, 1600), Flips(10, 10, 100)
UNMOVED, PROVEN = AnchorVerdict(), AnchorVerdict(advances=True, numbers={"anchor_evidence": 30.0})
EXAM = replace(exam([1, 2], 5, newest=2), unreadable=(window_id(0),))


def ruling(flips: Flips) -> Ruling:
    return decide(challenge(flips), SETTINGS)


def gate_entry(flips: Flips, quarantine: QuarantineVerdict = TRUSTED) -> Decision:
    weighed = Weighed({CHALLENGER: ruling(flips)}, quarantine)
    (entry,) = judged(CHAMPION_ONE, candidate(2, "2"), EXAM, weighed, {}, SETTINGS, NOW)
    return entry


def room_entries(ledger: Ledger, waiting: Flips, newcomer: Flips, anchor: AnchorVerdict = UNMOVED) -> Ledger:
    """The ledger after a sitting where version 8 waited and version 9 is new."""
    room = ledger.after(decision(ledger.number + 1, Verdict.UNDECIDED, "8", ledger.champion, window_id=window_id(8)))
    weighed = Weighed({waiting_role("8"): ruling(waiting), CHALLENGER: ruling(newcomer)}, TRUSTED, anchor)
    sitting = replace(EXAM, window_id=window_id(9))
    return room.after_all(judged(room, candidate(9, "9"), sitting, weighed, {}, SETTINGS, NOW))


def test_every_contender_gets_an_entry_about_itself() -> None:
    ledger = room_entries(CHAMPION_ONE, EVEN, EVEN)
    assert [(entry.version, entry.window_id) for entry in ledger.waiting] == [("8", window_id(8)), ("9", window_id(9))]
    assert {entry.looked_window_id for entry in ledger.waiting} == {window_id(9)}
    assert ledger.number == 4


def test_one_that_waited_is_promoted_and_the_newcomer_goes() -> None:
    ledger = room_entries(CHAMPION_ONE, BETTER, EVEN)
    assert (ledger.champion, ledger.waiting, ledger.settled_versions) == ("8", (), {"1", "8", "9"})
    assert ledger.promoted_with == window_id(9)


def test_the_first_champion_is_the_anchor_and_stays_it_until_another_is_proven_better() -> None:
    first = room_entries(Ledger(), WORSE, BETTER)
    assert (first.champion, first.anchor) == ("9", "9")
    assert room_entries(CHAMPION_ONE, WORSE, BETTER).anchor == "1"
    assert room_entries(TWO_CHAMPIONS, WORSE, EVEN, PROVEN).anchor == "2"


@pytest.mark.parametrize(
    ("flips", "verdict", "champion_after"),
    [
        (Flips(300, 100, 1600), Verdict.PROMOTE, "2"),
        (Flips(100, 300, 1600), Verdict.REJECT, "1"),
        (Flips(10, 10, 100), Verdict.UNDECIDED, "1"),
    ],
)
def test_only_a_promotion_moves_the_champion(flips: Flips, verdict: Verdict, champion_after: str) -> None:
    entry = gate_entry(flips)
    assert (entry.verdict, entry.champion_before, entry.champion_after) == (verdict, "1", champion_after)
    assert CHAMPION_ONE.after(entry).champion == champion_after


def test_an_entry_holds_every_number_that_it_rests_on() -> None:
    entry = gate_entry(Flips(300, 100, 1600))
    assert (entry.numbers["wins"], entry.numbers["losses"], entry.numbers["ties"]) == (300, 100, 1600)
    assert [term.name for term in entry.terms] == [term["kind"] for term in entry.policy["terms"]]


def test_an_undecided_entry_says_how_many_labels_are_missing() -> None:
    assert (gate_entry(Flips(10, 8, 100)).need_rows or 0) > 0


def test_a_quarantine_is_on_record_with_its_reason_and_numbers() -> None:
    distrust = QuarantineVerdict(quarantine=True, reason="all flipped", numbers={"drop_p": 0.001})
    entry = gate_entry(Flips(100, 300, 1600), distrust)
    assert entry.quarantined
    assert "window quarantined: all flipped" in entry.reasons
    assert entry.numbers["drop_p"] == 0.001


def test_rows_that_are_lost_are_on_record() -> None:
    assert gate_entry(Flips(10, 10, 100)).reasons[-1].startswith(f"judged without {window_id(0)}")


def test_an_unusable_challenger_is_rejected_and_says_so() -> None:
    entry = unusable(CHAMPION_ONE, candidate(2, "2"), "the weights are damaged", SETTINGS, NOW)
    assert (entry.verdict, entry.champion_after, entry.version) == (Verdict.REJECT, "1", "2")
    assert entry.reasons == ("answers: did not load: unusable: the weights are damaged",)


def test_a_failed_training_is_rejected_without_a_version() -> None:
    broken = candidate(2, None, status=CandidateStatus.FAILED, reason="loss is NaN", model_digest=None)
    entry = without_model(CHAMPION_ONE, broken, NOW)
    assert (entry.verdict, entry.version, entry.window_id) == (Verdict.REJECT, None, window_id(2))
    assert entry.reasons == ("training failed: loss is NaN",)
    assert not entry.quarantined


def test_a_window_whose_labels_are_distrusted_is_locked_away() -> None:
    why = {"status": CandidateStatus.DISTRUSTED, "reason": "80% suspicious", "model_digest": None}
    numbers = {"labels/rows": 100.0, "labels/suspicious": 80.0}
    entry = without_model(CHAMPION_ONE, candidate(2, None, numbers=numbers, **why), NOW)
    assert entry.numbers == numbers
    assert (entry.verdict, entry.quarantined, entry.reasons) == (
        Verdict.REJECT,
        True,
        ("window quarantined: 80% suspicious",),
    )
    assert CHAMPION_ONE.after(entry).quarantined == {window_id(2)}


def test_a_rollback_without_target_leads_to_the_champion_before() -> None:
    assert rollback_target(TWO_CHAMPIONS, command(ROLLBACK)) == "1"


@pytest.mark.parametrize(("ledger", "target"), [(CHAMPION_ONE, None), (TWO_CHAMPIONS, "2"), (TWO_CHAMPIONS, "9")])
def test_a_rollback_leads_nowhere_but_to_another_former_champion(ledger: Ledger, target: str | None) -> None:
    assert rollback_target(ledger, command(ROLLBACK, target)) is None


def test_a_rollback_names_who_and_why_and_the_digest_to_serve() -> None:
    (entry,) = rolled_back(TWO_CHAMPIONS, command(ROLLBACK), "1", NOW)
    assert (entry.verdict, entry.champion_before, entry.champion_after) == (Verdict.ROLLBACK, "2", "1")
    assert (entry.decided_by, entry.reasons, entry.model_digest) == ("ann", ("it misbehaves",), DIGEST)
    assert entry.numbers == {}
    assert TWO_CHAMPIONS.after(entry).champion == "1"


def test_a_rollback_by_the_watch_keeps_what_the_watch_had_counted() -> None:
    order = command(ROLLBACK).model_copy(update={"who": WATCH, "numbers": {"watch/wins": 3.0}})
    (entry,) = rolled_back(TWO_CHAMPIONS, order, "1", NOW)
    assert entry.numbers == {"watch/wins": 3.0}


def test_a_refused_order_is_answered_once_and_moves_nothing() -> None:
    after = TWO_CHAMPIONS.after(refused(TWO_CHAMPIONS, command(ROLLBACK, "9"), "9 was no champion", NOW))
    assert (after.champion, sorted(after.answered_commands)) == ("2", ["c1"])


def test_a_rollback_closes_the_cases_of_those_that_wait() -> None:
    room = TWO_CHAMPIONS.after(decision(3, Verdict.UNDECIDED, "3", "2"))
    rollback, closed = rolled_back(room, command(ROLLBACK), "1", NOW)
    assert (closed.version, closed.window_id, closed.verdict) == ("3", window_id(3), Verdict.REJECT)
    after = room.after_all((rollback, closed))
    assert (after.champion, after.waiting, "3" in after.settled_versions) == ("1", (), True)


def test_a_rollback_meant_for_another_champion_is_objected_to() -> None:
    order = command(ROLLBACK).model_copy(update={"against": "1"})
    assert "version 1 is not the champion any more" in (objection(TWO_CHAMPIONS, order, 3, NOW) or "")
    for against in ("2", None):
        assert objection(TWO_CHAMPIONS, order.model_copy(update={"against": against}), 3, NOW) is None


def test_the_watch_rolls_back_so_often_a_day_and_people_as_they_like() -> None:
    ledger = TWO_CHAMPIONS.after(decision(3, Verdict.ROLLBACK, "1", "2", decided_by=WATCH))
    watch, person = command(ROLLBACK).model_copy(update={"who": WATCH}), command(ROLLBACK)
    assert objection(ledger, watch, 2, NOW) is None
    assert "1 times within 24 hours, of at most 1" in (objection(ledger, watch, 1, NOW) or "")
    assert objection(ledger, person, 1, NOW) is None
    assert objection(ledger, watch, 1, NOW + timedelta(hours=25)) is None
    assert objection(TWO_CHAMPIONS, watch, 0, NOW) is not None


def test_what_the_sitting_went_without_is_said_to_everybody_and_stays_with_the_rebuild() -> None:
    room = CHAMPION_ONE.after(decision(2, Verdict.UNDECIDED, "8", "1", window_id=window_id(8)))
    rebuild = candidate(9, "9", window_id="rebuild-1", rebuild_of="1", without=("source=spam",))
    sitting = replace(EXAM, own_windows=(), without=("source=spam",), left_out=12)
    weighed = Weighed({waiting_role("8"): ruling(EVEN), CHALLENGER: ruling(EVEN)}, TRUSTED)
    older, newer = judged(room, rebuild, sitting, weighed, {}, SETTINGS, NOW)
    for entry in (older, newer):
        assert any("without source=spam: 12 held-out" in reason for reason in entry.reasons)
    assert {entry.numbers["left_out_rows"] for entry in (older, newer)} == {12}
    assert [(entry.window_id, entry.without) for entry in (older, newer)] == [
        (window_id(8), ()),
        ("rebuild-1", ("source=spam",)),
    ]


def test_a_sitting_without_a_rebuild_says_nothing_of_it() -> None:
    assert "left_out_rows" not in gate_entry(EVEN).numbers
