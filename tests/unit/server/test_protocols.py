"""What the protocols share: one meaning of errors, one count, plain text beside JSON; and TEI's own shapes."""

from math import exp
from typing import Any

import pytest

from services.server.slots import Challenger
from services.server.tally import Tally
from shared.canary import Canary
from shared.events import ServingRole
from tests.unit.server.api_client import Api, assert_problem, run
from tests.unit.server.fakes import FakeModel, slot

INFER = "/v2/models/sentiment/infer"
TENSOR = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a film"]}]}
REQUESTS = {
    "tidemill": ("/v1/predict", {"text": "a film"}),
    "open_inference": (INFER, TENSOR),
    "mlflow": ("/invocations", {"inputs": ["a film"]}),
    "tei": ("/predict", {"inputs": "a film"}),
}


@pytest.mark.parametrize("protocol", REQUESTS)
def test_every_protocol_is_counted_and_timed_under_its_name(protocol: str) -> None:
    path, body = REQUESTS[protocol]

    async def story(api: Api) -> None:
        api.serve()
        assert (await api.client.post(path, json=body)).status_code == 200
        assert (await api.client.post(path, json={"unknown": 1})).status_code == 422
        assert {name: api.requests("ok", name) for name in REQUESTS} == {
            name: float(name == protocol) for name in REQUESTS
        }
        assert api.requests("invalid", protocol) == 1
        timed = api.metrics.get_sample_value("tidemill_request_seconds_count", {"protocol": protocol})
        assert timed == 1

    run(story)


@pytest.mark.parametrize(("path", "body"), REQUESTS.values(), ids=REQUESTS)
def test_every_protocol_says_that_there_is_no_model_where_its_clients_look(path: str, body: dict[str, Any]) -> None:
    async def story(api: Api) -> None:
        response = await api.client.post(path, json=body)
        assert_problem(response, 503, "no model")
        assert response.headers["retry-after"] == "5"
        assert "no model has been promoted" in response.json()["error"]
        assert response.json()["error_type"] == "Unhealthy"

    run(story)


def test_an_error_in_one_line_names_the_fields_but_not_what_they_held() -> None:
    async def story(api: Api) -> None:
        wrong = {"inputs": [TENSOR["inputs"][0] | {"datatype": "FP32", "data": ["4111 1111"]}]}
        response = await api.client.post(INFER, json=wrong)
        assert_problem(response, 422)
        assert "inputs.0.datatype" in response.json()["error"]
        assert "4111" not in response.text

    run(story)


def test_plain_text_is_one_text_in_the_charset_that_it_names() -> None:
    async def story(api: Api) -> None:
        model = FakeModel()
        api.serve(model)
        for kind, content in (
            ("text/plain", "très beau".encode()),
            ("text/plain; charset=iso-8859-1", "très beau".encode("latin-1")),
            ('TEXT/PLAIN; Charset="UTF-16"', "très beau".encode("utf-16")),
        ):
            response = await api.client.post("/v1/predict", content=content, headers={"Content-Type": kind})
            assert response.status_code == 200, response.text
            assert response.json()["predictions"][0]["label"] == "positive"
        assert model.calls == [["très beau"]] * 3

    run(story)


@pytest.mark.parametrize(
    ("charset", "content", "status"),
    [
        ("utf-8", b"\xff", 422),
        ("us-ascii", "é".encode(), 422),
        ("utf-8", b"", 422),
        ("utf-8", b" \n", 422),
        ("klingon", b"a", 415),
        ("idna", b"a", 415),
        ("base64", b"YQ==", 415),
    ],
)
def test_plain_text_that_is_none_is_refused(charset: str, content: bytes, status: int) -> None:
    async def story(api: Api) -> None:
        api.serve()
        headers = {"Content-Type": f"text/plain; charset={charset}"}
        assert_problem(await api.client.post("/v1/predict", content=content, headers=headers), status)

    run(story)


