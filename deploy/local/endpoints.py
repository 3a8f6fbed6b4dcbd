"""Where everything of a local stack is to be found: the one file that the supervisor writes and all commands read."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.local.ports import HOST
from shared.errors import ConfigurationError
from shared.settings import Settings

FILE = "endpoints.json"
SERVER = "server"


class Phase(StrEnum):
    """What a process of the stack is doing."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    BACKING_OFF = "backing off"
    STOPPED = "stopped"


class ProcessState(BaseModel):
    """One process as the supervisor sees it. `detail` says why it is not ready, `restarts` how often it died."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Phase = Phase.WAITING
    pid: int | None = None
    restarts: int = 0
    detail: str = ""

    @property
    def is_up(self) -> bool:
        """Whether those that wait for it may go on."""
        return self.phase in (Phase.READY, Phase.DONE)


class Endpoints(BaseModel):
    """Addresses of the stack's parts, the ports to take again, and each process's state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str
    mlflow_uri: str
    server_url: str
    prometheus_url: str | None
    metrics_ports: Mapping[str, int]
    ports: Mapping[str, int]
    supervisor_pid: int | None = None
    processes: Mapping[str, ProcessState] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Process id by name, of what runs."""
        return {name: state.pid for name, state in self.processes.items() if state.pid is not None}

    @property
    def all_up(self) -> bool:
        """Whether everything that was to be started is ready."""
        return bool(self.processes) and all(state.is_up for state in self.processes.values())

    def metrics_url(self, service: str) -> str:
        """Where a service shows its metrics."""
        return f"{self.metrics_scheme(service)}://{HOST}:{self.metrics_ports[service]}/metrics"

    def metrics_scheme(self, service: str) -> str:
        """Those of the server come from the port that answers predictions, which may speak TLS."""
        return urlsplit(self.server_url).scheme if service == SERVER else "http"

    def write(self, home: Path) -> None:
        """Replaces the file at once: a reader sees the old or the new, never a part."""
        part = home / f"{FILE}.part"
        part.write_text(self.model_dump_json(indent=2))
        part.replace(home / FILE)


def read_endpoints(home: Path) -> Endpoints | None:
    """The stack that last ran, or runs, on this home; None if there has been none.

    Raises:
        ConfigurationError: The file is not one of ours.
    """
    path = home / FILE
    try:
        return Endpoints.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ConfigurationError(f"{path} is damaged; delete it and run 'tidemill up' again: {error}") from error


def with_endpoints(settings: Settings) -> Settings:
    """The settings with the local stack's addresses where no other Kafka or MLflow is set."""
    endpoints = read_endpoints(settings.home)
    if endpoints is None:
        return settings
    kafka, registry = settings.kafka, settings.registry
    if kafka.bootstrap_servers is None:
        kafka = kafka.model_copy(update={"bootstrap_servers": endpoints.bootstrap_servers})
    if registry.tracking_uri is None:
        registry = registry.model_copy(update={"tracking_uri": endpoints.mlflow_uri})
    return settings.model_copy(update={"kafka": kafka, "registry": registry})
