"""From adapted bases on a topic to the one in use, with the real broker, registry and archive, and bases that guess."""

from pathlib import Path

import pytest

from services.evaluator.launcher import ScoringProcess
from services.evaluator.record import DECISION_FILE, DECISION_TAG, VERDICT_TAG
from shared.events import BaseCandidate, BaseDecision, CandidateStatus, Outcome, Verdict, utc_now
from shared.exam import PARENT
from shared.registry import BASE, DECISION_PAGE
from tests.integration.evaluator.bases_stage import (
    TEXTS,
    Adaptations,
    Adapted,
    BasesStage,
    until_base_entry,
)
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import ROWS


def test_a_base_that_guesses_and_classifies_better_is_accepted(
    bases_stage: BasesStage, adaptations: Adaptations, start_bases: Start
) -> None:
    candidate = bases_stage.adapt(adaptations.better)
    evaluator = start_bases(bases_stage)
    until_base_entry(evaluator, 1)
    (entry,) = bases_stage.base_decisions()
    assert (entry.number, entry.verdict, entry.base_before) == (1, Verdict.PROMOTE, None)
    assert entry.base_after == bases_stage.base() == candidate.version
    assert [term.outcome for term in entry.terms] == [Outcome.PASS, Outcome.PASS]
    assert (entry.numbers["texts"], entry.numbers["rows"], entry.numbers["wins"]) == (TEXTS, ROWS, ROWS)
    assert entry.numbers["perplexity_after"] < entry.numbers["perplexity_before"]
    assert evaluator.metric("base_version") == int(candidate.version or 0)
    assert evaluator.metric("base_verdicts_total", verdict="promote") == 1
    assert evaluator.metric("base_probe_accuracy_ratio", base="adapted") == 1.0
    assert evaluator.metric("base_perplexity_ratio", base="parent") == entry.numbers["perplexity_before"]


def test_the_decision_lies_in_the_tags_and_the_run_and_what_it_was_compared_with_is_gone(
    accepted: BasesStage, tmp_path: Path
) -> None:
    (entry,) = accepted.base_decisions()
    version = accepted.bases.version(str(entry.version))
    assert version is not None
    assert version.tags[VERDICT_TAG] == "promote"
    assert BaseDecision.model_validate_json(version.tags[DECISION_TAG]) == entry
    kept = accepted.bases.fetch(str(entry.run_id), DECISION_FILE, tmp_path)
    assert BaseDecision.model_validate_json(kept.read_text()) == entry
    page = accepted.bases.run_file(str(entry.run_id), DECISION_PAGE)
    assert page is not None
    assert b"was accepted" in page
    run = accepted.bases._client.get_run(str(entry.run_id))
    assert run.data.metrics["gate/perplexity_after"] == pytest.approx(entry.numbers["perplexity_after"])
    left = {item.path for item in accepted.bases._client.list_artifacts(str(entry.run_id))}
    assert left == {"model", "decision", DECISION_FILE}


def test_a_worse_base_is_rejected_and_one_that_guesses_alike_is_undecided(
    accepted: BasesStage, adaptations: Adaptations, start_bases: Start
) -> None:
    base = accepted.base()
    worse, alike = accepted.adapt(adaptations.worse), accepted.adapt(adaptations.alike)
    until_base_entry(start_bases(accepted), 3)
    assert accepted.base_story()[1:] == [
        (2, worse.version, "reject", base),
        (3, alike.version, "undecided", base),
    ]
    rejected, undecided = accepted.base_decisions()[1:]
    assert rejected.reasons[0].startswith("perplexity")
    assert "no difference at all" in undecided.reasons[0]
    assert accepted.base() == base


def test_an_adaptation_that_failed_and_one_whose_files_are_damaged_are_rejected_with_the_reason(
    bases_stage: BasesStage, adaptations: Adaptations, start_bases: Start
) -> None:
    failed = BaseCandidate(
        window_id="u-failed",
        window_ids=("u-failed",),
        status=CandidateStatus.FAILED,
        reason="out of memory",
        created_at=utc_now(),
    )
    bases_stage.publish_base(failed)
    damaged = bases_stage.adapted(bases_stage.text_window(), bases_stage.window(), adaptations.better)
    weights = bases_stage.settings.home / "model.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"damaged")
    bases_stage.bases.log_file(str(damaged.run_id), weights, f"exam/{PARENT}")
    bases_stage.publish_base(damaged)
    evaluator = start_bases(bases_stage)
    until_base_entry(evaluator, 2)
    assert bases_stage.base_story() == [(1, None, "reject", None), (2, damaged.version, "reject", None)]
    first, second = bases_stage.base_decisions()
    assert first.reasons == ("adaptation failed: out of memory",)
    assert "unusable" in second.reasons[0]
    assert "digest" in second.reasons[0]
    assert bases_stage.base() is None
    evaluator.until(lambda: not bases_stage.has_exam(damaged))


def test_a_window_is_decided_once_however_often_it_is_delivered(
    accepted: BasesStage, adaptations: Adaptations, start_bases: Start
) -> None:
    first = accepted.adapted(accepted.text_window(), accepted.window(), adaptations.worse)
    for again in (first, first, first.model_copy(update={"version": "99"})):
        accepted.publish_base(again)
    last = accepted.adapt(adaptations.alike)
    until_base_entry(start_bases(accepted), 3)
    assert [entry.version for entry in accepted.base_decisions()[1:]] == [first.version, last.version]


def test_an_alias_that_a_stranger_moved_is_repaired(accepted: BasesStage, start_bases: Start) -> None:
    base = accepted.base()
    accepted.bases.clear_alias(BASE)
    evaluator = start_bases(accepted)
    evaluator.until(lambda: accepted.base() == base)
    assert evaluator.metric("base_alias_repairs_total") == 1
    assert len(accepted.base_decisions()) == 1


@pytest.mark.slow
def test_old_weights_go_but_the_base_in_use_stays(
    accepted: BasesStage, adaptations: Adaptations, start_bases: Start
) -> None:
    """The two newest are kept; of the older ones those that nobody needs go, the undecided too."""
    order: tuple[Adapted, ...] = (adaptations.worse, adaptations.alike, adaptations.worse, adaptations.worse)
    for files in order:
        accepted.adapt(files)
    evaluator = start_bases(accepted)
    until_base_entry(evaluator, 5)

    def with_weights() -> list[str]:
        return [version.version for version in accepted.bases.versions() if version.has_weights]

    evaluator.until(lambda: len(with_weights()) == 3)
    evaluator.turn(5)
    assert with_weights() == ["5", "4", "1"]


@pytest.mark.slow
def test_a_scorer_in_a_process_of_its_own_says_the_same(
    bases_stage: BasesStage, adaptations: Adaptations, start_bases: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = bases_stage.adapt(adaptations.better)
    monkeypatch.setattr("services.evaluator.bases.loop.ScoringProcess", ScoringProcess)
    evaluator = start_bases(bases_stage)
    evaluator.until(lambda: evaluator.metric("base_ledger_number") == 1, most_steps=3_000)
    assert bases_stage.base_story() == [(1, candidate.version, "promote", candidate.version)]
