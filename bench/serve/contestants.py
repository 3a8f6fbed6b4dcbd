"""Who answers: how each server is installed, started, asked and read."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from bench.serve import peers
from bench.serve.client import HOST, render
from bench.serve.peers import Package
from bench.serve.processes import end_family
from bench.serve.servers.model import ServerOptions
from bench.serve.tidemill import Planned, Stack, device_variables, plan_at_once_variables
from deploy.local import ports, process
from shared.archive import WindowRow
from shared.classifier.mlflow_format import save_for_mlflow
from shared.errors import UnreachableError
from shared.plan_settings import AUTO

START_SECONDS = 120.0
ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_HEADER = "X-Request-Timeout"
OURS, NAIVE = "tidemill", "naive"


@dataclass(frozen=True)
class Running:
    """A server that answers. `pid`: it and all below it; `beside`: what it needs and has not started.

    `planned`: by which plan, of a server that has plans.
    """

    port: int
    pid: int
    beside: tuple[int, ...] = ()
    planned: Planned | None = None


@dataclass(frozen=True)
class Workplace:
    """What a contestant may use. `folder` is its own; `rows`, `plan`: the model's window and ours' setting of plans."""

    folder: Path
    options: ServerOptions
    rows: Sequence[WindowRow] = ()
    plan: str = AUTO


Start = Callable[[Workplace], AbstractContextManager[Running]]


@dataclass(frozen=True)
class Contestant:
    """One server and its protocol.

    Attributes:
        path: where it is asked. question: a text as its JSON body has it. read: label and score out of its answer.
        package: what has to be installed first; None: the project has it.
    """

    name: str
    what: str
    start: Start
    path: str
    question: Callable[[str], object]
    read: Callable[[Any], tuple[str, float]]
    package: Package | None = None

    def request(self, text: str, deadline_seconds: float | None = None) -> str:
        """A whole HTTP request for one text."""
        headers = f"{TIMEOUT_HEADER}: {deadline_seconds:g}\r\n" if deadline_seconds else ""
        return render(self.path, json.dumps(self.question(text)).encode(), headers)

    def install(self, *, may_download: bool) -> None:
        """Raises NotInstalledError if it is not there and could not be fetched."""
        if self.package is not None:
            peers.install(self.package, may_download=may_download)


def thread_variables(threads: int) -> dict[str, str]:
    """The same bound for everyone, no line of log for each request, and nobody asks the network."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    return {name: str(threads) for name in names} | {
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
        "UVICORN_ACCESS_LOG": "false",
    }


IsReady = Callable[[httpx.Response], bool]


def _is_up(answer: httpx.Response) -> bool:
    """Anything that is not an error of the server: some have no page for this."""
    return not answer.is_server_error


@contextmanager
def tidemill(place: Workplace) -> Iterator[Running]:
    """The real server in its normal state: a promoted version under its plan, with Kafka and MLflow at hand."""
    threads = place.options.threads
    variables = thread_variables(threads) | plan_at_once_variables(place.plan) | device_variables(place.options.device)
    with Stack(place.folder, variables, threads) as stack:
        stack.promote(stack.register(place.options.files, place.rows))
        with stack.serve() as server:
            yield Running(server.port, server.pid, stack.pids, server.planned(place.plan))


def with_mlflow(place: Workplace) -> AbstractContextManager[Running]:
    """MLflow's own scoring server, in this environment."""
    model = place.folder / "model"
    save_for_mlflow(place.options.files, model)
    arguments = ("models", "serve", "--env-manager", "local", "--host", HOST, "--port", str(place.options.port))
    argv = [sys.executable, "-m", "mlflow", *arguments, "--model-uri", str(model)]
    return _started(place, argv, "/ping")


def _module(name: str, python: Path | str = sys.executable) -> Start:
    return lambda place: _started(place, [str(python), "-P", "-m", f"bench.serve.servers.{name}"])


