"""Every phase of a swap is seen from outside while it lasts: on `/v1/model`, on `/readyz` and in the metrics."""

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.server.api.application import build_api
from services.server.api.parts import Parts
from services.server.engine import Engine
from shared.events import ServerPhase, ServerState
from shared.settings import load_settings
from tests.unit.server.api_client import FakeFeedback
from tests.unit.server.test_follower import Story

PHASES = [phase.value for phase in ServerPhase]


@dataclass(frozen=True)
class Seen:
    """What a client was told at one moment."""

    model: dict[str, Any]
    ready: dict[str, Any]
    metric: list[str]


class Observed:
    """A story whose every change of phase is looked at over HTTP before the story goes on."""

    def __init__(self, story: Story) -> None:
        self.seen: list[Seen] = []
        self.story, bench = story, story.bench
        self._collector = bench.collector
        bench.watch = self._look
        settings = load_settings()
        engine = Engine(settings, bench.stage.slots, bench.metrics)
        parts = Parts(
            settings,
            engine,
            FakeFeedback(),
            bench.status,
            bench.health,
            bench.metrics,
            bench.collector,
            threading.Event(),
        )
        self._transport = httpx.ASGITransport(build_api(parts))

    def _look(self, state: ServerState) -> None:
        self.seen.append(asyncio.run(self._asked()))

    async def _asked(self) -> Seen:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://server") as client:
            model, ready = await client.get("/v1/model"), await client.get("/readyz")
        return Seen(model.json(), ready.json(), [phase for phase in PHASES if self._gauge(phase)])

    def _gauge(self, phase: str) -> float | None:
        return self._collector.get_sample_value("tidemill_server_phase_info", {"phase": phase})

    def phases(self) -> list[tuple[str, str | None]]:
        """Phase and target as `/v1/model` told them, repetitions apart; metrics and `/readyz` said the same."""
        for each in self.seen:
            assert [each.model["phase"]] == [each.ready["phase"]] == each.metric
        told = [(each.model["phase"], each.model["target"]) for each in self.seen]
        return [now for before, now in zip([None, *told], told, strict=False) if now != before]


@pytest.fixture
def observed(tmp_path: Path) -> Observed:
    story = Story(tmp_path)
    story.promote("1", "positive")
    story.follower.step()
    return Observed(story)


def test_a_swap_is_seen_in_every_phase(observed: Observed) -> None:
    observed.story.promote("2", "negative")
    observed.story.follower.step()
    assert observed.phases() == [
        ("serving", None),
        ("downloading", "2"),
        ("verifying", "2"),
        ("loading", "2"),
        ("warming", "2"),
        ("draining", "1"),
        ("serving", None),
    ]


def test_until_the_switch_the_old_version_is_named_and_then_the_new_one(observed: Observed) -> None:
    observed.story.promote("2", "negative")
    observed.story.follower.step()
    versions = {each.model["phase"]: each.model["version"] for each in observed.seen[1:]}
    assert versions == {
        "downloading": "1",
        "verifying": "1",
        "loading": "1",
        "warming": "1",
        "draining": "2",
        "serving": "2",
    }


def test_a_failure_is_seen_with_its_reason_while_the_old_version_answers(observed: Observed) -> None:
    observed.story.promote("2", "negative")
    observed.story.damage("2")
    observed.story.follower.step()
    assert observed.phases() == [("serving", None), ("downloading", "2"), ("verifying", "2"), ("failed", "2")]
    last = observed.seen[-1]
    assert (last.model["version"], last.ready["ok"]) == ("1", True)
    for told in (last.model, last.ready):
        assert "digest is" in told["reason"]


def test_before_the_first_model_it_waits_and_says_so(tmp_path: Path) -> None:
    story = Story(tmp_path)
    observed = Observed(story)
    story.follower._begin()
    story.follower.step()
    assert [each.metric for each in observed.seen] == [["waiting"]] * len(observed.seen)
    assert observed.seen[-1].ready["reason"] == "no model has been promoted yet"