def test_tei_ranks_labels_and_nests_batches() -> None:
    async def story(api: Api) -> None:
        api.serve()
        ranked = [{"score": 0.75, "label": "positive"}, {"score": 0.25, "label": "negative"}]
        for inputs, expected in (
            ("a", ranked),
            (["a"], [ranked]),
            (["a", "b"], [ranked, ranked]),
            ([["a"], ["b"]], [ranked, ranked]),
        ):
            response = await api.client.post("/predict", json={"inputs": inputs})
            assert response.json() == expected
            assert (response.headers["x-model-version"], response.headers["x-model-plan"]) == ("7", "fake-plan")

    run(story)


def test_teis_raw_scores_are_logits_of_the_probabilities() -> None:
    async def story(api: Api) -> None:
        for certainty in (0.75, 1.0):
            api.serve(FakeModel(certainty=certainty))
            said = (await api.client.post("/predict", json={"inputs": "a", "raw_scores": True})).json()
            total = sum(exp(each["score"]) for each in said)
            assert [exp(each["score"]) / total for each in said] == pytest.approx([certainty, 1 - certainty])

    run(story)


@pytest.mark.parametrize("inputs", [[], [[]], [["a", "b"]], 5, " ", [" "]])
def test_tei_refuses_what_is_no_single_text(inputs: Any) -> None:
    async def story(api: Api) -> None:
        api.serve()
        response = await api.client.post("/predict", json={"inputs": inputs})
        assert_problem(response, 422)
        assert response.json()["error_type"] == "Validation"

    run(story)


def test_info_tells_the_limits_under_teis_names() -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.client.get("/info"), 503)
        api.serve()
        info = (await api.client.get("/info")).json()
        assert info["model_id"] == "sentiment"
        assert info["max_client_batch_size"] == 5
        assert info["model_type"] == {
            "classifier": {
                "id2label": {"0": "negative", "1": "positive"},
                "label2id": {"negative": 0, "positive": 1},
            }
        }

    run(story, max_texts=5)


@pytest.mark.parametrize("path", ["", "/ready", "/versions/7", "/versions/7/ready"])
def test_a_model_of_the_open_protocol_is_known_by_its_name(path: str) -> None:
    async def story(api: Api) -> None:
        api.serve()
        assert (await api.client.get(f"/v2/models/sentiment{path}")).status_code == 200
        assert_problem(await api.client.get(f"/v2/models/another{path}"), 404, "sentiment")

    run(story)


@pytest.mark.parametrize("role", [ServingRole.CANARY, ServingRole.SHADOW])
def test_a_challenger_is_ready_has_metadata_and_answers_whoever_names_it_as_the_champion_does(
    role: ServingRole,
) -> None:
    async def story(api: Api) -> None:
        api.serve()
        api.slots.place_beside(Challenger(Canary("8", role, 0.5), slot("8"), Tally()))  # type: ignore[arg-type]
        for version, status in (("7", 200), ("8", 200), ("9", 404)):
            address = f"/v2/models/sentiment/versions/{version}"
            said = [await api.client.get(address), await api.client.get(f"{address}/ready")]
            said.append(await api.client.post(f"{address}/infer", json=TENSOR))
            assert [each.status_code for each in said] == [status] * 3, version
            if status == 404:
                assert all("7 and 8" in each.text for each in said)
            else:
                assert said[0].json()["versions"] == ["7", "8"]
                assert said[2].json()["model_version"] == version
        assert (await api.client.get("/v2/models/sentiment")).json()["versions"] == ["7", "8"]

    run(story)


def test_the_open_protocol_knows_before_the_first_promotion_that_nothing_serves() -> None:
    async def story(api: Api) -> None:
        assert (await api.client.get("/v2/health/live")).json() == {"live": True}
        ready = await api.client.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        assert_problem(await api.client.get("/v2/models/sentiment/ready"), 503)
        assert_problem(await api.client.get("/v2/models/sentiment/versions/7"), 503)
        assert (await api.client.get("/v2/models/sentiment")).json()["versions"] == []

    run(story)
