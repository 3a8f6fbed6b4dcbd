"""Where the monitor begins to read, and that it can be switched off. What it does is tested with a real broker."""

import threading
from pathlib import Path
from unittest.mock import create_autospec

from prometheus_client import CollectorRegistry

from services.evaluator.monitor import Monitor, _start, build
from services.evaluator.notebook import NOTEBOOK_FILE, Notebook
from services.evaluator.shadow import ShadowProcess
from shared.envelope import encode
from shared.events import Verdict
from shared.health import Health
from shared.kafka import Follower, GroupConsumer, Record
from shared.metrics import ServiceMetrics
from shared.monitor_settings import MonitorSettings
from shared.service import Context
from shared.settings import load_settings
from tests.unit.evaluator.builders import NOW, decision, window, window_id

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


def test_a_record_that_is_no_window_is_passed_over(tmp_path: Path) -> None:
    """The windows before and behind it are known all the same."""
    consumer, follower = create_autospec(GroupConsumer, instance=True), create_autospec(Follower, instance=True)
    promoted = decision(1, Verdict.PROMOTE, "1", None, window_id=window_id(1))
    entries = {"models.decisions": [encode(promoted)], "windows.closed": [b"hello", encode(window(1))]}
    follower.catch_up.return_value = [
        Record(topic, 0, offset, NOW, None, value, {})
        for topic, values in entries.items()
        for offset, value in enumerate(values)
    ]
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    context = Context(load_settings(home=tmp_path), registry, metrics, Health(metrics), threading.Event())
    notebook = Notebook(tmp_path / NOTEBOOK_FILE, MonitorSettings())
    shadow = create_autospec(ShadowProcess, instance=True)
    monitor = Monitor(context, consumer, follower, notebook, shadow, lambda command: None)
    reign = monitor._lookout.reign
    assert reign is not None
    assert (reign.champion.version, reign.after_offset) == ("1", window(1).last_offset)
    monitor.close()


def test_switched_off_it_needs_nobody() -> None:
    registry, stopping = CollectorRegistry(), threading.Event()
    metrics = ServiceMetrics(registry)
    settings = load_settings(evaluator={"monitor": {"enabled": False}})
    loop = build(Context(settings, registry, metrics, Health(metrics), stopping))
    stopping.set()
    loop.step()
    loop.close()
    assert registry.get_sample_value("tidemill_prequential_rows") is None
