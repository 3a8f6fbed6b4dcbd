"""Texts and predictions as tensors, in JSON and in bytes."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.server.api.bodies import InvalidBodyError
from services.server.api.problems import InvalidRequestError
from services.server.api.tensors import answered, asked_of, pack_bytes, unpack_bytes
from services.server.engine import Answer, Prediction, Predictions
from tests.unit.server.fakes import card

GIVEN = Predictions(
    card("7"),
    "fake-plan",
    tuple(
        Prediction(f"p{number}", "7", Answer("a film", label, {"negative": 1 - up, "positive": up}, truncated=cut))
        for number, (label, up, cut) in enumerate([("positive", 0.75, False), ("negative", 0.25, True)])
    ),
)


def body(**tensor: Any) -> bytes:
    named = {"name": "text", "datatype": "BYTES", "shape": [1]} | tensor
    return json.dumps({"inputs": [named]}).encode()


def binary(elements: bytes, **tensor: Any) -> tuple[bytes, str]:
    header = body(parameters={"binary_data_size": len(elements)}, **tensor)
    return header + elements, str(len(header))


@given(st.lists(st.text()))
def test_texts_in_bytes_come_back(texts: list[str]) -> None:
    elements = pack_bytes([text.encode() for text in texts])
    assert [element.decode() for element in unpack_bytes(elements)] == texts
    assert asked_of(*binary(elements, shape=[len(texts)]))[1] == texts


@given(st.binary())
def test_any_bytes_are_texts_or_refused(elements: bytes) -> None:
    try:
        _, texts = asked_of(*binary(elements))
    except InvalidRequestError:
        return
    assert pack_bytes([text.encode() for text in texts]) == elements


@pytest.mark.parametrize(
    ("tensor", "texts"),
    [
        ({"data": ["a"]}, ["a"]),
        ({"shape": [2], "data": ["a", "b"]}, ["a", "b"]),
        ({"shape": [2, 1], "data": [["a"], ["b"]]}, ["a", "b"]),
        ({"shape": [2, 1], "data": ["a", "b"]}, ["a", "b"]),
    ],
)
def test_json_tensors_may_be_flat_or_nested(tensor: dict[str, Any], texts: list[str]) -> None:
    assert asked_of(body(**tensor), None)[1] == texts


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({}, "either data or"),
        ({"shape": [2], "data": ["a"]}, "1 elements; its shape says 2"),
        ({"shape": [1, 2], "data": ["a", "b"]}, "[n] or [n, 1]"),
        ({"shape": [], "data": ["a"]}, "[n] or [n, 1]"),
        ({"data": ["a"], "parameters": {"binary_data_size": 0}}, "both data and"),
        ({"parameters": {"binary_data_size": 5}}, "0 bytes follow"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensor: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        asked_of(body(**tensor), None)
    assert says in str(refused.value)


@pytest.mark.parametrize("tensor", [{"name": "input"}, {"datatype": "FP32"}, {"shape": [-1]}, {"data": [1]}])
def test_tensors_of_another_name_or_type_are_refused(tensor: dict[str, Any]) -> None:
    with pytest.raises(InvalidBodyError):
        asked_of(body(**{"data": ["a"]} | tensor), None)


@pytest.mark.parametrize("length", ["-1", "x", "", "9999", "²", pytest.param("9" * 5000, id="5000 digits")])
def test_a_length_of_the_json_that_cannot_be_is_refused(length: str) -> None:
    with pytest.raises(InvalidRequestError, match="Inference-Header-Content-Length"):
        asked_of(body(data=["a"]), length)


def test_outputs_are_in_json_unless_asked_for_in_bytes() -> None:
    request, _ = asked_of(json.dumps({"id": "r", "inputs": [json.loads(body(data=["a"]))["inputs"][0]]}).encode(), None)
    response, rest = answered(request, GIVEN, "sentiment")
    assert (response.model_name, response.model_version, response.id) == ("sentiment", "7", "r")
    assert rest == b""
    assert {output.name: (output.shape, output.data) for output in response.outputs} == {
        "label": ([2], ["positive", "negative"]),
        "scores": ([2, 2], [0.25, 0.75, 0.75, 0.25]),
        "labels": ([2], ["negative", "positive"]),
        "prediction_id": ([2], ["p0", "p1"]),
        "truncated": ([2], [False, True]),
    }


def test_bytes_follow_in_the_order_of_the_outputs() -> None:
    asked = {
        "inputs": json.loads(body(data=["a"]))["inputs"],
        "outputs": [
            {"name": "scores"},
            {"name": "label", "parameters": {"binary_data": False}},
            {"name": "truncated", "parameters": {"binary_data": True}},
        ],
        "parameters": {"binary_data_output": True, "sequence_id": 5},
    }
    request, _ = asked_of(json.dumps(asked).encode(), None)
    response, rest = answered(request, GIVEN, "sentiment")
    assert [output.parameters for output in response.outputs] == [
        {"binary_data_size": 16},
        None,
        {"binary_data_size": 2},
    ]
    assert struct.unpack("<4f2?", rest) == (0.25, 0.75, 0.75, 0.25, False, True)
