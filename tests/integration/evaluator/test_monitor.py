"""A champion that is worse than the one before is rolled back by itself, once, whatever happens to who watches it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.evaluator import gauges, monitor
from services.evaluator.exam import Unavailable
from services.evaluator.notebook import Notebook
from services.evaluator.shadow import Answers, Questions
from services.evaluator.shadow_models import ShadowModels
from shared.envelope import decode
from shared.events import Candidate, Command, CommandKind, ServedPrediction, Trigger, Verdict, utc_now
from shared.kafka import GroupConsumer, read_topic
from shared.metrics import FeedbackOutcome
from shared.registry import Registry
from shared.settings import Settings
from shared.topics import CONTROL_COMMANDS, PREDICTIONS_SERVED
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import ROWS, Killed, Models, Running, Stage

# Stage's second window ends there.
LOOKED_AT = 1000 + ROWS

Watching = Callable[..., Running]


class InlineShadow:
    """The models in this process: what they answer is the same, and torch is loaded once for all tests."""

    def __init__(self, settings: Settings) -> None:
        self._models = ShadowModels(settings, Registry(settings))
        self._answers: Answers | Unavailable | None = None

    @property
    def is_busy(self) -> bool:
        return self._answers is not None

    def ask(self, questions: Questions) -> None:
        self._answers = self._models.answer(questions)

    def result(self) -> Answers | Unavailable | None:
        answers, self._answers = self._answers, None
        return answers

    def close(self) -> None:
        self._answers = None


@pytest.fixture
def place(broker: Broker, mlflow_server: MlflowServer, topic_prefix: str, home: Any) -> Callable[..., Stage]:
    """Makes a stage whose pool is one window, so that every window can have a champion of its own."""
    return lambda **monitor: Stage(
        broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, pool_rows=ROWS, **monitor
    )


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watching]:
    """Starts monitors: `watch(stage)`, or with the models in a process of their own, as in life."""
    monkeypatch.setattr(gauges, "PERIOD_SECONDS", 0.0)
    with ExitStack() as running:

        def watching(stage: Stage, own_process: bool = False) -> Running:
            with monkeypatch.context() as patch:
                if not own_process:
                    patch.setattr(monitor, "ShadowProcess", InlineShadow)
                found = Running(stage.settings, monitor.build)
            running.callback(found.close)
            return found

        yield watching


def two_champions(stage: Stage, models: Models, start: Start) -> Candidate:
    """Version 1 always says positive, version 2, champion now, always negative. Returns version 2's candidate."""
    stage.challenge(stage.window(label=1), models.positive)
    second = stage.challenge(stage.window(label=0), models.negative)
    evaluator = start(stage)
    evaluator.until_entry(2)
    evaluator.close()
    stage.curate(LOOKED_AT, label=1)
    return second


def commands(stage: Stage) -> list[Command]:
    records = read_topic(stage.settings, "reader", CONTROL_COMMANDS)
    return [decode(Command, record.value, record.where()) for record in records]


def test_a_worse_champion_is_rolled_back_and_never_promoted_again(
    place: Callable[..., Stage], models: Models, start: Start, watch: Watching
) -> None:
    stage = place()
    deposed = two_champions(stage, models, start)
    watcher = watch(stage, own_process=True)
    stage.curate(50, label=1)
    watcher.until(lambda: watcher.metric("watch_rollbacks_asked_total") == 1)
    evaluator = start(stage)
    evaluator.until_entry(3)
    entry = stage.decisions()[2]
    assert (entry.verdict, entry.decided_by, entry.champion_after) == (Verdict.ROLLBACK, "watch", "1")
    assert "50 fresh reviews up to offset 1089 only 1 was right 50 times" in entry.reasons[0]
    assert stage.registry.champion() == "1"
    stage.publish(deposed)
    later = stage.challenge(stage.window(label=0), models.negative)
    evaluator.until_entry(4)
    assert [version for _, version, _, _ in stage.story()] == ["1", "2", "1", later.version]
    assert len(commands(stage)) == 1


