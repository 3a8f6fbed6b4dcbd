"""Clients that people have, unchanged, against the server on a socket."""

import gzip
import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

from tests.integration.server.live import ADMIN_KEY, VERSION, Live, live

TEXTS = ["A three-hour master class.", "Dull — “très” dull."]
MODEL = "sentiment"
OUTPUTS = ["label", "scores", "labels", "prediction_id", "truncated"]


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(admin_keys=[ADMIN_KEY]) as running:
        yield running


@pytest.fixture
def client(server: Live) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address) as open_client:
        yield open_client


def text_input(texts: list[str], *, binary: bool, shape: tuple[int, ...] | None = None) -> triton.InferInput:
    elements = np.array(texts, dtype=object).reshape(shape or (len(texts),))
    tensor = triton.InferInput("text", elements.shape, "BYTES")
    tensor.set_data_from_numpy(elements, binary_data=binary)
    return tensor


def test_triton_sees_server_and_model_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, VERSION)
    assert not client.is_model_ready("another")
    assert not client.is_model_ready(MODEL, "8")


def test_triton_reads_metadata(client: triton.InferenceServerClient) -> None:
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    for metadata in (client.get_model_metadata(MODEL), client.get_model_metadata(MODEL, VERSION)):
        assert (metadata["name"], metadata["versions"]) == (MODEL, [VERSION])
        assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        assert [output["name"] for output in metadata["outputs"]] == OUTPUTS
        assert metadata["outputs"][1] == {"name": "scores", "datatype": "FP32", "shape": [-1, 2]}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_triton_infers_with_binary_and_json_tensors(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool, shape: tuple[int, ...]
) -> None:
    inputs = [text_input(TEXTS, binary=binary_in, shape=shape)]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in OUTPUTS]
    result = client.infer(MODEL, inputs, outputs=outputs, request_id="r-1")
    said = result.get_response()
    assert (said["model_name"], said["model_version"], said["id"]) == (MODEL, VERSION, "r-1")
    assert words(result.as_numpy("label")) == ["positive", "positive"]
    assert words(result.as_numpy("labels")) == ["negative", "positive"]
    assert result.as_numpy("scores").tolist() == [[0.25, 0.75]] * 2
    assert result.as_numpy("scores").dtype == np.float32
    assert len(set(words(result.as_numpy("prediction_id")))) == 2
    assert result.as_numpy("truncated").tolist() == [False, False]


def words(elements: Any) -> list[str]:
    return [each.decode() if isinstance(each, bytes) else str(each) for each in elements.tolist()]


def test_triton_gets_every_output_unless_it_names_some(client: triton.InferenceServerClient) -> None:
    inputs = [text_input(TEXTS, binary=True)]
    everything = client.infer(MODEL, inputs, model_version=VERSION).get_response()
    assert [output["name"] for output in everything["outputs"]] == OUTPUTS
    one = client.infer(MODEL, inputs, outputs=[triton.InferRequestedOutput("scores")]).get_response()
    assert [output["name"] for output in one["outputs"]] == ["scores"]


@pytest.mark.parametrize("there", ["gzip", "deflate", None])
@pytest.mark.parametrize("back", ["gzip", "deflate", None])
def test_triton_may_compress_both_ways(
    client: triton.InferenceServerClient, there: str | None, back: str | None
) -> None:
    result = client.infer(
        MODEL,
        [text_input(TEXTS * 20, binary=True)],
        request_compression_algorithm=there,
        response_compression_algorithm=back,
    )
    assert result.as_numpy("scores").shape == (40, 2)


def test_triton_is_told_what_was_wrong(client: triton.InferenceServerClient) -> None:
    numbers = triton.InferInput("text", [1], "FP32")
    numbers.set_data_from_numpy(np.zeros(1, np.float32))
    nothing_such = [triton.InferRequestedOutput("embedding")]
    good = [text_input(TEXTS, binary=True)]
    for refused, status, says in (
        (lambda: client.infer(MODEL, [numbers]), "422", "BYTES"),
        (lambda: client.infer(MODEL, [text_input(TEXTS, binary=True, shape=(1, 2))]), "422", "shape"),
        (lambda: client.infer(MODEL, good, outputs=nothing_such), "422", "no such output"),
        (lambda: client.infer("another", good), "404", MODEL),
        (lambda: client.infer(MODEL, good, model_version="8"), "404", VERSION),
    ):
        with pytest.raises(InferenceServerException) as caught:
            refused()
        assert caught.value.status() == status
        assert says in caught.value.message()


