"""The gate promotes only what is whole, safe and ahead, and says why not otherwise."""

import json
import math
import re
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator.challenge import REQUIRED_METRICS, ProbeResult
from services.evaluator.comparison import Flips, evidence, harm, more_rows
from services.evaluator.gate import Ruling, Stage, decide, settle, stage_of
from services.evaluator.guards import BrierLosses, mid_p
from services.evaluator.terms import judge
from shared.events import Outcome, TermResult, Verdict
from shared.gate_settings import (
    AheadTermSettings,
    GateSettings,
    MetricsTermSettings,
    SafeTermSettings,
    SlicesTermSettings,
    TermSettings,
)
from tests.unit.evaluator.builders import CORE_POLICY, METRICS, challenge

SETTINGS = GateSettings()
WHOLE = ProbeResult(loaded=True, asked=3, answered=3)

BETTER = Flips(25, 10, 465)
UNCLEAR = Flips(3, 1, 36)
WORSE = Flips(10, 25, 465)
BEHIND_BUT_SAFE = Flips(20, 21, 6_000)
ALIKE = Flips(ties=5_000)

flips_strategy = st.builds(Flips, *[st.integers(0, 3_000)] * 3)


def outcomes(ruling: Ruling) -> dict[str, Outcome]:
    return {term.name: term.outcome for term in ruling.terms}


def test_safe_and_ahead_is_promoted() -> None:
    ruling = decide(challenge(BETTER), SETTINGS)
    assert ruling.verdict is Verdict.PROMOTE
    assert set(outcomes(ruling).values()) == {Outcome.PASS}
    assert ruling.need_rows is None
    assert any("evidence 60.58" in reason for reason in ruling.reasons)


def test_proven_worse_is_rejected() -> None:
    ruling = decide(challenge(WORSE), SETTINGS)
    assert ruling.verdict is Verdict.REJECT
    assert ruling.reasons == (
        "proven_worse: evidence 10.81 that it is worse reaches 10; 10 wins, 25 losses in 500 rows",
    )


def test_too_few_labels_are_undecided_and_say_how_many_are_missing() -> None:
    ruling = decide(challenge(UNCLEAR), SETTINGS)
    assert ruling.verdict is Verdict.UNDECIDED
    assert ruling.need_rows == more_rows(UNCLEAR) == 3_690
    assert "within 3690 more labels" in ruling.reasons[0]


def test_safe_but_not_ahead_waits() -> None:
    ruling = decide(challenge(BEHIND_BUT_SAFE), SETTINGS)
    assert ruling.verdict is Verdict.UNDECIDED
    assert outcomes(ruling)["safe"] is Outcome.PASS
    assert ruling.reasons == ("ahead: 20 wins, 21 losses in 6041 rows",)


def test_equal_wins_and_losses_are_not_ahead() -> None:
    assert outcomes(decide(challenge(Flips(9, 9, 9_000)), SETTINGS))["ahead"] is Outcome.UNDECIDED


def test_identical_predictions_are_undecided_however_many() -> None:
    ruling = decide(challenge(ALIKE), SETTINGS)
    assert ruling.verdict is Verdict.UNDECIDED
    assert evidence(ALIKE, above=-0.01) >= 20
    assert ruling.reasons == ("ahead: identical predictions on 5000 rows",)


def test_no_rows_are_undecided() -> None:
    ruling = decide(challenge(Flips(), metrics={}), SETTINGS)
    assert ruling.verdict is Verdict.UNDECIDED
    assert ruling.reasons == ("metrics_complete: no held-out rows to measure on",)
    assert ruling.need_rows is not None
    assert ruling.need_rows > 0


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        (ProbeResult(loaded=False, detail="no safetensors"), "did not load: no safetensors"),
        (ProbeResult(loaded=True, asked=3, answered=2), "answered 2 of 3 known questions"),
        (ProbeResult(loaded=True), "answered 0 of 0 known questions"),
    ],
)
@pytest.mark.parametrize("flips", [BETTER, Flips()])
def test_a_model_that_does_not_answer_is_rejected_whatever_its_numbers(
    probe: ProbeResult, said: str, flips: Flips
) -> None:
    ruling = decide(challenge(flips, probe=probe), SETTINGS)
    assert ruling.verdict is Verdict.REJECT
    assert ruling.reasons == (f"answers: {said}",)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", REQUIRED_METRICS)
def test_a_metric_that_is_no_number_is_never_promoted(name: str, value: float | None) -> None:
    ruling = decide(challenge(BETTER, metrics=METRICS | {name: value}), SETTINGS)
    assert ruling.verdict is Verdict.REJECT
    assert ruling.reasons == (f"metrics_complete: missing or not a number: {name}",)


def test_a_metric_that_is_absent_is_never_promoted() -> None:
    assert decide(challenge(BETTER, metrics={}), SETTINGS).verdict is Verdict.REJECT


