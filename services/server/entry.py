"""`python -m services.server`: one process that serves, or one that keeps several of them."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import closing

from services.server.listening import listen_on
from services.server.worker import Worker
from services.server.workers import Workers
from shared.errors import ConfigurationError, ExitCode
from shared.logs import configure_logging
from shared.processes import die_with_parent
from shared.settings import Settings, load_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until a signal, then exits with the reason's code."""
    try:
        worker = _worker(arguments)
        settings = load_settings()
        configure_logging(settings.service, "server")
        code = _run_worker(settings, worker) if worker else _run(settings)
    except ConfigurationError as error:
        print(f"server: {error}", file=sys.stderr)
        code = error.exit_code
    # Threads that wait for a broker that is gone, or for a hung model, must not keep a stopped server alive.
    sys.stderr.flush()
    os._exit(int(code))


def _run(settings: Settings) -> ExitCode:
    server = settings.server
    listener = listen_on(server.host, server.port, "server.port")
    if server.workers > 1:
        return Workers(server.workers, listener, server.drain_seconds).run()
    with closing(listener):
        from services.server.app import serve  # torch and its kin: seconds and memory that a parent of workers saves

        return serve(settings, [listener], server.replica_id)


def _run_worker(settings: Settings, worker: Worker) -> ExitCode:
    die_with_parent(worker.parent)
    import torch

    from services.server.app import serve

    own_settings = worker.settings(settings, torch.cuda.device_count())
    service = settings.service
    with (
        closing(socket.socket(fileno=worker.listener)) as shared,
        closing(listen_on(service.host, worker.own_port(settings), "service.metrics_port")) as own,
    ):
        return serve(own_settings, [shared, own], settings.server.replica_id)


def _worker(arguments: Sequence[str] | None) -> Worker | None:
    parser = argparse.ArgumentParser(prog="python -m services.server", description=__doc__)
    parser.add_argument("--worker", help="NUMBER/COUNT; with the next two given by the process that starts workers")
    parser.add_argument("--listener", type=int, help="file descriptor of the socket to accept from")
    parser.add_argument("--parent", type=int, help="process that this one ends with")
    options = parser.parse_args(arguments)
    if options.worker is None:
        return None
    number, count = map(int, options.worker.split("/"))
    return Worker(number, count, options.listener, options.parent)
