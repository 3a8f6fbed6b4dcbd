"""A steady stream of HTTP requests against the server: who answered, when, and whether any answer failed."""

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

PERIOD_SECONDS = 0.5
TIMEOUT_SECONDS = 30.0
REMEMBERED_FAILURES = 20


@dataclass
class Tally:
    """What the stream has seen. Written by its thread only."""

    sent: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    version: str | None = None
    first_answer: dict[str, datetime] = field(default_factory=dict)
    latest: tuple[str, str, float] | None = None


class QueryStream(threading.Thread):
    """Asks one text twice a second from the first time that `/readyz` says yes; then every answer must be 2xx."""

    def __init__(self, client: httpx.Client, texts: Sequence[str]) -> None:
        super().__init__(name="queries", daemon=True)
        self.tally = Tally()
        self._client, self._texts, self._stopping = client, itertools.cycle(texts), threading.Event()

    def run(self) -> None:
        """Waits for the server, then asks until stopped."""
        with self._client as client:
            while not self._stopping.is_set() and not _is_ready(client):
                self._stopping.wait(PERIOD_SECONDS)
            following = time.monotonic()
            while not self._stopping.is_set():
                self._ask(client, next(self._texts))
                following += PERIOD_SECONDS
                self._stopping.wait(max(0.0, following - time.monotonic()))

    def _ask(self, client: httpx.Client, text: str) -> None:
        self.tally.sent += 1
        try:
            response = client.post("/v1/predict", json={"text": text})
            response.raise_for_status()
            self._note(text, response.json())
        except (httpx.HTTPError, ValueError, KeyError) as error:
            self.tally.failed += 1
            self.tally.failures = [*self.tally.failures, f"{type(error).__name__}: {error}"][-REMEMBERED_FAILURES:]

    def _note(self, text: str, answer: Mapping[str, Any]) -> None:
        version, prediction = answer["model"]["version"], answer["predictions"][0]
        self.tally.first_answer.setdefault(version, datetime.now(UTC))
        self.tally.version = version
        self.tally.latest = (text, prediction["label"], float(prediction["score"]))

    def stop(self) -> Tally:
        """Ends the stream and returns the tally."""
        self._stopping.set()
        self.join(TIMEOUT_SECONDS)
        return self.tally


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