def test_mlflow_scores_frames_arrays_and_lists(server: Live) -> None:
    client = ScoringServerClient(server.host, server.port)
    client.wait_server_ready()
    client.ping()
    assert client.get_version().startswith("3.")
    frame = pd.DataFrame({"id": [1, 2], "text": TEXTS})
    for data in (frame, frame[["text"]], np.array(TEXTS), np.array(TEXTS).reshape(2, 1), TEXTS):
        answered = client.invoke(data, params={"top_k": 1}).get_predictions()
        assert answered.columns.tolist() == ["label", "score"]
        assert answered.label.tolist() == ["positive", "positive"]
        assert answered.score.tolist() == [0.75, 0.75]


def test_mlflow_is_told_what_was_wrong(server: Live) -> None:
    client = ScoringServerClient(server.host, server.port)
    with pytest.raises(Exception, match=r"422.*top_k"):
        client.invoke(TEXTS, params={"top_k": 2})


def test_hugging_faces_client_asks_as_it_asks_tei(server: Live) -> None:
    # Of TEI's flat list for one text this client takes the first element, which is the best label.
    best = InferenceClient(f"{server.url}/predict").text_classification(TEXTS[0])
    assert best == {"label": "positive", "score": 0.75}


def test_tei_answers_one_text_flat_and_a_batch_nested(server: Live) -> None:
    ranked = [{"score": 0.75, "label": "positive"}, {"score": 0.25, "label": "negative"}]
    for inputs, expected in ((TEXTS[0], ranked), ([[text] for text in TEXTS], [ranked, ranked])):
        answered = httpx.post(f"{server.url}/predict", json={"inputs": inputs, "truncate": True})
        assert answered.json() == expected
    assert httpx.get(f"{server.url}/info").json()["model_type"]["classifier"]["id2label"] == {
        "0": "negative",
        "1": "positive",
    }


def examples(app: Any) -> list[str]:
    return [
        sample["source"]
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
        for sample in operation["x-codeSamples"]
    ]


class Talk:
    """A bulk stream over a socket that stays open while answers are read."""

    def __init__(self, server: Live) -> None:
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        self._connection.putrequest("POST", "/v1/predict")
        self._connection.putheader("Content-Type", "application/x-ndjson")
        self._connection.putheader("Transfer-Encoding", "chunked")
        self._connection.endheaders()

    def ask(self, text: str) -> dict[str, Any]:
        self._say(json.dumps({"text": text}).encode() + b"\n")
        if not hasattr(self, "_response"):
            self._response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(self._response.readline())
        return answer

    def end(self) -> bytes:
        """Ends the request; returns what is left of the answer."""
        self._say(b"")
        return self._response.read()

    def hang_up(self) -> None:
        self._response.close()
        self._connection.close()

    def _say(self, chunk: bytes) -> None:
        self._connection.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")


def test_a_stream_is_a_conversation_on_one_socket(server: Live) -> None:
    talk = Talk(server)
    assert [talk.ask(text)["line"] for text in TEXTS] == [1, 2]
    assert talk.end() == b""


def test_a_stream_that_is_left_is_noticed_and_ended(server: Live) -> None:
    talk = Talk(server)
    talk.ask(TEXTS[0])
    talk.hang_up()
    abandoned = 'tidemill_requests_total{outcome="abandoned",protocol="ndjson"} 1.0'
    while abandoned not in httpx.get(f"{server.url}/metrics").text:  # the test's own time limit ends it
        pass


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
def test_every_example_of_the_documents_runs_in_a_shell(server: Live) -> None:
    shown = examples(server.app)
    assert len(shown) > 20
    for example in shown:
        script = example.replace("curl -s", "curl -sS --fail-with-body")
        environment = {"PATH": os.environ["PATH"], "URL": server.url, "KEY": ADMIN_KEY}
        ran = subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, f"{example}\n{ran.stdout}{ran.stderr}"
        assert ran.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
def test_curl_streams_many_lines_compressed_and_gets_each_answer(server: Live) -> None:
    lines = b"".join(json.dumps({"id": number, "text": f"film {number}"}).encode() + b"\n" for number in range(3000))
    kind = ["-H", "Content-Type: application/x-ndjson", "-H", "Content-Encoding: gzip", "--data-binary", "@-"]
    command = ["curl", "-sS", "--fail", f"{server.url}/v1/predict", *kind]
    ran = subprocess.run(command, input=gzip.compress(lines), capture_output=True, check=True)
    assert [json.loads(line)["id"] for line in ran.stdout.splitlines()] == list(range(3000))
