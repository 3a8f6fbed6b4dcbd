"""Feedback, and the pages about the model, health, metrics and the API itself."""

from datetime import UTC, datetime
from html import escape

import pytest

from services.server.plan_report import PlanReport, TriedPlan
from tests.unit.server.api_client import LINEAGE, PROBLEM, Api, assert_problem, run
from tests.unit.server.fakes import card


def test_feedback_is_taken_once_kafka_has_it() -> None:
    async def story(api: Api) -> None:
        body = {"prediction_id": "known", "label": "negative"}
        response = await api.client.post("/v1/feedback", json=body)
        assert (response.status_code, response.json()) == (202, body)

    run(story)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prediction_id": "other", "label": "negative"}, 404),
        ({"prediction_id": "known", "label": "so-so"}, 422),
        ({"prediction_id": "known"}, 422),
        ({"prediction_id": "known", "label": "negative", "text": "x"}, 422),
    ],
)
def test_wrong_feedback_is_refused(body: dict[str, str], status: int) -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.client.post("/v1/feedback", json=body), status)

    run(story)


def test_feedback_is_not_promised_while_kafka_is_gone() -> None:
    async def story(api: Api) -> None:
        api.feedback.gone = True
        response = await api.client.post("/v1/feedback", json={"prediction_id": "known", "label": "negative"})
        assert_problem(response, 503)
        assert response.headers["retry-after"] == "5"

    run(story)


def test_the_model_page_tells_lineage_in_short() -> None:
    async def story(api: Api) -> None:
        promoted = datetime(2026, 1, 3, tzinfo=UTC)
        api.serve(served=card("7", tags=LINEAGE.to_tags(), promoted_at=promoted))
        body = (await api.client.get("/v1/model")).json()
        assert (body["name"], body["version"], body["phase"]) == ("sentiment", "7", "serving")
        assert body["labels"] == ["negative", "positive"]
        assert body["promoted_at"] == "2026-01-03T00:00:00Z"
        assert body["lineage"]["window_ids"] == ["w-0000000000"]
        assert body["lineage"]["offset_ranges"] == [[0, 999]]
        assert body["lineage"]["parent_version"] is None
        assert (body["plan"], body["plans"]) == ("fake-plan", None)

    run(story)


def test_the_model_page_tells_which_plans_were_tried() -> None:
    async def story(api: Api) -> None:
        api.serve()
        tried = (TriedPlan(plan="a", speed=1.0, refusal="another goes before it"), TriedPlan(plan="b", chosen=True))
        api.status.planned(card("7"), PlanReport(chosen="b", tried=tried))
        plans = (await api.client.get("/v1/model")).json()["plans"]
        assert plans["chosen"] == "b"
        assert [each["refusal"] for each in plans["tried"]] == ["another goes before it", None]

    run(story)


def test_a_model_without_lineage_tags_still_has_a_page() -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert (await api.client.get("/v1/model")).json()["lineage"] is None

    run(story)


def test_it_is_ready_while_a_model_serves_and_says_what_else_is_gone() -> None:
    async def story(api: Api) -> None:
        api.serve()
        api.status.reaches(kafka_trouble="no answer", registry_trouble=None)
        ready = await api.client.get("/readyz")
        assert ready.status_code == 200
        assert (ready.json()["kafka"], ready.json()["registry"]) == ("no answer", "reachable")

    run(story)


def test_the_documents_need_no_network() -> None:
    async def story(api: Api) -> None:
        page = (await api.client.get("/docs")).text
        document = (await api.client.get("/openapi.json")).json()
        assert "/v1/predict" in page
        assert "openapi.json" in page
        assert [foreign for foreign in ("http://", "https://", "<script") if foreign in page] == []
        assert PROBLEM in document["paths"]["/v1/predict"]["post"]["responses"]["429"]["content"]

    run(story)


def test_the_documents_show_an_example_of_every_operation() -> None:
    async def story(api: Api) -> None:
        page = (await api.client.get("/docs")).text
        document = (await api.client.get("/openapi.json")).json()
        operations = [operation for methods in document["paths"].values() for operation in methods.values()]
        assert operations
        for operation in operations:
            assert operation["x-codeSamples"]
            assert all(escape(sample["source"]) in page for sample in operation["x-codeSamples"])
        assert "Takes application/x-ndjson" in page

    run(story)


def test_metrics_are_on_the_same_port() -> None:
    async def story(api: Api) -> None:
        api.serve()
        await api.predict(texts=["a", "b"])
        text = (await api.client.get("/metrics")).text
        assert 'tidemill_predictions_total{version="7"} 2.0' in text
        assert "tidemill_served_version 7.0" in text
        assert 'tidemill_server_phase_info{phase="serving"} 1.0' in text

    run(story)
