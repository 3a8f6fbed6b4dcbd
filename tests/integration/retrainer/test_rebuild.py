"""An order to rebuild, over a real Kafka and MLflow: one version, without what it leaves out, whatever breaks."""

import json
import os
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.control import history
from services.control.app import app
from services.retrainer.reproduction import reproduce
from shared.events import Candidate, CandidateStatus, ClosedWindow, Verdict
from shared.lineage import Lineage
from shared.rebuilds import rebuild_id
from shared.registry import Registry
from tests.integration.retrainer.stage import Stream, environment, mill, settings_for

pytestmark = pytest.mark.slow
REFUSED = "order-2"


@dataclass(frozen=True)
class Rebuilt:
    """Two windows learned, the second one's model promoted, an order to leave out half of the first, a third window."""

    stream: Stream
    windows: tuple[ClosedWindow, ...]
    shown: dict[str, object]

    @property
    def name(self) -> str:
        return str(self.shown["rebuild"])

    @property
    def candidates(self) -> dict[str, Candidate]:
        return {candidate.window_id: candidate for candidate in self.stream.candidates()}


@pytest.fixture(scope="module")
def rebuilt(broker: Broker, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    home, cache = tmp_path_factory.mktemp("rebuilt"), tmp_path_factory.mktemp("cache")
    addresses = broker.bootstrap_servers, mlflow_server.uri
    stream = Stream(settings_for(*addresses, f"rebuilt-{os.getpid()}", home, cache, start="base", replay_share=0.0))
    first, second = stream.window(), stream.window()
    stream.announce(first, second)
    with mill(stream.settings) as running:
        running.turn(running.published(2))
    champion = stream.candidates()[-1]
    stream.decide(champion, Verdict.PROMOTE)
    shown = tidemill(stream, "rebuild", "--without", "offsets=0-99", "--why", "sold stars", "--who", "ana", "--json")
    (order,) = history.commands(stream.settings)
    stream.order(order, order.model_copy(update={"command_id": REFUSED, "target": "source=nobody"}))
    third = stream.window()
    stream.announce(third)
    return Rebuilt(stream, (first, second, third), shown)


def tidemill(stream: Stream, *arguments: str) -> dict[str, object]:
    """What the command prints as JSON."""
    stack = ["--home", str(stream.settings.home), "--prefix", stream.settings.stream.prefix]
    result = CliRunner().invoke(app, [*stack, *arguments], env=environment(stream.settings), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_the_command_says_what_is_left_out_before_it_orders(rebuilt: Rebuilt) -> None:
    first, second, _ = rebuilt.windows
    left_out = {"train": 70, "validation": 10, "calibration": 10, "holdout": 10}
    assert (rebuilt.shown["of"], rebuilt.shown["without"]) == (
        rebuilt.candidates[second.window_id].version,
        ["offsets=0-99"],
    )
    assert rebuilt.shown["windows"] == [
        {"window": first.window_id, "learned": 70, "left_out": 100, "of_these": left_out},
        {"window": second.window_id, "learned": 140, "left_out": 0, "of_these": {}},
    ]


def test_a_rebuild_broken_off_is_one_version_and_goes_before_the_next_window(rebuilt: Rebuilt) -> None:
    stream, (first, second, third) = rebuilt.stream, rebuilt.windows
    name = rebuilt.name
    plan = stream.settings.home / "runs" / stream.settings.stream.folder / name / "plan.json"
    with mill(stream.settings) as broken_off:
        broken_off.turn(plan.exists)
    with mill(stream.settings) as running:
        running.turn(running.published(3))
    learned = [first.window_id, second.window_id]
    assert [candidate.window_id for candidate in stream.candidates()] == [
        *learned,
        name,
        rebuild_id(REFUSED),
        third.window_id,
    ]
    candidate = rebuilt.candidates[name]
    assert (candidate.status, list(candidate.window_ids), candidate.parent_version) == ("ready", learned, None)
    versions = [made.version for made in stream.candidates() if made.version]
    assert sorted(version.version for version in Registry(stream.settings).versions()) == sorted(versions)


def test_the_version_tells_what_it_was_rebuilt_without(rebuilt: Rebuilt) -> None:
    version = Registry(rebuilt.stream.settings).version_of_window(rebuilt.name)
    assert version is not None
    lineage, champion = Lineage.from_tags(version.tags), rebuilt.candidates[rebuilt.windows[1].window_id]
    assert (lineage.rebuild_of, lineage.without) == (champion.version, ("offsets=0-99",))


def test_an_order_that_leaves_nothing_out_is_answered_with_why(rebuilt: Rebuilt) -> None:
    refused = rebuilt.candidates[rebuild_id(REFUSED)]
    assert (refused.status, refused.version) == (CandidateStatus.FAILED, None)
    assert "source=nobody" in (refused.reason or "")


def test_a_rebuild_can_be_reproduced(rebuilt: Rebuilt) -> None:
    """On the rows that were left: 140 of each window are for training, of the first one 70 were left out."""
    version = rebuilt.candidates[rebuilt.name].version
    assert version is not None
    again = reproduce(rebuilt.stream.settings, version)
    assert (again.identical, again.rows) == (True, 210)
