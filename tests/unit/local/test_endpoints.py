from pathlib import Path

import pytest

from deploy.local.endpoints import Endpoints, Phase, ProcessState, read_endpoints, with_endpoints
from shared.errors import ConfigurationError
from shared.settings import KafkaSettings, Settings

ENDPOINTS = Endpoints(
    bootstrap_servers="127.0.0.1:1",
    mlflow_uri="http://127.0.0.1:2",
    server_url="http://127.0.0.1:3",
    prometheus_url=None,
    metrics_ports={"ingestor": 4},
    ports={"kafka": 1},
    supervisor_pid=5,
    processes={"kafka": ProcessState(phase=Phase.READY, pid=6), "topics": ProcessState(phase=Phase.DONE)},
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    ENDPOINTS.write(tmp_path)
    assert read_endpoints(tmp_path) == ENDPOINTS


def test_a_home_that_never_ran_has_none(tmp_path: Path) -> None:
    assert read_endpoints(tmp_path) is None


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{")
    with pytest.raises(ConfigurationError, match="endpoints.json is damaged"):
        read_endpoints(tmp_path)


def test_steps_that_are_done_count_as_up_and_have_no_process() -> None:
    assert ENDPOINTS.all_up
    assert ENDPOINTS.pids == {"kafka": 6}


def test_nothing_started_is_not_up() -> None:
    assert not ENDPOINTS.model_copy(update={"processes": {}}).all_up


def test_settings_get_the_stacks_addresses(tmp_path: Path) -> None:
    ENDPOINTS.write(tmp_path)
    settings = with_endpoints(Settings(home=tmp_path))
    assert settings.bootstrap_servers() == "127.0.0.1:1"
    assert settings.tracking_uri() == "http://127.0.0.1:2"


def test_another_kafka_that_was_set_stays(tmp_path: Path) -> None:
    ENDPOINTS.write(tmp_path)
    settings = with_endpoints(Settings(home=tmp_path, kafka=KafkaSettings(bootstrap_servers="other:9092")))
    assert settings.bootstrap_servers() == "other:9092"
