"""Killed by SIGKILL at each step of a look at labels or of a rebuild, everything ends as it does in an unkilled run.

One candidate and one decision, one version or none, one run in MLflow, and the same ledger, alias and evidence.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.evaluator import app
from services.retrainer.runs import RunFolder
from shared.envelope import decode
from shared.events import Candidate, Command, CommandKind, Decision, Verdict, utc_now
from shared.kafka import read_topic
from shared.label_quality import QUALITY_FILE
from shared.rebuilds import rebuild_id
from shared.registry import DECISION_PAGE, Registry
from shared.topics import MODELS_DECISIONS
from tests.chaos.dying import LOOK, MARK, REBUILD, STEP
from tests.chaos.test_retrainer_killed import jobs
from tests.integration.evaluator.stage import InlineScoring, Running
from tests.integration.retrainer.stage import RetrainerProcess, Stream, eventually, mill, settings_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

# So often that it knows better than flipped labels, and that a rebuild can be killed between two checkpoints.
EPOCHS = 8.0
ORDER = "leave-them-out"
# What a resumed training may differ by, at most, and what of the evidence is the same in every run.
TOLERANCE = 1e-3
VARYING = ("latency",)

Outcome = dict[str, Any]
Make = Callable[[str], Stream]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def champions(
    broker: Broker, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Make:
    """Makes streams by a prefix, each with a champion that learned the one window."""

    def make(prefix: str) -> Stream:
        home = tmp_path_factory.mktemp(prefix)
        stream = Stream(settings_for(broker.bootstrap_servers, mlflow_server.uri, prefix, home, cache, epochs=EPOCHS))
        stream.announce(stream.window())
        with mill(stream.settings) as running:
            running.turn(running.published(1))
        stream.decide(stream.candidates()[0], Verdict.PROMOTE)
        return stream

    return make


@pytest.fixture(scope="module", autouse=True)
def _scoring_in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "ScoringProcess", InlineScoring)
        yield


def bring_flipped_labels(stream: Stream) -> str:
    """A second window, every label of which is the other one; returns its name."""
    window = stream.window(flipped=True)
    stream.announce(window)
    return window.window_id


def order_rebuild(stream: Stream) -> str:
    """To train the champion's window again without a quarter of it; returns the name of what will answer."""
    order = Command(
        command_id=ORDER, kind=CommandKind.REBUILD, target="offsets=0-49", who="ana", why="sold", issued_at=utc_now()
    )
    stream.order(order)
    return rebuild_id(ORDER)


def unkilled(stream: Stream, name: str) -> Outcome:
    with mill(stream.settings) as running:
        running.turn(running.published(1))
    return decided(stream, name)


def killed(stream: Stream, name: str, step: str) -> Outcome:
    """The service dies at the step, or sees its job die; it is started again where it died."""
    mark = stream.settings.home / "dying"
    environment = {STEP: step, MARK: str(mark)}
    with RetrainerProcess(stream.settings, "tests.chaos.dying", environment) as retrainer:
        eventually(mark.exists, f"the step {step!r}")
        if "alone" not in step:
            eventually(lambda: retrainer.exit_code is not None, "its end")
            assert retrainer.exit_code == -signal.SIGKILL
            retrainer.start()
        eventually(lambda: len(stream.candidates()) >= 2, "the candidate")
        assert retrainer.exit_code is None
    return decided(stream, name)


def decided(stream: Stream, name: str) -> Outcome:
    """Has the evaluator decide, and looks at everything that is there afterwards."""
    evaluator = Running(stream.settings, app.build)
    evaluator.until_entry(2)
    evaluator.turn(5)
    evaluator.close()
    registry, run = Registry(stream.settings), RunFolder(stream.settings.home / "runs" / name)
    assert jobs(run) == []
    first, *made = stream.candidates()
    (candidate,) = made
    entries = [decode(Decision, record.value, record.where()) for record in ledger(stream)]
    entry = entries[-1]
    version = registry.version_of_window(name)
    assert (candidate.version, candidate.run_id) == (entry.version, entry.run_id)
    assert candidate.version == (version.version if version else None)
    runs = registry._runs(registry._experiment_id(), name)
    assert runs == [candidate.run_id]
    assert entry.champion_before == first.version
    return {
        "entries": len(entries),
        "versions": len(registry.versions()),
        "candidate": told(candidate),
        "entry": (entry.verdict, entry.quarantined, entry.window_id, entry.without),
        "numbers": {key: value for key, value in entry.numbers.items() if not key.startswith(VARYING)},
        "champion": registry.champion() == first.version,
        "page": registry.run_file(str(entry.run_id), DECISION_PAGE) is not None,
        "quality": registry.run_file(str(entry.run_id), QUALITY_FILE) is not None,
    }


def told(candidate: Candidate) -> dict[str, Any]:
    """What it says, but for what is named or made anew in every run."""
    return candidate.model_dump(exclude={"version", "run_id", "model_digest", "metrics", "created_at", "rebuild_of"})


def ledger(stream: Stream) -> Any:
    return read_topic(stream.settings, "test", MODELS_DECISIONS)


def assert_same(found: Outcome, expected: Outcome) -> None:
    assert found["numbers"] == pytest.approx(expected["numbers"], rel=TOLERANCE, abs=TOLERANCE)
    assert {**found, "numbers": None} == {**expected, "numbers": None}


# Labels that are looked at


@pytest.fixture(scope="module")
def looked_at(champions: Make) -> Outcome:
    stream = champions("looked-at")
    return unkilled(stream, bring_flipped_labels(stream))


def test_an_unkilled_look_gives_no_version_and_one_decision(looked_at: Outcome) -> None:
    verdict, quarantined, *_ = looked_at["entry"]
    assert (verdict, quarantined, looked_at["entries"], looked_at["versions"]) == (Verdict.REJECT, True, 2, 1)
    assert looked_at["candidate"]["status"] == "distrusted"
    assert (looked_at["champion"], looked_at["page"], looked_at["quality"]) == (True, True, True)


@pytest.mark.parametrize("step", LOOK)
def test_a_look_ends_as_if_nobody_had_been_killed(
    champions: Make, looked_at: Outcome, topic_prefix: str, step: str
) -> None:
    stream = champions(topic_prefix)
    assert_same(killed(stream, bring_flipped_labels(stream), f"look: {step}"), looked_at)


# A rebuild


@pytest.fixture(scope="module")
def rebuilt(champions: Make) -> Outcome:
    stream = champions("rebuilt-unkilled")
    return unkilled(stream, order_rebuild(stream))


def test_an_unkilled_rebuild_gives_one_version_and_one_decision(rebuilt: Outcome) -> None:
    assert (rebuilt["entries"], rebuilt["versions"], rebuilt["candidate"]["status"]) == (2, 2, "ready")
    assert rebuilt["entry"][3] == ("offsets=0-49",)
    assert rebuilt["numbers"]["left_out_rows"] == 5


@pytest.mark.parametrize("step", REBUILD)
def test_a_rebuild_ends_as_if_nobody_had_been_killed(
    champions: Make, rebuilt: Outcome, topic_prefix: str, step: str
) -> None:
    stream = champions(topic_prefix)
    assert_same(killed(stream, order_rebuild(stream), f"rebuild: {step}"), rebuilt)