def test_against_the_baseline_no_worse_is_not_enough() -> None:
    """The same rows: within the margin of a champion, but not proven better than the baseline."""
    assert evidence(BETTER, above=-0.01) >= 20 > evidence(BETTER)
    assert decide(challenge(BETTER), SETTINGS).verdict is Verdict.PROMOTE
    first = decide(challenge(BETTER, against_baseline=True), SETTINGS)
    assert first.verdict is Verdict.UNDECIDED
    assert first.numbers["margin"] == 0.0
    assert first.need_rows == more_rows(BETTER, margin=0.0)
    assert decide(challenge(BETTER + BETTER, against_baseline=True), SETTINGS).verdict is Verdict.PROMOTE


def test_every_term_is_recorded_with_its_numbers() -> None:
    ruling = decide(challenge(UNCLEAR), SETTINGS)
    safe = next(term for term in ruling.terms if term.name == "safe")
    assert safe.value == pytest.approx(1.45266, rel=1e-5)
    assert (safe.threshold, safe.rows, safe.need_rows, safe.guard) == (20.0, 40, 3_690, True)
    assert [safe.low, safe.high] == pytest.approx([-0.22612, 0.30808], abs=1e-5)
    assert len(ruling.terms) == len(SETTINGS.terms)


@given(flips_strategy, st.booleans())
def test_the_verdict_follows_the_rule_and_can_be_recomputed_from_its_numbers(flips: Flips, baseline: bool) -> None:
    ruling = decide(challenge(flips, against_baseline=baseline), CORE_POLICY)
    numbers = json.loads(ruling.model_dump_json())["numbers"]
    again = Flips(int(numbers["wins"]), int(numbers["losses"]), int(numbers["ties"]))
    if again.rows and harm(again) >= 10:
        expected = Verdict.REJECT
    elif evidence(again, above=-numbers["margin"]) >= 20 and again.wins > again.losses:
        expected = Verdict.PROMOTE
    else:
        expected = Verdict.UNDECIDED
    assert ruling.verdict is expected
    assert (ruling.need_rows is not None) <= (ruling.verdict is Verdict.UNDECIDED)


@settings(max_examples=30)
@given(flips_strategy, st.permutations(SETTINGS.terms))
def test_the_order_of_the_terms_changes_nothing(flips: Flips, terms: list[TermSettings]) -> None:
    shuffled = decide(challenge(flips), GateSettings(terms=tuple(terms)))
    plain = decide(challenge(flips), SETTINGS)
    assert (shuffled.verdict, shuffled.numbers) == (plain.verdict, plain.numbers)
    assert sorted(shuffled.reasons) == sorted(plain.reasons)


def test_a_term_that_is_only_reported_stops_nothing() -> None:
    """A second, stricter `safe` on trial: judged and recorded, and the promotion goes ahead."""
    trial = GateSettings(terms=(*SETTINGS.terms, SafeTermSettings(margin=0.0, guard=False)))
    ruling = decide(challenge(BETTER), trial)
    assert ruling.verdict is Verdict.PROMOTE
    assert [term.outcome for term in ruling.terms if term.name == "safe"] == [Outcome.PASS, Outcome.UNDECIDED]
    strict = GateSettings(terms=(*SETTINGS.terms, SafeTermSettings(margin=0.0)))
    assert decide(challenge(BETTER), strict).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("kind", ["answers", "metrics_complete", "proven_worse", "safe", "ahead"])
def test_no_policy_may_leave_out_what_protects(kind: str) -> None:
    rest = [term.model_dump() for term in SETTINGS.terms if term.kind != kind]
    with pytest.raises(ValueError, match=kind):
        GateSettings.model_validate({"terms": rest})
    with pytest.raises(ValueError, match=kind):
        GateSettings.model_validate({"terms": [*rest, {"kind": kind, "guard": False}]})


def test_every_kind_of_term_has_a_stage_and_a_judge() -> None:
    kinds = get_args(get_args(TermSettings)[0])
    assert {stage_of(kind()) for kind in kinds} == set(Stage)
    assert [judge(kind(), challenge(BETTER)).name for kind in kinds] == [kind().kind for kind in kinds]


def test_the_default_policy_asks_every_kind_of_term_but_serving_and_only_reports_the_latency() -> None:
    kinds = {kind().kind for kind in get_args(get_args(TermSettings)[0])}
    assert {term.kind for term in SETTINGS.terms} == kinds - {"serving"}
    assert [term.kind for term in SETTINGS.terms if not term.guard] == ["latency"]


@pytest.mark.parametrize("missing", ["baseline", "slices", "eras", "losses", "size_ratio"])
def test_what_was_not_measured_is_never_promoted(missing: str) -> None:
    ruling = decide(challenge(BETTER, **{missing: None}), SETTINGS)
    assert ruling.verdict is Verdict.UNDECIDED
    assert len(ruling.reasons) == 1


def test_a_veto_rejects_and_is_named() -> None:
    lost = {"label:positive": Flips(1, 30, 200)}
    ruling = decide(challenge(BETTER, slices=lost), SETTINGS)
    assert ruling.verdict is Verdict.REJECT
    assert ruling.reasons[0].startswith("slices: proven more than 2 points worse: label:positive (1 wins, 30 losses")