def test_reviews_that_the_champion_was_chosen_with_prove_nothing(
    place: Callable[..., Stage], models: Models, start: Start, watch: Watching
) -> None:
    stage = place()
    two_champions(stage, models, start)
    stage.curate(49, label=1)
    watcher = watch(stage)
    watcher.until(lambda: watcher.metric("monitor_waiting_rows") == 49)
    assert watcher.metric("prequential_rows") == 0
    assert commands(stage) == []


def test_no_more_rollbacks_a_day_than_allowed(
    place: Callable[..., Stage], models: Models, start: Start, watch: Watching
) -> None:
    stage = place(rollbacks_per_day=0)
    two_champions(stage, models, start)
    stage.curate(50, label=1)
    watcher = watch(stage)
    watcher.until(lambda: watcher.metric("watch_rollbacks_held_info") == 1)
    assert commands(stage) == []


def test_drift_asks_for_the_window_that_holds_it(
    place: Callable[..., Stage], models: Models, start: Start, watch: Watching
) -> None:
    stage = place(trust_floor=0.0)
    stage.challenge(stage.window(label=1), models.positive)
    start(stage).until_entry(1)
    stage.curate(1000, label=1)
    stage.curate(500, label=0)
    watcher = watch(stage)
    watcher.until(lambda: watcher.metric("drifts_total") == 1)
    (command,) = commands(stage)
    assert (command.kind, command.who) == (CommandKind.DRIFT, "watch")
    assert 1000 <= int(command.target or 0) < 1500
    watcher.close()
    again = watch(stage)
    again.until(lambda: again.metric("prequential_rows") >= 1400)
    assert commands(stage) == [command], "not asked again after a restart"


KILLS = [
    (Notebook, "move", "before"),
    (Notebook, "prune", "after"),
    (GroupConsumer, "commit", "before"),
    (GroupConsumer, "commit", "after"),
    (InlineShadow, "result", "after"),
    (Notebook, "keep", "before"),
    (Notebook, "keep", "after"),
]


@pytest.mark.parametrize(("owner", "call", "when"), KILLS, ids=lambda value: getattr(value, "__name__", value))
def test_a_killed_monitor_counts_every_review_and_every_label_once(
    place: Callable[..., Stage],
    models: Models,
    start: Start,
    watch: Watching,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    call: str,
    when: str,
) -> None:
    stage = place(batch_rows=1, rollbacks_per_day=0)
    two_champions(stage, models, start)
    stage.send_all(PREDICTIONS_SERVED, [served(number) for number in range(10)])
    for number in range(10):
        stage.curate(1, label=number % 2, prediction_id=f"p{number}")
    stage.curate(90, label=0)
    first = watch(stage)
    with monkeypatch.context() as patch:
        patch.setattr(owner, call, dying(getattr(owner, call), when))
        with pytest.raises(Killed):
            first.until(lambda: False)
    first.close()
    second = watch(stage)
    second.until(lambda: second.metric("prequential_rows") >= 100)
    second.turn(3)
    assert second.metric("prequential_rows") == 100
    assert second.metric("prequential_accuracy_ratio", model="champion", span="reign") == 0.95
    assert second.metric("prequential_accuracy_ratio", model="previous", span="reign") == 0.05
    assert second.metric("served_accuracy_ratio", version="1") == 0.5
    repeated = sum(second.metric("feedback_joined_total", outcome=kind.value) for kind in (FeedbackOutcome.REPEATED,))
    assert repeated == 0


def served(number: int) -> ServedPrediction:
    return ServedPrediction(
        prediction_id=f"p{number}",
        version="1",
        text_sha256="0" * 64,
        label="positive",
        score=0.9,
        scores={"positive": 0.9, "negative": 0.1},
        replica_id="r",
        served_at=utc_now(),
    )


def dying(real: Callable[..., Any], when: str) -> Callable[..., Any]:
    """Ends the process at the first call that matters, before or after it took effect."""

    def call(*args: Any, **more: Any) -> Any:
        found = real(*args, **more) if when == "after" else None
        if when == "after" and real.__name__ == "result" and found is None:
            return None
        raise Killed

    return call
