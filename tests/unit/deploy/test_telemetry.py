"""Alert rules and the dashboard speak of metrics that exist, and promtool accepts the rules where it is installed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from shared import metrics

DEPLOY = Path(__file__).parents[3] / "deploy"
GROUPS = (
    metrics.ServiceMetrics,
    metrics.IngestorMetrics,
    metrics.RetrainerMetrics,
    metrics.EvaluatorMetrics,
    metrics.BasesMetrics,
    metrics.MonitorMetrics,
    metrics.ServerMetrics,
)


def declared() -> set[str]:
    """Every series name that Prometheus may see."""
    registry = CollectorRegistry()
    for group in GROUPS:
        group(registry)
    names: set[str] = set()
    for family in registry.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + ending for ending in endings}
    return names


def used(text: str) -> set[str]:
    return set(re.findall(r"\btidemill_[a-z_]+", text))


def alerts() -> list[dict[str, object]]:
    return [
        rule
        for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]


def test_alerts_ask_for_declared_metrics_only() -> None:
    expressions = " ".join(str(rule["expr"]) for rule in alerts())
    assert used(expressions)
    assert used(expressions) <= declared()


def test_every_alert_says_what_to_do() -> None:
    assert all({"summary", "action"} <= set(rule["annotations"]) for rule in alerts())  # type: ignore[call-overload]


def test_the_dashboard_asks_for_declared_metrics_only() -> None:
    dashboard = json.loads((DEPLOY / "grafana/tidemill.json").read_text())
    expressions = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert used(expressions)
    assert used(expressions) <= declared()


def test_every_metric_has_the_prefix_and_a_help_text() -> None:
    registry = CollectorRegistry()
    for group in GROUPS:
        group(registry)
    for family in registry.collect():
        assert family.name.startswith("tidemill_")
        assert len(family.documentation) > 10


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_configuration() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", str(DEPLOY / "prometheus/prometheus.yml")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
