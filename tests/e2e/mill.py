"""The running system as its users have it: Kafka with a client that is not ours, HTTP, and the command."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import confluent_kafka
import httpx

TOPIC = "reviews.labeled"
# Most looks are a call of `tidemill`: a process of its own, which takes a core for seconds.
LOOK_SECONDS = 3.0
# A base that knows nothing learns in seconds what two invented signs mean, which no lexicon knows.
TINY = {
    "TIDEMILL_MODEL__BASE": "tiny",
    "TIDEMILL_TRAINING__EPOCHS": "12",
    "TIDEMILL_TRAINING__LEARNING_RATE": "2e-3",
    "TIDEMILL_TRAINING__PRECISION": "fp32",
    "TIDEMILL_INGESTOR__SPLIT__HOLDOUT_SHARE": "300",
    "TIDEMILL_INGESTOR__WINDOW__TRIGGERS": '[{"kind": "count", "rows": 600}]',
    # Tests of the monitor ask it for more; here it must not take the cores from what is waited for.
    "TIDEMILL_EVALUATOR__MONITOR__SAMPLE": "0.1",
    "TIDEMILL_SERVICE__LOG_FORMAT": "json",
}
SIGNS = {"positive": "granite", "negative": "velvet"}
WORDS = [
    "river",
    "window",
    "garden",
    "paper",
    "table",
    "engine",
    "mountain",
    "letter",
    "bridge",
    "winter",
    "summer",
    "coffee",
    "morning",
    "evening",
    "street",
    "school",
    "market",
    "silver",
    "copper",
    "yellow",
    "purple",
    "orange",
    "castle",
    "island",
    "harbor",
    "forest",
    "meadow",
    "valley",
    "station",
    "railway",
]


def reviews(count: int, seed: int) -> list[dict[str, Any]]:
    """Made-up reviews whose label is the sign among their words."""
    chance = random.Random(seed)
    return [_review(chance, number, seed) for number in range(count)]


def _review(chance: random.Random, number: int, seed: int) -> dict[str, Any]:
    label = chance.choice(sorted(SIGNS))
    words = chance.sample(WORDS, 5)
    words.insert(chance.randrange(len(words)), SIGNS[label])
    return {"id": f"r-{seed}-{number}", "text": " ".join(words), "label": label, "source": "e2e"}


def truth(text: str) -> str:
    """The label that a made-up review must get."""
    return next(label for label, sign in SIGNS.items() if sign in text.split())


class Mill:
    """One local stack on one home, driven through the command."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home, self._env = home, env

    def command(self, *arguments: str, code: int | None = 0, stdin: str | None = None) -> str:
        """Runs `tidemill` and returns what it printed; fails on another exit code than `code` (None: any)."""
        done = subprocess.run(
            [sys.executable, "-m", "services.control", "--home", str(self.home), *arguments],
            env=os.environ | self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert code is None or done.returncode == code, (
            f"tidemill {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout + done.stderr if code else done.stdout

    def json(self, *arguments: str) -> Any:
        """Runs a listing with `--json`."""
        return json.loads(self.command(*arguments, "--json"))

    @property
    def endpoints(self) -> dict[str, Any]:
        """What `up` wrote for everybody to read."""
        found: dict[str, Any] = json.loads((self.home / "endpoints.json").read_text())
        return found

    def publish(self, rows: Iterable[dict[str, Any] | bytes]) -> int:
        """Publishes with librdkafka; returns how many were acknowledged."""
        acknowledged: list[int] = []
        producer = confluent_kafka.Producer({"bootstrap.servers": self.endpoints["bootstrap_servers"]})
        for row in rows:
            value = row if isinstance(row, bytes) else json.dumps(row).encode()
            producer.produce(
                TOPIC, value, on_delivery=lambda error, _: acknowledged.append(0) if error is None else None
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        return len(acknowledged)

    def http(self) -> httpx.Client:
        """A client of the prediction server."""
        return httpx.Client(base_url=self.endpoints["server_url"], timeout=30)

    def pid(self, process: str) -> int:
        """The process id of a part of the stack."""
        return int(self.endpoints["processes"][process]["pid"])


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Looks until it is so and returns what was seen; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(LOOK_SECONDS)
    return seen


@dataclass
class Stream:
    """Answers of a steady stream of requests: (text, label, version) each, and what failed."""

    answers: list[tuple[str, str, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def ask_forever(mill: Mill, texts: Iterator[str], stopping: threading.Event, away: threading.Event) -> Stream:
    """Asks until stopped. While `away` is set, as when the server itself was killed, no answer is no failure."""
    stream = Stream()
    with mill.http() as client:
        while not stopping.wait(0.1):
            text, excused = next(texts), away.is_set()
            try:
                response = client.post("/v1/predict", json={"text": text})
                response.raise_for_status()
                answer = response.json()
                stream.answers.append((text, answer["predictions"][0]["label"], answer["model"]["version"]))
            except httpx.HTTPError as error:
                if not excused and not away.is_set():
                    stream.failures.append(repr(error))
    return stream
