from pathlib import Path

import yaml

from deploy.local import prometheus
from tests.unit.local.test_endpoints import ENDPOINTS

TEXT = """
global: {scrape_interval: 5s}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: elsewhere
    static_configs: [{targets: ["example:9"]}]
"""


def test_the_stacks_services_are_scraped_with_the_projects_rules() -> None:
    configuration = yaml.safe_load(prometheus.configure(TEXT, ENDPOINTS))
    assert configuration["global"] == {"scrape_interval": "5s"}
    assert [Path(rule).name for rule in configuration["rule_files"]] == ["alerts.yml"]
    assert all(Path(rule).is_absolute() for rule in configuration["rule_files"])
    assert configuration["scrape_configs"] == [
        {
            "job_name": "tidemill",
            "tls_config": {"insecure_skip_verify": True},
            "static_configs": [{"targets": ["127.0.0.1:4"], "labels": {"service": "ingestor", "__scheme__": "http"}}],
        }
    ]


def test_a_server_with_tls_is_scraped_over_tls() -> None:
    secured = ENDPOINTS.model_copy(update={"server_url": "https://127.0.0.1:3", "metrics_ports": {"server": 3}})
    (job,) = yaml.safe_load(prometheus.configure(TEXT, secured))["scrape_configs"]
    assert job["static_configs"][0]["labels"]["__scheme__"] == "https"
    assert secured.metrics_url("server") == "https://127.0.0.1:3/metrics"
