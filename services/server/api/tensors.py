"""Texts and predictions as tensors of the Open Inference Protocol, in JSON and in the binary tensor data extension.

Sources: KServe, "Open Inference Protocol", HTTP/REST; Triton Inference Server, "Binary Tensor Data Extension".
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from services.server.api.bodies import parsed
from services.server.api.headers import size_of
from services.server.api.problems import InvalidRequestError
from services.server.engine import Predictions

INPUT = "text"
DataType = Literal["BYTES", "FP32", "BOOL"]
Strings = list[str] | list[Annotated[list[str], Field(min_length=1, max_length=1)]]
_LENGTH = struct.Struct("<I")


class _Told(BaseModel):
    """What a client says; members of extensions that are not known here are passed over, as the protocol asks."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class InputParameters(_Told):
    """Of an input tensor."""

    binary_data_size: int | None = Field(None, ge=0, description="Bytes of it that follow the JSON.")


class InputTensor(_Told):
    """The texts."""

    name: Literal["text"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=0)]] = Field(description="[n] or [n, 1].", examples=[[1]])
    parameters: InputParameters = InputParameters()
    data: Strings | None = Field(None, description="In JSON, unless it follows as bytes.", examples=[["A fine film."]])


class OutputParameters(_Told):
    """Of an output tensor."""

    binary_data: bool | None = None


class WantedOutput(_Told):
    """One output to be answered."""

    name: str = Field(examples=["label"])
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Told):
    """Of the whole request."""

    binary_data_output: bool = False


class InferRequest(_Told):
    """A request for inference. Without `outputs`, all of them are answered."""

    id: str | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[WantedOutput] | None = None


class OutputTensor(BaseModel):
    """One answered tensor, its elements in row-major order."""

    name: str
    datatype: DataType
    shape: list[int]
    parameters: dict[str, int] | None = Field(None, description="`binary_data_size`: bytes that follow the JSON.")
    data: list[str] | list[float] | list[bool] | None = None


class InferResponse(BaseModel):
    """The answer. `parameters.plan`: how it was computed."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, str]
    outputs: list[OutputTensor]


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor that the model answers: its shape for n texts and k labels, and its elements in row-major order."""

    name: str
    datatype: DataType
    shape: Callable[[int, int], list[int]]
    values: Callable[[Predictions], list[Any]]


def _labels(given: Predictions) -> list[str]:
    return list(given.items[0].answer.scores)


def _scores(given: Predictions) -> list[float]:
    labels = _labels(given)
    return [item.answer.scores[label] for item in given.items for label in labels]


OUTPUTS = {
    output.name: output
    for output in (
        Output("label", "BYTES", lambda n, k: [n], lambda given: [item.answer.label for item in given.items]),
        Output("scores", "FP32", lambda n, k: [n, k], _scores),
        Output("labels", "BYTES", lambda n, k: [k], _labels),  # of the columns of `scores`
        Output("prediction_id", "BYTES", lambda n, k: [n], lambda given: [item.prediction_id for item in given.items]),
        Output("truncated", "BOOL", lambda n, k: [n], lambda given: [item.answer.truncated for item in given.items]),
    )
}


def asked_of(body: bytes, json_bytes: str | None) -> tuple[InferRequest, list[str]]:
    """The request and its texts. `json_bytes`: the header that tells how much of the body is JSON; None: all of it.

    Raises:
        InvalidBodyError: The JSON has another shape.
        InvalidRequestError: The tensors do not fit the model, or the bytes do not fit the tensors.
    """
    end = len(body) if json_bytes is None else size_of(json_bytes)
    if end is None or end > len(body):
        raise InvalidRequestError(f"Inference-Header-Content-Length must be a number, {len(body)} at most")
    request = parsed(body[:end], InferRequest)
    (tensor,) = request.inputs
    return request, _texts(tensor, body[end:])


