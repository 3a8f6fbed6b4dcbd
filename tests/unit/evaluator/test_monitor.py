"""Where the monitor begins to read, and that it can be switched off. What it does is tested with a real broker."""

import threading
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.evaluator.monitor import _start, build
from services.evaluator.notebook import Notebook
from shared.health import Health
from shared.metrics import ServiceMetrics
from shared.monitor_settings import MonitorSettings
from shared.service import Context
from shared.settings import load_settings

CURATED = ("reviews.curated", 0)


def read_up_to(path: Path, position: int) -> Notebook:
    notebook = Notebook(path / "notebook.sqlite", MonitorSettings())
    with notebook.transaction():
        notebook.note(position - 1, 0.0, 1, "read before")
        notebook.move(CURATED[0], position)
    return notebook


def test_the_notebook_says_where_to_read_on(tmp_path: Path) -> None:
    assert _start(read_up_to(tmp_path, 120))(CURATED, 0, 500) == 120


def test_what_retention_took_is_passed_over(tmp_path: Path) -> None:
    notebook = read_up_to(tmp_path, 120)
    assert _start(notebook)(CURATED, 300, 500) == 300
    assert notebook.position(CURATED[0]) == 120


def test_a_topic_that_is_shorter_than_what_was_read_of_it_is_another_topic(tmp_path: Path) -> None:
    notebook = read_up_to(tmp_path, 120)
    assert _start(notebook)(CURATED, 0, 50) == 0
    assert notebook.position(CURATED[0]) is None
    assert notebook.texts(10) == []


def test_switched_off_it_needs_nobody() -> None:
    registry, stopping = CollectorRegistry(), threading.Event()
    metrics = ServiceMetrics(registry)
    settings = load_settings(evaluator={"monitor": {"enabled": False}})
    loop = build(Context(settings, registry, metrics, Health(metrics), stopping))
    stopping.set()
    loop.step()
    loop.close()
    assert registry.get_sample_value("tidemill_prequential_rows") is None
