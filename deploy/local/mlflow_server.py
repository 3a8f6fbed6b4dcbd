"""The MLflow tracking server and model registry: SQLite, artifacts served by it, one process.

`python -m deploy.local.mlflow_server --home H --port P` runs the same application with the same options as
`mlflow server --backend-store-uri sqlite:///… --artifacts-destination … --workers 1` does. That command keeps a second
process that has imported all of MLflow too, 220 MB, only to wait for the first, and which, killed, leaves it behind.
"""

import argparse
import os
from pathlib import Path

from deploy.local import ports, probes, process
from deploy.local.ports import HOST

READY_SECONDS = 120.0

# What `mlflow server` gives its worker, and its optional parts switched off.
ENVIRONMENT = {
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    "_MLFLOW_SGI_NAME": "uvicorn",
    "_MLFLOW_IN_JOB_EXECUTOR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_SYSTEM_METRICS": "true",
    # Buffers of finished requests go back to the system: 30 threads would otherwise keep an arena each.
    "MALLOC_ARENA_MAX": "2",
}


def command(home: Path, port: int) -> list[str]:
    """What runs the server in the foreground. `home` belongs to it alone."""
    return [*process.PYTHON_MODULE, "deploy.local.mlflow_server", "--home", str(home), "--port", str(port)]


def environment(home: Path) -> dict[str, str]:
    """Where the server keeps its tables and files, and what it does without."""
    store = f"sqlite:///{home.resolve() / 'mlflow.db'}"
    return {
        **ENVIRONMENT,
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(home.resolve() / "artifacts"),
    }


class MlflowServer(process.Held):
    """A server held by this process, which keeps its address over restarts."""

    def __init__(self, home: Path, port: int | None = None) -> None:
        super().__init__()
        self.home = home
        self.port = ports.choose(("port",), {"port": port} if port else {})["port"]

    @property
    def uri(self) -> str:
        """The address for clients; the same after each restart."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Starts it and returns once it answers.

        Raises:
            UnreachableError: It ended, or did not answer within two minutes.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "mlflow.log").open("ab") as log:
            self._process = process.spawn(command(self.home, self.port), log)
        where = f"MLflow (log in {self.home})"
        process.wait_ready(self._process, lambda: probes.answers(f"{self.uri}/health")[0], READY_SECONDS, where)


def main() -> None:
    """Creates or migrates the tables, then serves until SIGTERM."""
    arguments = _arguments()
    arguments.home.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(arguments.home))
    import uvicorn  # after the environment: MLflow reads it while it is imported
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    # Before the first request: two of them at once would both create the tables.
    initialize_backend_stores()
    uvicorn.run(app, host=HOST, port=arguments.port, log_level="warning", access_log=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy.local.mlflow_server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder for tables and artifacts")
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
