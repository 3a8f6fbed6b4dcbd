"""Prometheus beside the stack, where its binary is installed."""

import shutil
from pathlib import Path

import yaml

from deploy.local.endpoints import Endpoints
from deploy.local.ports import HOST
from deploy.local.specs import ProcessSpec

CONFIGURATION = Path(__file__).resolve().parents[1] / "prometheus" / "prometheus.yml"


def binary() -> str | None:
    """The installed program, if there is one."""
    return shutil.which("prometheus")


def spec(home: Path, endpoints: Endpoints) -> ProcessSpec:
    """Prometheus with the project's rules and this stack's addresses. `home` belongs to it alone."""
    configuration = home / "prometheus.yml"
    port = endpoints.ports["prometheus"]
    argv = (
        binary() or "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={home / 'data'}",
        "--storage.tsdb.retention.time=15d",
        f"--web.listen-address={HOST}:{port}",
    )

    def prepare() -> None:
        home.mkdir(parents=True, exist_ok=True)
        configuration.write_text(configure(CONFIGURATION.read_text(), endpoints))

    return ProcessSpec("prometheus", argv, f"http://{HOST}:{port}/-/ready", prepare=prepare)


def configure(text: str, endpoints: Endpoints) -> str:
    """The project's configuration with its scrape jobs replaced by this stack's actual addresses.

    Rule files are named in full, since the text moves to another folder.
    """
    configuration = yaml.safe_load(text)
    rules = configuration.get("rule_files", [])
    configuration["rule_files"] = [str(CONFIGURATION.parent / rule) for rule in rules]
    targets = [
        {
            "targets": [f"{HOST}:{port}"],
            "labels": {"service": name, "__scheme__": endpoints.metrics_scheme(name)},
        }
        for name, port in endpoints.metrics_ports.items()
    ]
    # On this machine the certificate proves nothing; it may name the machine as others know it.
    job = {"job_name": "tidemill", "tls_config": {"insecure_skip_verify": True}, "static_configs": targets}
    configuration["scrape_configs"] = [job]
    return yaml.safe_dump(configuration, sort_keys=False)
