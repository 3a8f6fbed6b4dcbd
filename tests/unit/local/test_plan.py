from pathlib import Path

import pytest

from deploy.local.endpoints import Endpoints
from deploy.local.plan import SERVICES, plan
from deploy.local.specs import ProcessSpec


def named(home: Path) -> tuple[dict[str, ProcessSpec], Endpoints]:
    specs, endpoints = plan(home)
    return {spec.name: spec for spec in specs}, endpoints


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", "TIDEMILL_REGISTRY__TRACKING_URI", "TIDEMILL_SERVER__PORT"):
        monkeypatch.delenv(variable, raising=False)


def test_the_stack_is_kafka_its_topics_mlflow_and_the_services(tmp_path: Path) -> None:
    specs, _ = named(tmp_path)
    assert {"kafka", "topics", "mlflow", *SERVICES} <= set(specs)


def test_whatever_is_waited_for_is_started(tmp_path: Path) -> None:
    specs, _ = named(tmp_path)
    assert {name for spec in specs.values() for name in spec.after} <= set(specs)


def test_every_service_is_told_the_same_addresses_and_its_own_metrics_port(tmp_path: Path) -> None:
    specs, endpoints = named(tmp_path)
    for name in SERVICES:
        env = specs[name].env
        assert env["TIDEMILL_HOME"] == str(tmp_path)
        assert env["TIDEMILL_KAFKA__BOOTSTRAP_SERVERS"] == endpoints.bootstrap_servers
        assert env["TIDEMILL_REGISTRY__TRACKING_URI"] == endpoints.mlflow_uri
        assert env["TIDEMILL_SERVICE__METRICS_PORT"] == str(endpoints.metrics_ports[name])


def test_an_external_kafka_or_mlflow_is_used_and_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", "kafka.example:9092")
    monkeypatch.setenv("TIDEMILL_REGISTRY__TRACKING_URI", "http://mlflow.example")
    specs, endpoints = named(tmp_path)
    assert not {"kafka", "mlflow"} & set(specs)
    assert endpoints.bootstrap_servers == "kafka.example:9092"
    assert specs["evaluator"].env["TIDEMILL_REGISTRY__TRACKING_URI"] == "http://mlflow.example"
    assert {name for spec in specs.values() for name in spec.after} == {"topics"}


def test_a_server_port_that_was_asked_for_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_SERVER__PORT", "8123")
    specs, endpoints = named(tmp_path)
    assert endpoints.server_url == "http://127.0.0.1:8123"
    assert specs["server"].env["TIDEMILL_SERVER__PORT"] == "8123"


def test_a_server_with_a_certificate_is_found_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_SERVER__TLS_CERTIFICATE", "server.pem")
    monkeypatch.setenv("TIDEMILL_SERVER__TLS_KEY", "server.key")
    specs, endpoints = named(tmp_path)
    assert endpoints.server_url.startswith("https://127.0.0.1:")
    assert specs["server"].ready_url == f"{endpoints.server_url}/healthz"
    assert specs["server"].env["TIDEMILL_SERVER__PORT"] == str(endpoints.metrics_ports["server"])


def test_the_ports_of_the_last_run_are_taken_again(tmp_path: Path) -> None:
    _, first = named(tmp_path)
    first.write(tmp_path)
    assert named(tmp_path)[1].ports == first.ports