def _ray(place: Workplace) -> AbstractContextManager[Running]:
    """It listens before it has anything to answer with, and says when it has."""
    argv = [str(peers.RAY.python), "-P", "-m", "bench.serve.servers.ray_server"]
    return _started(place, argv, "/-/routes", lambda answer: answer.is_success and bool(answer.json()))


def _bentoml(place: Workplace) -> AbstractContextManager[Running]:
    service = "bench.serve.servers.bentoml_server:Texts"
    listening = ("--host", HOST, "--port", str(place.options.port), "--working-dir", str(ROOT))
    return _started(place, [str(peers.BENTOML.python), "-m", "bentoml", "serve", service, *listening], "/readyz")


@contextmanager
def _started(place: Workplace, argv: list[str], ready_path: str = "/", is_ready: IsReady = _is_up) -> Iterator[Running]:
    """A server process until the block ends."""
    options = place.options
    variables = {
        **thread_variables(options.threads),
        "MLFLOW_DEFAULT_PREDICTION_DEVICE": "0" if options.on_gpu else "-1",
        **options.variables(),
        "PYTHONPATH": str(ROOT),
        # Some start others by name.
        "PATH": f"{Path(argv[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    log = place.folder / "server.log"
    with log.open("wb") as output:
        running = process.spawn(argv, output, variables)
    try:
        process.wait_ready(
            running, lambda: _answers(options.port, ready_path, is_ready), START_SECONDS, f"it (log in {log})"
        )
        yield Running(options.port, running.pid)
    except UnreachableError as error:
        raise UnreachableError(f"{error}: {log.read_text(errors='replace')[-400:]}") from error
    finally:
        end_family(running.pid)


def _answers(port: int, path: str, is_ready: IsReady) -> bool:
    try:
        return is_ready(httpx.get(f"http://{HOST}:{port}{path}", timeout=2))
    except httpx.TransportError:
        return False


def _single(text: str) -> object:
    return {"text": text}


def _label_and_score(answer: Mapping[str, Any]) -> tuple[str, float]:
    return answer["label"], float(answer["score"])


CONTESTANTS = (
    Contestant(
        NAIVE,
        "transformers.pipeline in FastAPI",
        _module("naive_server"),
        "/predict",
        _single,
        _label_and_score,
    ),
    Contestant(
        "mlflow",
        "mlflow models serve",
        with_mlflow,
        "/invocations",
        lambda text: {"inputs": [text]},
        lambda answer: _label_and_score(answer["predictions"][0]),
    ),
    Contestant(
        "litserve",
        "LitServe, batching",
        _module("litserve_server", peers.LITSERVE.python),
        "/predict",
        _single,
        _label_and_score,
        peers.LITSERVE,
    ),
    Contestant(
        "bentoml",
        "BentoML, adaptive batching",
        _bentoml,
        "/predict",
        lambda text: {"texts": [text]},
        lambda answer: _label_and_score(answer[0]),
        peers.BENTOML,
    ),
    Contestant(
        "ray",
        "Ray Serve, dynamic batching",
        _ray,
        "/",
        _single,
        _label_and_score,
        peers.RAY,
    ),
    Contestant(
        OURS,
        "Tidemill's server",
        tidemill,
        "/v1/predict",
        _single,
        lambda answer: _label_and_score(answer["predictions"][0]),
    ),
)


def free_port(options: ServerOptions) -> ServerOptions:
    """The same options with a port that nobody has."""
    return replace(options, port=ports.choose(("port",), {})["port"])


def chosen(names: str | None) -> list[Contestant]:
    """Those named, separated by commas, in the bench's order; None: all.

    Raises:
        SystemExit: One of them is unknown.
    """
    if names is None:
        return list(CONTESTANTS)
    wanted = set(names.split(","))
    if unknown := wanted - {each.name for each in CONTESTANTS}:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(e.name for e in CONTESTANTS)}")
    return [each for each in CONTESTANTS if each.name in wanted]
