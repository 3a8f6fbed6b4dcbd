"""`tidemill up`, `down`, `status` and `logs`: the local stack for people."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table

from deploy.local.endpoints import Endpoints, Phase
from deploy.local.stack import Stack
from services.control import history
from services.control.output import cell, console, print_json, show_facts, show_rows
from services.control.servers import behind, replicas
from services.control.session import RefusedError, Session
from shared.errors import TidemillError
from shared.events import utc_now

LOOK_SECONDS = 0.2
COLOURS = {Phase.READY: "green", Phase.DONE: "green", Phase.BACKING_OFF: "red", Phase.STOPPED: "red"}


def up(session: Session) -> Endpoints:
    """Starts the stack, showing each process until it is ready."""
    stack = Stack(session.local.home)
    with Live(console=console, refresh_per_second=8) as live:
        endpoints = stack.up(on_change=lambda state: live.update(process_table(state)), env=_environment(session))
        live.update(process_table(endpoints))
    console.print()
    show_facts("Addresses", addresses(endpoints), as_json=False)
    return endpoints


def _environment(session: Session) -> dict[str, str]:
    """A prefix given on the command line is the services' prefix too."""
    return {} if session.prefix is None else {"TIDEMILL_STREAM__PREFIX": session.prefix}


def addresses(endpoints: Endpoints) -> dict[str, str | None]:
    """Where to publish, look and ask."""
    found = {
        "publish": f"Kafka {endpoints.bootstrap_servers}, topic reviews.labeled",
        "predict": f"{endpoints.server_url}/v1/predict",
        "documentation": f"{endpoints.server_url}/docs",
        "models": endpoints.mlflow_uri,
        "prometheus": endpoints.prometheus_url,
    }
    metrics = {
        f"metrics of the {name}": endpoints.metrics_url(name) for name in endpoints.metrics_ports if name != "server"
    }
    return {name: url for name, url in (found | metrics).items() if url}


def process_table(endpoints: Endpoints, memory: dict[str, float] | None = None) -> Table:
    """Each process with its state, and its memory if known."""
    table = Table(title="Processes", title_justify="left")
    for column in ("process", "state", "pid", "restarts", "memory MiB", "detail"):
        table.add_column(column)
    for name, state in endpoints.processes.items():
        colour = COLOURS.get(state.phase, "yellow")
        mib = f"{memory[name]:.0f}" if memory and name in memory else ""
        table.add_row(
            name, f"[{colour}]{state.phase.value}", cell(state.pid), cell(state.restarts), mib, cell(state.detail[:80])
        )
    return table


def down(session: Session) -> None:
    """Stops the stack."""
    stack = Stack(session.local.home)
    was_running = stack.is_running
    with console.status("draining and stopping…"):
        stack.down()
    console.print("Stopped; data stays in " + str(stack.home) if was_running else "No stack was running.")


def status(session: Session, as_json: bool) -> bool:
    """Processes, addresses, the model in service and who serves it. Returns whether all servers follow the ledger.

    Without a local stack, where Kafka's address is configured: the model and its servers.
    """
    stack, is_configured = Stack(session.local.home), session.local.kafka.bootstrap_servers is not None
    local = _local(stack) if stack.is_running or not is_configured else None
    model = _model(session)
    if as_json:
        print_json(({} if local is None else local.facts()) | {"model": model})
    else:
        if local is not None:
            local.show()
        show_facts("Model", {name: value for name, value in model.items() if name != "servers"}, as_json=False)
        show_rows("servers", model.get("servers", ()), as_json=False)
    return not model.get("behind")


@dataclass(frozen=True)
class _Local:
    """The local stack as it is now."""

    home: Path
    endpoints: Endpoints
    memory: dict[str, float]

    def facts(self) -> dict[str, Any]:
        return {
            "home": str(self.home),
            "processes": {name: state.model_dump(mode="json") for name, state in self.endpoints.processes.items()},
            "memory_mib": self.memory,
            "addresses": addresses(self.endpoints),
        }

    def show(self) -> None:
        console.print(process_table(self.endpoints, self.memory))
        console.print(f"Memory in all: {sum(self.memory.values()):.0f} MiB")
        show_facts("Addresses", addresses(self.endpoints), as_json=False)


def _local(stack: Stack) -> _Local:
    return _Local(stack.home, stack.endpoints(), stack.memory_mib())


def _model(session: Session) -> dict[str, Any]:
    """The champion by the ledger and what each server says; a part that does not answer says so."""
    try:
        ledger, states = history.decisions(session.settings), history.servers(session.settings)
    except TidemillError as error:
        return {"champion": None, "problem": str(error)}
    now, bounds = utc_now(), session.settings.server
    found = replicas(states, bounds.silent_seconds, now)
    return {
        "champion": history.champion(ledger),
        "decisions": len(ledger),
        "behind": behind(found, ledger, bounds.late_seconds, now),
        "servers": [replica.row() for replica in found],
    }


def logs(session: Session, name: str, follow: bool, lines: int) -> None:
    """Prints the end of a log, and what comes if `follow`.

    Raises:
        RefusedError: There is no such log.
    """
    stack = Stack(session.local.home)
    path = stack.log(name)
    if not path.is_file():
        known = sorted(log.stem for log in path.parent.glob("*.log"))
        raise RefusedError(f"there is no log of {name!r} below {path.parent}; there are: {', '.join(known) or 'none'}")
    for line in _lines(path, lines, follow):
        console.print(line, end="", markup=False, highlight=False, soft_wrap=True)


def _lines(path: Path, lines: int, follow: bool) -> Iterator[str]:
    """The end of a log; if `follow`, for ever what comes, from the beginning again where the log is begun anew."""
    with path.open("rb") as log:
        past = log.readlines()
        yield from map(_text, past[len(past) - min(lines, len(past)) :])
        while follow:
            if line := log.readline():
                yield _text(line)
                continue
            if path.stat().st_size < log.tell():
                log.seek(0)
            time.sleep(LOOK_SECONDS)


def _text(line: bytes) -> str:
    return line.decode(errors="replace")
