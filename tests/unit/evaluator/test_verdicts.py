"""Ledger entries: every one continues the ledger, and only a promotion or a rollback moves the champion."""

from dataclasses import replace

import pytest

from services.evaluator.comparison import Flips
from services.evaluator.gate import REQUIRED_METRICS, Challenge, ProbeResult, decide
from services.evaluator.ledger import Ledger
from services.evaluator.quarantine import QuarantineVerdict
from services.evaluator.suites import Weighed
from services.evaluator.verdicts import failed, judged, refused, rollback_target, rolled_back, unusable
from shared.events import CandidateStatus, CommandKind, Decision, Verdict
from shared.settings import GateSettings
from tests.unit.evaluator.builders import DIGEST, NOW, candidate, command, decision, exam, window_id

SETTINGS = GateSettings()
METRICS = dict.fromkeys(REQUIRED_METRICS, 0.5)
TRUSTED = QuarantineVerdict(quarantine=False, reason="fine", numbers={})
CHAMPION_ONE = Ledger.of([decision(1, Verdict.PROMOTE, "1", None)])
TWO_CHAMPIONS = CHAMPION_ONE.after(decision(2, Verdict.PROMOTE, "2", "1"))
ROLLBACK = CommandKind.ROLLBACK
EXAM = replace(exam([1, 2], 5, newest=2), unreadable=(window_id(0),))


def gate_entry(flips: Flips, quarantine: QuarantineVerdict = TRUSTED) -> Decision:
    ruling = decide(Challenge(ProbeResult(True, 6, 6), flips, METRICS), SETTINGS)
    return judged(CHAMPION_ONE, candidate(2, "2"), EXAM, Weighed(ruling, quarantine), (), SETTINGS, NOW)


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
    entry = failed(CHAMPION_ONE, broken, NOW)
    assert (entry.verdict, entry.version, entry.window_id) == (Verdict.REJECT, None, window_id(2))
    assert entry.reasons == ("training failed: loss is NaN",)


def test_a_rollback_without_target_leads_to_the_champion_before() -> None:
    assert rollback_target(TWO_CHAMPIONS, command(ROLLBACK)) == "1"


@pytest.mark.parametrize(("ledger", "target"), [(CHAMPION_ONE, None), (TWO_CHAMPIONS, "2"), (TWO_CHAMPIONS, "9")])
def test_a_rollback_leads_nowhere_but_to_another_former_champion(ledger: Ledger, target: str | None) -> None:
    assert rollback_target(ledger, command(ROLLBACK, target)) is None


def test_a_rollback_names_who_and_why_and_the_digest_to_serve() -> None:
    entry = rolled_back(TWO_CHAMPIONS, command(ROLLBACK), "1", NOW)
    assert (entry.verdict, entry.champion_before, entry.champion_after) == (Verdict.ROLLBACK, "2", "1")
    assert (entry.decided_by, entry.reasons, entry.model_digest) == ("ann", ("it misbehaves",), DIGEST)
    assert TWO_CHAMPIONS.after(entry).champion == "1"


def test_a_refused_order_is_answered_once_and_moves_nothing() -> None:
    after = TWO_CHAMPIONS.after(refused(TWO_CHAMPIONS, command(ROLLBACK, "9"), "9 was no champion", NOW))
    assert (after.champion, sorted(after.answered_commands)) == ("2", ["c1"])