def _texts(tensor: InputTensor, binary: bytes) -> list[str]:
    if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
        raise InvalidRequestError(f"input {INPUT!r} must have the shape [n] or [n, 1]")
    if tensor.parameters.binary_data_size is not None:
        texts = _binary_texts(tensor, binary)
    elif tensor.data is not None and not binary:
        texts = [each if isinstance(each, str) else each[0] for each in tensor.data]
    else:
        raise InvalidRequestError(f"input {INPUT!r} needs either data or the parameter binary_data_size")
    if len(texts) != prod(tensor.shape):
        raise InvalidRequestError(f"input {INPUT!r} has {len(texts)} elements; its shape says {prod(tensor.shape)}")
    return texts


def _binary_texts(tensor: InputTensor, binary: bytes) -> list[str]:
    if tensor.data is not None:
        raise InvalidRequestError(f"input {INPUT!r} has both data and the parameter binary_data_size")
    if tensor.parameters.binary_data_size != len(binary):
        raise InvalidRequestError(f"{len(binary)} bytes follow the JSON; binary_data_size says otherwise")
    try:
        return [element.decode() for element in unpack_bytes(binary)]
    except (UnicodeDecodeError, struct.error) as error:
        raise InvalidRequestError("the binary data is not UTF-8 texts, each after its length in 4 bytes") from error


def unpack_bytes(binary: bytes) -> list[bytes]:
    """The elements of a BYTES tensor, each after its length as a little-endian 32-bit number.

    Raises: struct.error if the last element is cut.
    """
    elements, at = [], 0
    while at < len(binary):
        (length,) = _LENGTH.unpack_from(binary, at)
        at += _LENGTH.size + length
        if at > len(binary):
            raise struct.error("an element is longer than what is left")
        elements.append(binary[at - length : at])
    return elements


def pack_bytes(elements: Sequence[bytes]) -> bytes:
    """A BYTES tensor as bytes; the inverse of `unpack_bytes`."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def answered(request: InferRequest, given: Predictions, model_name: str) -> tuple[InferResponse, bytes]:
    """The answer's JSON and the binary data that follows it, empty if all tensors are in the JSON."""
    tensors = [_tensor(output, given, binary=binary) for output, binary in outputs_of(request)]
    response = InferResponse(
        model_name=model_name,
        model_version=given.card.version,
        id=request.id,
        parameters={"plan": given.plan},
        outputs=[tensor for tensor, _ in tensors],
    )
    return response, b"".join(binary for _, binary in tensors)


def outputs_of(request: InferRequest) -> list[tuple[Output, bool]]:
    """The outputs to be answered, all by default, each with whether it is to be binary.

    Raises: InvalidRequestError for one that the model does not have.
    """
    by_default = request.parameters.binary_data_output
    wanted = request.outputs or [WantedOutput(name=name) for name in OUTPUTS]
    if not all(output.name in OUTPUTS for output in wanted):
        raise InvalidRequestError(f"the model has no such output; it has {', '.join(OUTPUTS)}")
    flags = [output.parameters.binary_data for output in wanted]
    return [
        (OUTPUTS[output.name], by_default if binary is None else binary)
        for output, binary in zip(wanted, flags, strict=True)
    ]


def _tensor(output: Output, given: Predictions, *, binary: bool) -> tuple[OutputTensor, bytes]:
    values = output.values(given)
    shape = output.shape(len(given.items), len(_labels(given)))
    if not binary:
        return OutputTensor(name=output.name, datatype=output.datatype, shape=shape, data=values), b""
    data = _binary(output.datatype, values)
    size = {"binary_data_size": len(data)}
    return OutputTensor(name=output.name, datatype=output.datatype, shape=shape, parameters=size), data


def _binary(datatype: DataType, values: list[Any]) -> bytes:
    match datatype:
        case "BYTES":
            return pack_bytes([value.encode() for value in values])
        case "FP32":
            return np.asarray(values, "<f4").tobytes()
        case "BOOL":
            return np.asarray(values, np.bool_).tobytes()
