"""The whole system through its public surface only: Kafka, HTTP and the command."""

import json
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.mill import Mill, reviews, truth, wait_for

pytestmark = pytest.mark.timeout(600)


def audit(mill: Mill) -> dict[str, int]:
    report: dict[str, int] = mill.json("audit")
    return report


def settled(mill: Mill, published: int) -> dict[str, int]:
    """The audit once the curator has read everything that was published."""

    def look() -> dict[str, int] | None:
        report = json.loads(mill.command("audit", "--json", code=None))
        return report if report["published"] >= published and not report["waiting"] else None

    found: dict[str, int] = wait_for(look, 60, f"{published} reviews to be curated")
    return found


def test_the_promoted_model_answers_over_http(mill: Mill) -> None:
    """What was learned from the published reviews is what the server says."""
    asked = [row["text"] for row in reviews(40, seed=50)]
    with mill.http() as client:
        body = client.post("/v1/predict", json={"texts": asked}).json()
    right = sum(found["label"] == truth(text) for text, found in zip(asked, body["predictions"], strict=True))
    assert right >= 36
    assert body["model"]["version"] == "1"


def test_a_prediction_leads_back_to_the_reviews_behind_it(mill: Mill) -> None:
    facts = mill.json("explain", "1")
    window = facts["windows"][0]
    assert window["window_id"] == mill.json("windows")[0]["window"]
    assert facts["lineage"]["offset_ranges"] == [[window["first_offset"], window["last_offset"]]]
    assert facts["decisions"][0]["verdict"] == "promote"


def test_people_read_the_same_as_programs(mill: Mill) -> None:
    for listing in ("windows", "versions", "decisions", "topics", "status", "rejected"):
        assert mill.command(listing).strip()
    assert "promote" in mill.command("decisions")
    assert "w-0000000000" in mill.command("explain", "1")


def test_publish_maps_columns_and_says_how_many_were_acknowledged(mill: Mill, reviews_file: Path) -> None:
    before = audit(mill)["published"]
    said = mill.command("publish", str(reviews_file), "--map", "text=body", "--map", "label=stars")
    assert "40 of 40 reviews acknowledged" in said
    assert settled(mill, before + 40)["unaccounted"] == 0


def test_publish_reads_csv_from_standard_input(mill: Mill) -> None:
    said = mill.command("publish", "-", "--format", "csv", stdin="text,label\nriver granite paper,positive\n")
    assert "1 of 1 reviews acknowledged" in said


def test_a_review_of_ten_megabytes_is_refused_with_its_row(mill: Mill, tmp_path: Path) -> None:
    big = tmp_path / "big.jsonl"
    big.write_text(json.dumps({"text": "x" * 10_000_000, "label": 1}))
    said = mill.command("publish", str(big), code=1)
    assert "row 1" in said
    assert "10,0" in said


def test_publish_says_how_far_it_came_before_a_line_that_it_cannot_read(mill: Mill, tmp_path: Path) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text('{"text": "summer granite bridge", "label": "positive"}\n{"text": \n')
    said = mill.command("publish", str(file), code=2)
    assert "1 of 1 reviews acknowledged" in said
    assert "line 2 is not JSON" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("publish", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
        (("publish", "reviews.docx"), "give --format"),
        (("explain", "999"), "version 999 is not in the registry"),
        (("rollback", "--why", "test"), "first champion"),
        (("rollback", "--why", ""), "say why"),
        (("logs", "moon"), "there is no log of 'moon'"),
        (("window", "release", "w-1", "--why", "test"), "not quarantined"),
        (("up",), "is running"),
    ],
)
def test_an_error_is_one_clear_line_and_an_exit_code(mill: Mill, arguments: tuple[str, ...], message: str) -> None:
    said = mill.command(*arguments, code=2)
    assert message in said
    assert "Traceback" not in said


def test_what_is_no_review_is_kept_with_its_reason(mill: Mill) -> None:
    before = audit(mill)
    bad = [b"not [/b] json", b"\xff\xfe", b'{"text": "no label"}', b'{"text": "so so", "label": "lukewarm"}']
    assert mill.publish([*bad, *reviews(3, seed=60)]) == 7
    report = settled(mill, before["published"] + 7)
    assert report["rejected"] == before["rejected"] + 4
    reasons = [row["reason"] for row in mill.json("rejected", "--limit", "4")]
    assert "not [/b] json" in mill.command("rejected")
    assert sorted(reasons) == sorted(["not_json", "not_utf8", "wrong_shape", "unknown_label"])


def test_feedback_on_a_prediction_becomes_a_labelled_review(mill: Mill) -> None:
    before = audit(mill)["published"]
    text = reviews(1, seed=70)[0]["text"]
    with mill.http() as client:
        answer = client.post("/v1/predict", json={"text": text}).json()["predictions"][0]
        said = client.post("/v1/feedback", json={"prediction_id": answer["prediction_id"], "label": truth(text)})
        assert said.status_code == 202
        unknown = client.post("/v1/feedback", json={"prediction_id": "none", "label": "positive"})
    assert unknown.status_code == 404
    assert unknown.headers["content-type"].startswith("application/problem+json")
    assert settled(mill, before + 1)["unaccounted"] == 0


def test_metrics_follow_the_flow(mill: Mill) -> None:
    ports = mill.endpoints["metrics_ports"]
    text = {name: httpx.get(f"http://127.0.0.1:{port}/metrics").text for name, port in ports.items()}
    assert 'tidemill_reviews_total{outcome="curated"}' in text["ingestor"]
    assert 'tidemill_candidates_total{status="ready"} 1.0' in text["retrainer"]
    assert 'tidemill_gate_verdicts_total{verdict="promote"} 1.0' in text["evaluator"]
    assert "tidemill_served_version 1.0" in text["server"]


def test_a_second_window_warms_up_from_the_champion_and_an_operator_may_roll_back(mill: Mill) -> None:
    """Closed by an operator; whatever the gate says of it, the ledger and the alias agree."""
    mill.publish(reviews(200, seed=3))
    wait_for(lambda: mill.json("audit")["open"] >= 200, 60, "the open window to fill")
    windows = len(mill.json("windows"))
    if windows < 2:
        mill.command("window", "close", "--why", "enough for today")
    wait_for(lambda: len(mill.json("decisions")) >= 2, 240, "a decision on the second window")
    ledger = mill.json("decisions")
    champion = next(row["version"] for row in mill.json("versions") if row["champion"])
    assert champion == ledger[-1]["champion_after"]
    second = next(row for row in mill.json("versions") if row["version"] == "2")
    assert second["parent"] == "1"


def test_down_leaves_no_process_and_up_carries_on(mill: Mill) -> None:
    """Topics, offsets, models and champion are as they were; the last test of the day."""
    before = {listing: mill.json(listing) for listing in ("windows", "decisions", "versions")}
    counts = audit(mill)
    pids = [state["pid"] for state in mill.endpoints["processes"].values() if state["pid"]]
    mill.command("down")
    assert not any(psutil.pid_exists(pid) for pid in pids)
    mill.command("up")
    assert {listing: mill.json(listing) for listing in before} == before
    assert {name: value for name, value in audit(mill).items() if value != counts[name]} == {}
    with mill.http() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, 60, "the champion to serve again")
        answer = client.post("/v1/predict", json={"text": reviews(1, seed=90)[0]["text"]}).json()
    assert answer["model"]["version"] == before["decisions"][-1]["champion_after"]
