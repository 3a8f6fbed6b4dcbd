"""How the registry takes what a server answers, or does not: any server will do."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.errors import RegistryRefusedError, RegistryUnavailableError
from shared.mlflow_calls import TIMEOUT_VARIABLE, Calls
from shared.registry import Registry
from shared.settings import RegistrySettings, Settings, load_settings

REFUSAL = b'{"error_code": "%s", "message": "told so"}'


class Answering(ThreadingHTTPServer):
    """Gives every request the same answer, and counts them."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.requests = status, body, 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self) -> None:
        self.server.requests += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], Answering]]:
    servers: list[Answering] = []

    def start(status: int, body: bytes) -> Answering:
        servers.append(Answering(status, body))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def settings_for(port: int, **registry: object) -> Settings:
    return load_settings(registry={"tracking_uri": f"http://127.0.0.1:{port}"} | registry)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_as_often_as_the_settings_say_and_no_more(
    answering: Callable[[int, bytes], Answering], status: int
) -> None:
    server = answering(status, b"busy")
    with pytest.raises(RegistryUnavailableError, match="reading the champion"):
        Registry(settings_for(server.server_port, attempts=2)).champion()
    assert server.requests == 2


@pytest.mark.parametrize(("status", "code"), [(400, b"INVALID_PARAMETER_VALUE"), (403, b"PERMISSION_DENIED")])
def test_a_refusal_is_not_repeated(answering: Callable[[int, bytes], Answering], status: int, code: bytes) -> None:
    server = answering(status, REFUSAL % code)
    with pytest.raises(RegistryRefusedError, match="told so"):
        Registry(settings_for(server.server_port, attempts=5)).versions()
    assert server.requests == 1


def test_what_does_not_exist_is_none(answering: Callable[[int, bytes], Answering]) -> None:
    server = answering(404, REFUSAL % b"RESOURCE_DOES_NOT_EXIST")
    assert Registry(settings_for(server.server_port)).version("1") is None


def test_a_server_that_is_no_mlflow_is_not_taken_for_an_empty_one(
    answering: Callable[[int, bytes], Answering],
) -> None:
    server = answering(404, b"<html>not found</html>")
    with pytest.raises(RegistryRefusedError):
        Registry(settings_for(server.server_port, attempts=1)).champion()


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = Registry(settings_for(silent.getsockname()[1], attempts=1, timeout_seconds=0.1))
        with pytest.raises(RegistryUnavailableError, match="timed? ?out"):
            registry.check()


def test_only_transfers_are_given_the_long_timeout() -> None:
    settings = RegistrySettings(timeout_seconds=7, upload_timeout_seconds=99)
    calls = Calls("http://somewhere", settings, threading.Event(), lambda doing: nullcontext())

    def timeout() -> str:
        return os.environ[TIMEOUT_VARIABLE]

    def around_another() -> tuple[str, str, str]:
        return timeout(), calls.transferring("another", timeout), timeout()

    assert calls.transferring("uploading", around_another) == ("99", "99", "99")
    assert calls.repeated("asking", timeout) == "7"
