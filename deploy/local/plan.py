"""What a local stack consists of, as data: processes, their order, their addresses."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.local import mlflow_server, ports, prometheus
from deploy.local.broker import BrokerLayout
from deploy.local.endpoints import SERVER, Endpoints, read_endpoints
from deploy.local.ports import HOST
from deploy.local.process import PYTHON_MODULE
from deploy.local.specs import ProcessSpec, Stage
from shared.settings import Settings, load_settings

SERVICES = ("ingestor", "retrainer", "evaluator", "server")
METRICS = "{}.metrics"


def plan(home: Path) -> tuple[tuple[ProcessSpec, ...], Endpoints]:
    """The processes and addresses for this home, with the ports of its last run where they are free."""
    settings = load_settings(home=home)
    last = read_endpoints(home)
    chosen = ports.choose(_port_names(), last.ports if last else {})
    endpoints = _endpoints(settings, chosen)
    return tuple(_specs(settings, home, endpoints)), endpoints


def _port_names() -> list[str]:
    metrics = (METRICS.format(name) for name in SERVICES if name != SERVER)
    return ["kafka", "kafka.controller", "mlflow", SERVER, "prometheus", *metrics]


def _endpoints(settings: Settings, chosen: Mapping[str, int]) -> Endpoints:
    # Only a port that somebody asked for is kept to when it is taken: the server then says so.
    server = settings.server.port if settings.server.port and "port" in settings.server.model_fields_set else 0
    metrics_ports = {name: chosen[METRICS.format(name)] for name in SERVICES if name != SERVER}
    return Endpoints(
        bootstrap_servers=settings.kafka.bootstrap_servers or f"{HOST}:{chosen['kafka']}",
        mlflow_uri=settings.registry.tracking_uri or f"http://{HOST}:{chosen['mlflow']}",
        server_url=f"{settings.server.scheme}://{HOST}:{server or chosen['server']}",
        prometheus_url=f"http://{HOST}:{chosen['prometheus']}" if prometheus.binary() else None,
        metrics_ports=metrics_ports | {SERVER: server or chosen[SERVER]},
        ports=chosen,
    )


def _specs(settings: Settings, home: Path, endpoints: Endpoints) -> Iterator[ProcessSpec]:
    env = _service_environment(home, endpoints)
    if settings.kafka.bootstrap_servers is None:
        yield _broker(home, endpoints)
    if settings.registry.tracking_uri is None:
        yield _mlflow(home, endpoints)
    kafka = () if settings.kafka.bootstrap_servers else ("kafka",)
    registry = () if settings.registry.tracking_uri else ("mlflow",)
    yield ProcessSpec("topics", (*PYTHON_MODULE, "deploy.local.topics"), None, env, kafka)
    for name in SERVICES:
        after = ("topics",) if name == "ingestor" else ("topics", *registry)
        yield _service(name, env, after, endpoints, _ready_url(name, settings, endpoints))
    if endpoints.prometheus_url:
        yield prometheus.spec(home / "prometheus", endpoints)


def _broker(home: Path, endpoints: Endpoints) -> ProcessSpec:
    layout = BrokerLayout(home / "kafka", endpoints.ports["kafka"], endpoints.ports["kafka.controller"])
    ready_url = f"tcp://{endpoints.bootstrap_servers}"
    return ProcessSpec("kafka", tuple(layout.command()), ready_url, stage=Stage.BROKER, prepare=layout.prepare)


def _mlflow(home: Path, endpoints: Endpoints) -> ProcessSpec:
    argv = tuple(mlflow_server.command(home / "mlflow", endpoints.ports["mlflow"]))
    return ProcessSpec("mlflow", argv, f"{endpoints.mlflow_uri}/health", stage=Stage.REGISTRY)


def _service(
    name: str, env: Mapping[str, str], after: tuple[str, ...], endpoints: Endpoints, ready_url: str
) -> ProcessSpec:
    port = endpoints.metrics_ports[name]
    argv = (*PYTHON_MODULE, f"services.{name}")
    return ProcessSpec(name, argv, ready_url, {**env, "TIDEMILL_SERVICE__METRICS_PORT": str(port)}, after)


def _ready_url(name: str, settings: Settings, endpoints: Endpoints) -> str:
    port = endpoints.metrics_ports[name]
    if name != SERVER:
        return f"http://{HOST}:{port}/readyz"
    if settings.server.tls_client_ca is not None:
        return f"tcp://{HOST}:{port}"  # it answers nobody without a certificate
    # The server is ready for requests only with its first champion, which nobody would wait for.
    return f"{endpoints.server_url}/healthz"


def _service_environment(home: Path, endpoints: Endpoints) -> Mapping[str, str]:
    return {
        "TIDEMILL_HOME": str(home),
        "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": endpoints.bootstrap_servers,
        "TIDEMILL_REGISTRY__TRACKING_URI": endpoints.mlflow_uri,
        "TIDEMILL_SERVER__PORT": endpoints.server_url.rpartition(":")[2],
    }
