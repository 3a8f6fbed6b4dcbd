"""From candidates on a topic to a champion in MLflow, with the real broker, registry and archive."""

from pathlib import Path

from services.evaluator.record import DECISION_TAG, VERDICT_TAG
from shared.events import Candidate, CandidateStatus, CommandKind, Decision, Outcome, Verdict, utc_now
from shared.kafka import Producer
from shared.registry import DECISION_PAGE
from shared.topics import MODELS_CANDIDATES
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import ROWS, Models, Stage
from tests.unit.evaluator.page.test_suspects import quality


def test_the_first_model_that_beats_the_baseline_is_promoted(stage: Stage, models: Models, start: Start) -> None:
    candidate = stage.challenge(stage.window(label=1), models.positive)
    evaluator = start(stage)
    evaluator.until_entry(1)
    (entry,) = stage.decisions()
    assert (entry.number, entry.verdict, entry.champion_before) == (1, Verdict.PROMOTE, None)
    assert entry.champion_after == stage.registry.champion() == candidate.version
    assert (entry.numbers["wins"], entry.numbers["losses"], entry.numbers["margin"]) == (ROWS, 0, 0)
    assert {score.model for score in entry.scores} == {"challenger", "baseline"}
    assert evaluator.metric("champion_version") == int(candidate.version or 0)
    assert evaluator.metric("champion_quality_ratio", metric="accuracy", rows="fresh") == 1.0


def test_the_decision_lies_in_the_versions_tags_and_in_the_run(crowned: Stage, tmp_path: Path) -> None:
    (entry,) = crowned.decisions()
    version = crowned.registry.version(str(entry.version))
    assert version is not None
    assert version.tags[VERDICT_TAG] == "promote"
    assert Decision.model_validate_json(version.tags[DECISION_TAG]) == entry
    client = crowned.registry._client
    run = client.get_run(str(entry.run_id))
    assert run.data.metrics["pool/challenger/accuracy"] == 1.0
    shown = {item.path for item in client.list_artifacts(str(entry.run_id), "decision")}
    pictures = {f"decision/{name}.png" for name in ("difference", "accuracy", "reliability", "confusion")}
    assert shown == pictures | {DECISION_PAGE}
    page = crowned.registry.run_file(str(entry.run_id), DECISION_PAGE)
    assert page is not None
    assert page.count(b"data:image/png;base64,") == len(pictures)
    copy = client.download_artifacts(str(entry.run_id), "decision.json", str(tmp_path))
    assert Decision.model_validate_json(Path(copy).read_text()) == entry


def test_a_worse_model_is_rejected_and_an_equal_one_waits(crowned: Stage, models: Models, start: Start) -> None:
    champion = crowned.registry.champion()
    window = crowned.window(label=1)
    worse = crowned.challenge(window, models.negative)
    equal = crowned.challenge(crowned.window(label=1), models.surely_positive)
    start(crowned).until_entry(3)
    assert crowned.story()[1:] == [
        (2, worse.version, "reject", champion),
        (3, equal.version, "undecided", champion),
    ]
    rejected, undecided = crowned.decisions()[1:]
    assert rejected.reasons[0].startswith("proven_worse")
    assert not rejected.quarantined
    assert (undecided.need_rows or 0) > 0
    assert any("identical predictions" in reason for reason in undecided.reasons)
    assert crowned.registry.champion() == champion


def test_a_champion_is_asked_only_about_new_rows(crowned: Stage, models: Models, start: Start) -> None:
    crowned.challenge(crowned.window(label=1), models.negative)
    evaluator = start(crowned)
    evaluator.until_entry(2)
    pool, fresh = 2 * ROWS, ROWS
    assert evaluator.metric("rows_scored_total") == pool + fresh


def test_a_window_that_was_not_learned_has_a_page_in_the_run_of_the_look(crowned: Stage, start: Start) -> None:
    candidate = crowned.distrust(crowned.window(), quality())
    start(crowned).until_entry(2)
    entry = crowned.decisions()[1]
    assert (entry.verdict, entry.version, entry.run_id) == (Verdict.REJECT, None, candidate.run_id)
    assert entry.numbers == candidate.numbers
    page = crowned.registry.run_file(str(entry.run_id), DECISION_PAGE)
    assert page is not None
    assert b"Which label is taken for which" in page
    assert f"tidemill window release {candidate.window_id}".encode() in page


