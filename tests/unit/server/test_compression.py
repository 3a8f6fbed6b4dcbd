"""Compressed bodies, both ways, and the bound on what they stand for."""

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.server.api.bodies import DamagedBodyError
from services.server.api.compression import PIECE_BYTES, Inflator, accepted
from tests.unit.server.api_client import Api, assert_problem, run

JSON = {"Content-Type": "application/json"}
BODY = b'{"text": "A wonderful film."}'


def inflate(pieces: list[bytes]) -> bytes:
    inflator = Inflator()
    found = [part for piece in pieces for part in inflator.pieces(piece)]
    inflator.finish()
    assert all(len(part) <= PIECE_BYTES for part in found)
    return b"".join(found)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.integers(1, 50), st.integers(1, 200))
def test_whatever_the_pieces_the_same_bytes_come_out(members: list[bytes], size: int, times: int) -> None:
    packed = b"".join(gzip.compress(member * times) for member in members)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert inflate(pieces) == b"".join(member * times for member in members)


@given(st.binary(max_size=300), st.data())
def test_a_body_that_ends_early_is_damaged(body: bytes, data: st.DataObject) -> None:
    packed = zlib.compress(body)
    with pytest.raises(DamagedBodyError):
        inflate([packed[: data.draw(st.integers(1, len(packed) - 1))]])


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)]
)
def test_requests_may_be_compressed(coding: str, pack: Callable[[bytes], bytes]) -> None:
    async def story(api: Api) -> None:
        api.serve()
        headers = JSON | {"Content-Encoding": coding}
        response = await api.client.post("/v1/predict", content=pack(BODY), headers=headers)
        assert response.status_code == 200, response.text

    run(story)


def test_the_bound_on_a_body_is_on_what_it_stands_for() -> None:
    async def story(api: Api) -> None:
        bomb = gzip.compress(b" " * 50_000_000)
        headers = JSON | {"Content-Encoding": "gzip"}
        assert_problem(await api.client.post("/v1/predict", content=bomb, headers=headers), 413, "100000 bytes")

    run(story, max_body_bytes=100_000)


@pytest.mark.parametrize(
    "content",
    [b"plain", gzip.compress(BODY)[:-1], gzip.compress(BODY)[:12] + b"\0" * 20],
    ids=["not packed", "cut off", "overwritten"],
)
def test_damaged_bodies_are_refused(content: bytes) -> None:
    async def story(api: Api) -> None:
        headers = JSON | {"Content-Encoding": "gzip"}
        assert_problem(await api.client.post("/v1/predict", content=content, headers=headers), 400, "Content-Encoding")
        assert_problem(await api.client.post("/predict", content=content, headers=headers), 400)
        assert api.requests("invalid") == 1

    run(story)


def test_another_coding_is_refused_with_ours_named() -> None:
    async def story(api: Api) -> None:
        headers = JSON | {"Content-Encoding": "br"}
        response = await api.client.post("/v1/predict", content=BODY, headers=headers)
        assert_problem(response, 415, "gzip or deflate")
        assert response.headers["accept-encoding"] == "gzip, deflate"
        assert api.requests("invalid") == 1

    run(story)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("br, deflate , gzip", "deflate"),
        ("gzip;q=0, deflate;q=0.1", "deflate"),
        ("gzip; q=0.000", None),
        ("GZIP;q=1.0", "gzip"),
    ],
)
def test_an_answer_is_compressed_as_the_client_takes_it(header: str, coding: str | None) -> None:
    assert accepted(header) == coding
