"""One embedded Apache Kafka broker: KRaft, on disk, on this machine only."""

import base64
import subprocess
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template

from deploy.local import java, ports, process
from shared.errors import ConfigurationError

TEMPLATE = Path(__file__).with_name("server.properties")
FORMAT_SECONDS = 120
READY_SECONDS = 60.0


@dataclass(frozen=True)
class BrokerLayout:
    """Where a broker keeps its files and listens. `home` belongs to it alone."""

    home: Path
    port: int
    controller_port: int

    @property
    def data(self) -> Path:
        """Topics, offsets, transactions and metadata."""
        return self.home / "data"

    @property
    def properties(self) -> Path:
        """The broker's configuration, written anew at each start."""
        return self.home / "server.properties"

    def command(self, training: Path | None = None) -> list[str]:
        """What runs the broker in the foreground."""
        return java.command("kafka.Kafka", self.properties, logs=self.home, training=training)

    def prepare(self) -> None:
        """Writes the configuration and, the first time, formats the data folder.

        Raises:
            ConfigurationError: Kafka would not format it.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self._configure(self.properties, self.data)
        if not self.data.exists():
            self._format()

    def _configure(self, target: Path, data: Path) -> None:
        values = {"port": self.port, "controller_port": self.controller_port, "data": data}
        target.write_text(Template(TEMPLATE.read_text()).substitute(values))

    def _format(self) -> None:
        """Formats aside and renames, so that a kill in between leaves nothing half made."""
        fresh = self.home / f"data.{uuid.uuid4().hex}"
        properties = self.home / "format.properties"
        self._configure(properties, fresh)
        command = java.command(
            "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", properties, logs=self.home
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
        if done.returncode:
            raise ConfigurationError(f"Kafka cannot format {self.data}: {(done.stderr or done.stdout).strip()}")
        fresh.rename(self.data)


class Broker(process.Held):
    """A broker held by this process, which keeps its address over restarts.

    >>> with Broker(tmp_path) as broker:                                      # doctest: +SKIP
    ...     KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        super().__init__()
        chosen = ports.choose(("port", "controller_port"), {"port": port} if port else {})
        self.layout = BrokerLayout(home, **chosen)

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients; the same after each restart."""
        return f"{ports.HOST}:{self.layout.port}"

    def start(self, training: Path | None = None) -> None:
        """Starts it and returns once clients can connect.

        Raises:
            UnreachableError: It ended, or was not ready within a minute.
        """
        self.layout.prepare()
        with (self.layout.home / "broker.log").open("ab") as log:
            self._process = process.spawn(self.layout.command(training), log)
        # The port opens only once the broker is recovered and unfenced, so a connection means ready.
        ready = partial(ports.is_open, self.layout.port)
        process.wait_ready(self._process, ready, READY_SECONDS, f"the broker (log in {self.layout.home})")


def _cluster_id() -> str:
    """A random id. Kafka's own tool takes one that begins with a dash for an option."""
    while (drawn := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return drawn
