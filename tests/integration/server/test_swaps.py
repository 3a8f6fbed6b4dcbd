"""The server over real Kafka and MLflow: promotions under traffic, candidates that must not serve, feedback."""

import json
import time
from datetime import datetime

import httpx

from deploy.local.mlflow_server import MlflowServer
from services.server.champion import Champion
from shared.envelope import decode
from shared.events import LabeledReview, ServedPrediction, ServerPhase, ServerState, Verdict, utc_now
from shared.kafka import read_topic
from shared.registry import CHAMPION
from shared.settings import Settings
from shared.topics import PREDICTIONS_SERVED, REVIEWS_LABELED, SERVERS_STATE
from tests.integration.server.stage import PATIENCE_SECONDS, Gate, ServerProcess, Traffic


def test_swaps_under_traffic_lose_no_request_and_every_answer_is_its_versions(
    server: ServerProcess, gate: Gate
) -> None:
    assert server.predict(text="a film").status_code == 503
    first, second = gate.register("positive"), gate.register("negative")
    gate.promote(first)
    server.until(ok=True, version=first.version)
    with Traffic(server.url) as traffic:
        for champion in (second, first, second):
            gate.promote(champion, Verdict.ROLLBACK)
            server.until(version=champion.version, phase="serving")
            traffic.until_answered_by(champion.version)
    assert traffic.failures == []
    assert set(traffic.answers) == {(first.version, "positive"), (second.version, "negative")}
    text = server.get("/metrics").text
    assert 'tidemill_swaps_total{outcome="serving"} 4.0' in text
    assert "tidemill_freshness_seconds_count 2.0" in text


def test_a_candidate_whose_files_were_altered_never_serves(
    server: ServerProcess, gate: Gate, mlflow_server: MlflowServer
) -> None:
    good, altered, next_good = gate.register("positive"), gate.register("negative"), gate.register("negative")
    gate.promote(good)
    server.until(version=good.version, phase="serving")
    alter_weights(mlflow_server, gate, altered)
    with Traffic(server.url) as traffic:
        gate.promote(altered)
        said = server.until(phase="failed")
        traffic.more()
        assert said["ok"]
        assert set(traffic.answers) == {(good.version, "positive")}
        assert "digest" in server.get("/v1/model").json()["reason"]
        gate.promote(next_good)
        traffic.until_answered_by(next_good.version)
    assert traffic.failures == []


def alter_weights(mlflow_server: MlflowServer, gate: Gate, champion: Champion) -> None:
    """Flips the last bit of the weights where MLflow keeps them."""
    version = gate.registry.version(champion.version)
    assert version is not None
    (weights,) = mlflow_server.home.glob(f"artifacts/**/{version.run_id}/**/*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def test_a_candidate_with_other_labels_never_serves(server: ServerProcess, gate: Gate) -> None:
    good, other = gate.register("positive"), gate.register("good", ("bad", "good"))
    gate.promote(good)
    server.until(version=good.version, phase="serving")
    gate.promote(other)
    server.until(phase="failed", ok=True, version=good.version)
    assert server.predict(text="a film").json()["model"]["version"] == good.version


def test_the_ledger_outweighs_an_alias_moved_by_hand(server: ServerProcess, gate: Gate, settings: Settings) -> None:
    good, other = gate.register("positive"), gate.register("negative")
    gate.promote(good)
    server.until(version=good.version, phase="serving")
    gate.registry.set_alias(CHAMPION, other.version)
    until_looked_at(settings, utc_now())
    third = gate.register("negative")
    gate.promote(third)
    server.until(version=third.version, phase="serving")
    states = announced(settings)
    assert {state.version for state in states} == {None, good.version, third.version}
    assert states[-1].phase is ServerPhase.SERVING
    assert states[-1].url == server.url


def announced(settings: Settings) -> list[ServerState]:
    return [decode(ServerState, each.value, each.where()) for each in read_topic(settings, "test", SERVERS_STATE)]


def until_looked_at(settings: Settings, moved: datetime) -> None:
    """Waits until the server has asked for the alias since: it announces itself after every look.

    The look before the first announcement may be older than the move; the one before the second is not.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(state.at > moved for state in announced(settings)) < 2:
        assert time.monotonic() < deadline, f"the server has not looked since {moved}"


def test_the_model_page_names_windows_and_offsets(server: ServerProcess, gate: Gate) -> None:
    champion = gate.promote(gate.register("positive"))
    server.until(version=champion.version, phase="serving")
    page = server.get("/v1/model").json()
    assert (page["version"], page["digest"], page["labels"]) == (
        champion.version,
        champion.digest,
        ["negative", "positive"],
    )
    assert page["lineage"]["window_ids"] == ["w-0000000000"]
    assert page["lineage"]["offset_ranges"] == [[0, 99]]
    assert page["promoted_at"] is not None


def test_feedback_is_a_labelled_review_once_it_is_acknowledged(
    server: ServerProcess, gate: Gate, settings: Settings
) -> None:
    champion = gate.promote(gate.register("positive"))
    server.until(version=champion.version, phase="serving")
    (answer,) = server.predict(text="Write  to me@example.org").json()["predictions"]
    report = {"prediction_id": answer["prediction_id"], "label": "neg"}
    taken = httpx.post(f"{server.url}/v1/feedback", json=report, timeout=30)
    assert (taken.status_code, taken.json()["label"]) == (202, "negative")
    (record,) = read_topic(settings, "test", REVIEWS_LABELED)
    review = LabeledReview.model_validate(json.loads(record.value or b""))
    assert (review.text, review.label, review.prediction_id) == (
        "Write to [EMAIL]",
        "negative",
        answer["prediction_id"],
    )
    unknown = httpx.post(f"{server.url}/v1/feedback", json=report | {"prediction_id": "x"}, timeout=30)
    assert unknown.status_code == 404


def test_answers_are_sampled_and_a_stop_drains_them(server: ServerProcess, gate: Gate, settings: Settings) -> None:
    champion = gate.promote(gate.register("positive"))
    server.until(version=champion.version, phase="serving")
    said = server.predict(texts=[f"text {number}" for number in range(50)]).json()
    assert server.terminate() == 0
    records = read_topic(settings, "test", PREDICTIONS_SERVED)
    served = [decode(ServedPrediction, record.value, record.where()) for record in records]
    assert {each.prediction_id for each in served} == {each["prediction_id"] for each in said["predictions"]}
    assert {each.version for each in served} == {champion.version}
