"""What a service says about itself over HTTP: `/metrics`, `/healthz` (alive), `/readyz` (able to work)."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared.errors import ConfigurationError
from shared.metrics import ServiceMetrics

STALLED_SECONDS = 120.0


class Health:
    """Readiness by part and the pulse of each loop. One owner; any thread may ask."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self._metrics, self._lock = metrics, threading.Lock()
        self._not_ready: dict[str, str] = {}
        self._pulses: dict[str, float] = {}

    def begin(self, part: str, reason: str = "starting") -> None:
        """Announces a part that must become ready."""
        with self._lock:
            self._not_ready[part] = reason
            self._pulses[part] = time.monotonic()
            self._metrics.ready.set(0)

    def ready(self, part: str) -> None:
        """The part can do its work."""
        with self._lock:
            self._not_ready.pop(part, None)
            self._metrics.ready.set(0 if self._not_ready else 1)

    def not_ready(self, part: str, reason: str) -> None:
        """The part cannot do its work, and why."""
        with self._lock:
            self._not_ready[part] = reason
            self._metrics.ready.set(0)

    def pulse(self, part: str) -> None:
        """The part's loop has gone round once more."""
        self._pulses[part] = time.monotonic()

    def readiness(self) -> tuple[bool, dict[str, str]]:
        """(ready, reasons by part)."""
        with self._lock:
            return not self._not_ready, dict(self._not_ready)

    def liveness(self) -> tuple[bool, dict[str, str]]:
        """(alive, stalled parts with how long they have been silent)."""
        now = time.monotonic()
        stalled = {
            part: f"silent for {now - at:.0f} s" for part, at in self._pulses.items() if now - at > STALLED_SECONDS
        }
        return not stalled, stalled


class HealthServer:
    """Serves the three pages from a thread of its own until closed."""

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        """Raises ConfigurationError if the port is taken."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif self.path in ("/healthz", "/readyz"):
                    good, reasons = health.liveness() if self.path == "/healthz" else health.readiness()
                    body = json.dumps({"ok": good, "reasons": reasons}).encode()
                    self._answer(200 if good else 503, body, "application/json")
                else:
                    self._answer(404, b'{"ok": false}', "application/json")

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes are not news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigurationError(f"service.metrics_port {port} on {host} cannot be opened: {error}") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
