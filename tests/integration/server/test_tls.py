"""HTTPS as clients meet it: a real uvicorn with a certificate made for the test."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from deploy.local import probes
from services.control.server_client import first_key, server_client
from services.server.api.application import build_api
from services.server.api.parts import Parts
from services.server.engine import Engine
from services.server.slots import Slots
from services.server.status import Status
from services.server.tls import tls_options
from shared.errors import ConfigurationError
from shared.health import Health
from shared.metrics import ServerMetrics, ServiceMetrics
from shared.settings import ServerSettings, Settings, load_settings
from tests.certificates import Pair, self_signed
from tests.integration.server.stage import ServerProcess, stream_settings
from tests.unit.server.api_client import FakeFeedback

CLIENT, ADMIN = "client-key-client-key", "admin-key-admin-key"


class Http(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The API behind a real uvicorn; yields its address."""
    registry = CollectorRegistry()
    metrics, health = ServerMetrics(registry), Health(ServiceMetrics(registry))
    status = Status("replica", None, metrics, health, lambda state: None)
    engine = Engine(settings, Slots(), metrics)
    parts = Parts(settings, engine, FakeFeedback(), status, health, metrics, registry, threading.Event())
    config = uvicorn.Config(build_api(parts), log_config=None, **tls_options(settings.server))
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Http(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        assert server.listens.wait(60)
        try:
            yield f"{settings.server.scheme}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)


def settings_of(pair: Pair, **server: Any) -> Settings:
    return load_settings(server={"tls_certificate": pair.certificate, "tls_key": pair.key, **server})


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return self_signed(tmp_path)


def test_whoever_knows_the_certificate_is_answered_and_others_do_not_trust_it(pair: Pair, tmp_path: Path) -> None:
    stranger = self_signed(tmp_path, "stranger")
    with serving(settings_of(pair)) as url:
        assert url.startswith("https://")
        with client(url, tls_trusted_ca=pair.certificate) as knowing:
            assert knowing.get("/healthz").status_code == 200
        for authority in (None, stranger.certificate):
            with client(url, tls_trusted_ca=authority) as other, pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
                other.get("/healthz")


def test_plain_http_gets_nothing_from_it(pair: Pair) -> None:
    with serving(settings_of(pair)) as url, pytest.raises(httpx.TransportError):
        httpx.get(url.replace("https", "http") + "/healthz")


def test_an_encrypted_key_is_opened_with_its_password(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, password="of the key")
    with (
        serving(settings_of(pair, tls_key_password="of the key")) as url,
        client(url, tls_trusted_ca=pair.certificate) as knowing,
    ):
        assert knowing.get("/healthz").status_code == 200


def test_with_an_authority_for_clients_only_those_with_its_certificate_are_answered(pair: Pair, tmp_path: Path) -> None:
    own, stranger = self_signed(tmp_path, "client"), self_signed(tmp_path, "stranger")
    with serving(settings_of(pair, tls_client_ca=own.certificate)) as url:
        assert presenting(own, pair, url) == 200
        for other in (stranger, None):
            with pytest.raises(httpx.TransportError):
                presenting(other, pair, url)


def presenting(shown: Pair | None, server: Pair, url: str) -> int:
    """The status that a client with this certificate gets."""
    context = ssl.create_default_context(cafile=server.certificate)
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return httpx.get(f"{url}/healthz", verify=context).status_code


def test_the_local_stack_sees_it_become_ready(pair: Pair) -> None:
    with serving(settings_of(pair)) as url:
        assert probes.answers(f"{url}/healthz")[0]


@pytest.mark.parametrize("keys", [{"api_keys": (CLIENT,), "admin_keys": (ADMIN,)}, {"admin_keys": (ADMIN,)}])
def test_commands_send_the_key_of_their_settings(pair: Pair, keys: Mapping[str, Any]) -> None:
    settings = settings_of(pair, **keys)
    with serving(settings) as url, client(url, tls_trusted_ca=pair.certificate, **keys) as ours:
        assert ours.get("/v1/model").status_code == 503  # let in, and no model yet


def test_the_service_speaks_tls_and_asks_for_keys(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_SERVER__TLS_CERTIFICATE", str(pair.certificate))
    monkeypatch.setenv("TIDEMILL_SERVER__TLS_KEY", str(pair.key))
    monkeypatch.setenv("TIDEMILL_SERVER__TLS_TRUSTED_CA", str(pair.certificate))
    monkeypatch.setenv("TIDEMILL_SERVER__API_KEYS", f'["{CLIENT}"]')
    nobody = "127.0.0.1:1"
    with ServerProcess(stream_settings(nobody, f"http://{nobody}", "tls", tmp_path / "home")) as server:
        assert server.predict(text="a film").status_code == 503  # let in, and no model yet
        with client(server.url, api_keys=(), tls_trusted_ca=pair.certificate) as stranger:
            assert stranger.post("/v1/predict", json={"text": "a film"}).status_code == 401
    assert server.url.startswith("https://")
    assert server.url in (tmp_path / "home" / "server.log").read_text()


def client(url: str, **server: Any) -> httpx.Client:
    return server_client(url, load_settings(server=server).server, timeout_seconds=60)


def test_a_command_takes_its_key_from_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of the shop\n{CLIENT}\n")
    assert first_key(ServerSettings(api_keys_file=tmp_path / "keys")) == CLIENT
    assert first_key(ServerSettings(admin_keys=(SecretStr(ADMIN),), api_keys_file=tmp_path / "keys")) == CLIENT
    assert first_key(ServerSettings()) is None


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"server.tls_trusted_ca .*missing.pem"):
        client("https://127.0.0.1", tls_trusted_ca=tmp_path / "missing.pem")