def test_a_window_with_flipped_labels_is_quarantined_until_released(
    crowned: Stage, models: Models, start: Start
) -> None:
    champion = crowned.registry.champion()
    flipped = crowned.window(label=0)
    crowned.challenge(flipped, models.negative)
    evaluator = start(crowned)
    evaluator.until_entry(2)
    entry = crowned.decisions()[1]
    assert (entry.verdict, entry.quarantined, entry.champion_after) == (Verdict.REJECT, True, champion)
    assert entry.numbers["champion_right_here"] == 0
    crowned.challenge(crowned.window(label=1), models.surely_positive)
    evaluator.until_entry(3)
    assert crowned.decisions()[2].numbers["rows"] == 2 * ROWS
    crowned.order(CommandKind.RELEASE_WINDOW, flipped.window_id)
    evaluator.until(lambda: crowned.commands_done() == 1)
    crowned.challenge(crowned.window(label=1), models.positive)
    evaluator.until_entry(4)
    assert crowned.decisions()[3].numbers["rows"] == 4 * ROWS


def test_skipped_windows_get_no_entry_and_failed_ones_a_reason(stage: Stage, models: Models, start: Start) -> None:
    skipped, failed = (
        Candidate(
            window_id=window.window_id,
            window_ids=(window.window_id,),
            status=status,
            reason="one class only",
            created_at=utc_now(),
        )
        for window, status in ((stage.window(), CandidateStatus.SKIPPED), (stage.window(), CandidateStatus.FAILED))
    )
    stage.publish(skipped)
    stage.publish(failed)
    start(stage).until_entry(1)
    (entry,) = stage.decisions()
    assert (entry.window_id, entry.version, entry.verdict) == (failed.window_id, None, Verdict.REJECT)
    assert entry.reasons == ("training failed: one class only",)


def test_a_second_candidate_of_a_window_is_ignored(crowned: Stage, models: Models, start: Start) -> None:
    window_id = crowned.decisions()[0].window_id
    crowned.publish(crowned.register(crowned.window(), models.negative).model_copy(update={"window_id": window_id}))
    later = crowned.challenge(crowned.window(label=1), models.surely_positive)
    start(crowned).until_entry(2)
    assert crowned.story()[1][:2] == (2, later.version)


def test_a_candidate_with_damaged_files_is_unusable_and_the_champion_stays(
    crowned: Stage, models: Models, start: Start
) -> None:
    champion = crowned.registry.champion()
    candidate = crowned.register(crowned.window(label=1), models.surely_positive)
    crowned.publish(candidate.model_copy(update={"model_digest": "0" * 64}))
    start(crowned).until_entry(2)
    entry = crowned.decisions()[1]
    assert (entry.verdict, entry.champion_after, crowned.registry.champion()) == (Verdict.REJECT, champion, champion)
    assert "unusable" in entry.reasons[0]
    assert "digest" in entry.reasons[0]
    assert {term.name: term.outcome for term in entry.terms}["answers"] is Outcome.FAIL


def test_a_snapshot_that_is_lost_costs_its_rows_only(crowned: Stage, models: Models, start: Start) -> None:
    lost = crowned.window(label=1)
    (crowned.settings.home / "archive" / lost.snapshot.path).unlink()
    crowned.challenge(crowned.window(label=1), models.surely_positive)
    start(crowned).until_entry(2)
    entry = crowned.decisions()[1]
    assert entry.numbers["rows"] == 2 * ROWS
    assert any(lost.window_id in reason for reason in entry.reasons)


def test_a_record_that_is_no_candidate_stops_nothing(stage: Stage, models: Models, start: Start) -> None:
    producer = Producer(stage.settings, "stranger")
    producer.send_bytes(MODELS_CANDIDATES, b"w", b'{"event_version": 2}').wait(30)
    producer.close()
    candidate = stage.challenge(stage.window(label=1), models.positive)
    start(stage).until_entry(1)
    assert stage.story() == [(1, candidate.version, "promote", candidate.version)]
