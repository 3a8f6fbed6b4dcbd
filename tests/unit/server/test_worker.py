"""What each of several server processes makes of the settings."""

import os

import pytest

from services.server.entry import _worker
from services.server.worker import Worker
from shared.settings import Settings, load_settings

WORKER = Worker(number=2, count=4, listener=7, parent=11)


def settings_of(**fields: object) -> Settings:
    return load_settings(**fields)


def test_a_worker_learns_from_its_command_line_who_it_is() -> None:
    assert _worker(WORKER.arguments()) == WORKER
    assert _worker([]) is None


def test_each_worker_is_a_replica_of_its_own_with_its_share_of_the_cores_it_may_run_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    own = WORKER.settings(settings_of(server={"replica_id": "berlin"}), gpus=0)
    assert own.server.replica_id == "berlin.2"
    assert own.model.threads == 3
    assert own.model.device == "auto"


def test_where_a_system_knows_no_affinity_the_machines_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert WORKER.settings(settings_of(), gpus=0).model.threads == 16


def test_what_the_settings_say_of_threads_and_device_holds() -> None:
    own = WORKER.settings(settings_of(model={"threads": 3, "device": "cpu"}), gpus=2)
    assert (own.model.threads, own.model.device) == (3, "cpu")


@pytest.mark.parametrize(("number", "device"), [(0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")])
def test_workers_go_around_the_gpus(number: int, device: str) -> None:
    assert Worker(number, 4, 7, 11).settings(settings_of(), gpus=2).model.device == device


def test_operators_find_the_workers_at_ports_one_after_the_other() -> None:
    assert WORKER.own_port(settings_of(service={"metrics_port": 9100})) == 9102
    assert WORKER.own_port(settings_of()) == 0
