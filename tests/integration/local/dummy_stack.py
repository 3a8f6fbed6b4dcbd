"""A supervisor of dummies. `DUMMIES` holds {name: extra arguments} as JSON; each starts after the one before it."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.local import ports
from deploy.local.endpoints import Endpoints, read_endpoints
from deploy.local.specs import ProcessSpec, Stage
from deploy.local.supervisor import serve

STAGES = {"broker": Stage.BROKER, "registry": Stage.REGISTRY}


def plan(home: Path) -> tuple[list[ProcessSpec], Endpoints]:
    dummies = json.loads(os.environ["DUMMIES"])
    last = read_endpoints(home)
    chosen = ports.choose(dummies, last.ports if last else {})
    endpoints = Endpoints(
        bootstrap_servers="", mlflow_uri="", server_url="", prometheus_url=None, metrics_ports={}, ports=chosen
    )
    return list(specs(home, dummies, chosen)), endpoints


def specs(home: Path, dummies: Mapping[str, list[str]], chosen: Mapping[str, int]) -> Iterator[ProcessSpec]:
    after: tuple[str, ...] = ()
    for name, extra in dummies.items():
        once = "--once" in extra
        listen = () if once else ("--port", str(chosen[name]))
        argv = (sys.executable, "-m", "tests.integration.local.dummy", "--name", name, "--diary", str(home / "diary"))
        options = (*listen, *(item for item in extra if item != "--once"))
        url = None if once else f"http://127.0.0.1:{chosen[name]}/"
        yield ProcessSpec(name, (*argv, *options), url, after=after, stage=STAGES.get(name, Stage.SERVICES))
        after = (name,)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args().home
    serve(home, lambda: plan(home))


if __name__ == "__main__":
    main()
