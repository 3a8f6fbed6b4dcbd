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
from shared.events import Candidate, Command, CommandKind, Decision, ServedPrediction, Verdict, utc_now
from shared.kafka import GroupConsumer, read_topic
from shared.registry import Registry, rollback_page
from shared.settings import Settings
from shared.topics import CONTROL_COMMANDS, MODELS_DECISIONS, PREDICTIONS_SERVED
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import ROWS, Killed, Models, Running, Stage
from tests.unit.evaluator.builders import decision

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
        broker.bootstrap_servers, mlflow_server.uri, topic_prefix, home, pool_rows=ROWS, monitor=monitor
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


def two_champions(stage: Stage, models: Models) -> Candidate:
    """Version 1 always says positive, version 2, champion now, always negative. Returns version 2's candidate."""
    first = stage.register(stage.window(label=1), models.positive)
    second = stage.register(stage.window(label=0), models.negative)
    stage.send_all(MODELS_DECISIONS, [promotion(1, first, None), promotion(2, second, first.version)])
    stage.curate(LOOKED_AT, label=1)
    return second


def promotion(number: int, candidate: Candidate, before: str | None) -> Decision:
    return decision(
        number,
        Verdict.PROMOTE,
        candidate.version,
        before,
        window_id=candidate.window_id,
        run_id=candidate.run_id,
        model_digest=candidate.model_digest,
    )


def commands(stage: Stage) -> list[Command]:
    records = read_topic(stage.settings, "reader", CONTROL_COMMANDS)
    return [decode(Command, record.value, record.where()) for record in records]


def test_a_worse_champion_is_rolled_back_and_never_promoted_again(
    place: Callable[..., Stage], models: Models, start: Start, watch: Watching
) -> None:
    stage = place()
    deposed = two_champions(stage, models)
    watcher = watch(stage)
    stage.curate(50, label=1)
    watcher.until(lambda: watcher.metric("watch_rollbacks_asked_total") == 1)
    stage.publish(deposed)
    evaluator = start(stage)
    evaluator.until_entry(3)
    entry = stage.decisions()[2]
    assert (entry.verdict, entry.decided_by, entry.champion_after) == (Verdict.ROLLBACK, "watch", "1")
    assert "50 fresh reviews up to offset 1089 only 1 was right 50 times" in entry.reasons[0]
    assert stage.registry.champion() == "1"
    evaluator.turn(10)
    page = stage.registry.run_file(str(deposed.run_id), rollback_page(3))
    assert page is not None
    assert b"alarm: 200" in page, "the watch's bets are drawn"
    watcher.turn(3)
    assert len(stage.decisions()) == 3, "its candidate, delivered again, is ignored"
    assert len(commands(stage)) == 1


@pytest.mark.slow
def test_the_same_from_first_promotion_to_rollback_with_models_in_processes(
    place: Callable[..., Stage], models: Models, start: Start, watch: Watching
) -> None:
    stage = place()
    stage.challenge(stage.window(label=1), models.positive)
    deposed = stage.challenge(stage.window(label=0), models.negative)
    evaluator = start(stage)
    evaluator.until_entry(2)
    stage.curate(LOOKED_AT + 50, label=1)
    watcher = watch(stage, own_process=True)
    watcher.until(lambda: watcher.metric("watch_rollbacks_asked_total") == 1)
    evaluator.until_entry(3)
    stage.publish(deposed)
    later = stage.challenge(stage.window(label=0), models.negative)
    evaluator.until_entry(4)
    assert [version for _, version, _, _ in stage.story()] == ["1", "2", "1", later.version]


def test_the_champion_sees_whether_the_texts_have_shifted(
    place: Callable[..., Stage], models: Models, watch: Watching
) -> None:
    """Reviews before its promotion and since, by the embeddings that the model itself makes of them."""
    stage = place()
    two_champions(stage, models)
    watcher = watch(stage)
    stage.curate(60, label=1)
    watcher.until(lambda: watcher.metric("input_drift_ratio", trait="embedding") > 0.0)
    assert watcher.metric("input_drift_ratio", trait="embedding") < 0.5


def test_reviews_that_the_champion_was_chosen_with_prove_nothing(
    place: Callable[..., Stage], models: Models, watch: Watching
) -> None:
    stage = place()
    two_champions(stage, models)
    stage.curate(49, label=1)
    watcher = watch(stage)
    watcher.until(lambda: watcher.metric("monitor_waiting_rows") == 49)
    assert watcher.metric("prequential_rows") == 0
    assert commands(stage) == []


def test_no_more_rollbacks_a_day_than_allowed(place: Callable[..., Stage], models: Models, watch: Watching) -> None:
    stage = place(rollbacks_per_day=0)
    two_champions(stage, models)
    stage.curate(50, label=1)
    watcher = watch(stage)
    watcher.until(lambda: watcher.metric("watch_rollbacks_held_info") == 1)
    assert commands(stage) == []


def test_drift_asks_for_the_window_that_holds_it(place: Callable[..., Stage], models: Models, watch: Watching) -> None:
    stage = place(trust_floor=0.0)
    stage.send_all(MODELS_DECISIONS, [promotion(1, stage.register(stage.window(), models.positive), None)])
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


def test_a_monitor_that_is_killed_again_and_again_counts_every_review_and_every_label_once(
    place: Callable[..., Stage], models: Models, watch: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = place(batch_rows=1, rollbacks_per_day=0)
    two_champions(stage, models)
    for owner, call, when in KILLS:
        stage.curate(9, label=0)
        stage.send_all(PREDICTIONS_SERVED, [served(call + when)])
        stage.curate(1, label=1, prediction_id=call + when)
        killed = watch(stage)
        with monkeypatch.context() as patch:
            patch.setattr(owner, call, dying(getattr(owner, call), when))
            with pytest.raises(Killed):
                killed.until(lambda: False)
        killed.close()
    last = watch(stage)
    last.until(lambda: last.metric("prequential_rows") >= 10 * len(KILLS))
    last.turn(3)
    assert last.metric("prequential_rows") == 10 * len(KILLS)
    assert last.metric("prequential_accuracy_ratio", model="champion", span="reign") == 0.9
    assert last.metric("prequential_accuracy_ratio", model="previous", span="reign") == pytest.approx(0.1)
    assert last.metric("served_accuracy_ratio", version="1") == 1.0


def served(name: str) -> ServedPrediction:
    return ServedPrediction(
        prediction_id=name,
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
