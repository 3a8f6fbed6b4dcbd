"""What one of several server processes on a machine is told: who it is, and its share of the machine."""

import os
from dataclasses import dataclass

from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Worker:
    """One of `count`. It accepts from the socket that all share, and answers operators on a port of its own.

    Attributes:
        listener: File descriptor of the shared socket.
        parent: Process id of who started it and ends with it.
    """

    number: int
    count: int
    listener: int
    parent: int

    def arguments(self) -> list[str]:
        """For the command line of its process."""
        return [f"--worker={self.number}/{self.count}", f"--listener={self.listener}", f"--parent={self.parent}"]

    def own_port(self, settings: Settings) -> int:
        """Where it alone answers; 0 is any free port."""
        first = settings.service.metrics_port
        return first + self.number if first else 0

    def settings(self, settings: Settings, gpus: int) -> Settings:
        """A replica of its own name, with its share of cores and GPUs unless the settings say otherwise."""
        server, model = settings.server, settings.model
        share = {
            "threads": model.threads or max(1, cores() // self.count),
            "device": f"cuda:{self.number % gpus}" if model.device == "auto" and gpus else model.device,
        }
        return settings.model_copy(
            update={
                "server": server.model_copy(update={"replica_id": f"{server.replica_id}.{self.number}"}),
                "model": model.model_copy(update=share),
            }
        )


def cores() -> int:
    """That this process may run on: a container or `taskset` may leave it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