def test_a_veto_does_not_reject_a_challenger_that_would_wait_anyway() -> None:
    lost = {"label:positive": Flips(1, 30, 200)}
    assert decide(challenge(UNCLEAR, slices=lost), SETTINGS).verdict is Verdict.UNDECIDED


def test_safe_against_the_champion_but_not_the_anchor_waits_for_the_larger_need() -> None:
    slid = Flips(30, 45, 925)
    ruling = decide(challenge(BETTER, anchor=slid), SETTINGS)
    assert ruling.verdict is Verdict.UNDECIDED
    assert ruling.reasons[0].startswith("anchor: ")
    assert ruling.need_rows == more_rows(slid)
    both = decide(challenge(UNCLEAR, anchor=slid), SETTINGS)
    assert both.need_rows == max(more_rows(UNCLEAR), more_rows(slid))


def test_a_required_slice_that_is_blind_leaves_it_undecided() -> None:
    terms = tuple(
        SlicesTermSettings(required=("source:imdb",)) if term.kind == "slices" else term for term in SETTINGS.terms
    )
    policy = GateSettings(terms=terms)
    for slices in ({}, {"source:imdb": Flips(0, 2, 50), "label:positive": Flips(12, 13, 225)}):
        ruling = decide(challenge(BETTER, slices=slices), policy)
        assert ruling.verdict is Verdict.UNDECIDED
        assert "source:imdb" in ruling.reasons[0]
    assert decide(challenge(BETTER, slices={"source:imdb": Flips(9, 8, 50)}), policy).verdict is Verdict.PROMOTE


def test_the_numbers_of_every_term_are_there_to_recompute_it() -> None:
    parts = {"label:positive": Flips(9, 14, 227)}
    losses = BrierLosses(np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.2, 0.2]))
    numbers = decide(challenge(BETTER, slices=parts, eras=parts, losses=losses), SETTINGS).numbers
    for prefix in ("slice/label:positive/", "era/label:positive/"):
        assert [numbers[prefix + name] for name in ("wins", "losses", "ties")] == [9, 14, 227]
        assert numbers[prefix + "p"] == mid_p(Flips(9, 14, 227))
    assert [numbers["anchor/" + name] for name in ("wins", "losses", "ties")] == [100, 40, 1_860]
    assert [numbers["baseline/" + name] for name in ("wins", "losses", "ties")] == [300, 100, 1_600]
    assert [numbers[name] for name in ("brier/rows", "size_ratio", "latency_ratio")] == [3, 1.0, 1.0]
    assert [numbers["brier/mean"], numbers["brier/sd"]] == pytest.approx([0.0, 0.1])


def test_the_names_of_numbers_are_names_of_metrics() -> None:
    numbers = decide(challenge(BETTER, slices={"source:a-b_c": Flips(1, 1, 1)}), SETTINGS).numbers
    assert all(re.fullmatch(r"[/\w.\- :]+", name) for name in numbers)


def result(outcome: Outcome, name: str = "term", guard: bool = True) -> TermResult:
    return TermResult(name=name, outcome=outcome, guard=guard, detail="-")


def test_a_veto_counts_only_when_about_to_promote() -> None:
    veto = (Stage.VETO, result(Outcome.FAIL, "veto"))
    waiting = (Stage.REASON, result(Outcome.UNDECIDED, "safe"))
    ready = (Stage.REASON, result(Outcome.PASS, "safe"))
    assert settle([veto, waiting]) == (Verdict.UNDECIDED, [waiting[1]])
    assert settle([veto, ready]) == (Verdict.REJECT, [veto[1]])


def test_within_a_stage_a_failure_outweighs_what_is_undecided() -> None:
    blind, failed = result(Outcome.UNDECIDED, "slices"), result(Outcome.FAIL, "flips")
    assert settle([(Stage.VETO, blind), (Stage.VETO, failed)]) == (Verdict.REJECT, [failed])


def test_what_is_not_applicable_neither_stops_nor_promotes() -> None:
    absent, passed = result(Outcome.NOT_APPLICABLE, "brier"), result(Outcome.PASS, "safe")
    assert settle([(Stage.REASON, passed), (Stage.VETO, absent)]) == (Verdict.PROMOTE, [passed])
    assert settle([(Stage.VETO, absent)]) == (Verdict.UNDECIDED, [])
    assert settle([]) == (Verdict.UNDECIDED, [])


def test_an_extreme_record_is_still_valid_json() -> None:
    ruling = decide(challenge(Flips(wins=1_000_000)), SETTINGS)
    assert Ruling.model_validate_json(ruling.model_dump_json()) == ruling
    assert all(math.isfinite(number) for number in ruling.numbers.values())


def test_a_trial_of_metrics_names_itself() -> None:
    assert not judge(MetricsTermSettings(guard=False), challenge(BETTER)).guard
    assert not judge(AheadTermSettings(guard=False), challenge(BETTER)).guard
