"""Beside the answers, the fastest plan that agrees is found and switched to; told with fake models."""

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.server import planner
from services.server.card import Card
from services.server.holdout import Holdout
from services.server.plan_report import PlanReport
from services.server.planner import Outside, Planner
from services.server.shelf import Shelf
from services.server.slots import Challenger, Slot, Slots
from services.server.speeds import Speeds
from services.server.status import Status
from services.server.tally import Tally
from shared.canary import Canary
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.plan import PRECISIONS, Plan
from shared.classifier.predictor import Scores
from shared.errors import ArchiveUnavailableError, ModelError
from shared.events import ServerState, ServingRole
from shared.health import Health
from shared.metrics import ServerMetrics, ServiceMetrics
from shared.plan_settings import PlanSettings
from tests.models import tiny_classifier
from tests.unit.server.fakes import FakeModel, card

USUAL, BF16, INT8 = (Plan("torch", precision, threads=1, token_budget=256) for precision in PRECISIONS)
HOLDOUT = Holdout([f"text {number}" for number in range(300)], np.ones(300, np.int64))
INT8_IS_FASTEST = {USUAL: 4.0, BF16: 2.0, INT8: 1.0}


@dataclass
class PlannedModel(FakeModel):
    """Under any plan of its precision."""

    shape: str = "fake-1x1"

    def under(self, plan: Plan) -> "PlannedModel":
        return replace(self, plan=plan.id)


class DirectStage:
    """Switches without a loop."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def replace(self, expected: Slot, better: Slot) -> bool:
        return self._slots.replace(expected, better)

    def drain(self, retired: Slot) -> None:
        retired.close()


class Bench:
    """A planner with everything around it; `certainty`: what each precision answers, in place of the usual 0.75."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.certainty: dict[str, float] = {}
        self.holdout: Holdout | Exception = HOLDOUT
        self.loaded: list[str] = []
        self.recorded: list[tuple[str, PlanReport]] = []
        self.states: list[ServerState] = []
        self.slots, self.collector = Slots(), CollectorRegistry()
        metrics = ServerMetrics(self.collector)
        self.status = Status("r", None, metrics, Health(ServiceMetrics(self.collector)), self.states.append)
        self.speeds = Speeds(folder / "speeds.json", "here", 3600)
        quick = {"share": 1.0, "patience_seconds": 0.0, "timing_seconds": 0.001}
        outside = Outside(self.load, self.read, list, self.record, lambda: False)
        planning, shelf = PlanSettings.model_validate(quick | settings), Shelf(folder / "shelf")
        stage = DirectStage(self.slots)
        self.planner = Planner(planning, self.slots, stage, shelf, self.speeds, self.status, outside)

    def serve(self, version: str = "1") -> Slot:
        slot = Slot(card(version), PlannedModel(plan=USUAL.id))
        self.slots.switch(slot)
        self.status.serves(slot.card, USUAL.id)
        return slot

    def load(self, folder: Path, plan: Plan) -> PlannedModel:
        self.loaded.append(plan.precision)
        return PlannedModel(plan=plan.id, certainty=self.certainty.get(plan.precision, 0.75))

    def read(self, card: Card) -> Holdout:
        if isinstance(self.holdout, Exception):
            raise self.holdout
        return self.holdout

    def record(self, card: Card, report: PlanReport) -> None:
        self.recorded.append((card.version, report))

    @property
    def plan(self) -> str:
        assert self.slots.current is not None
        return self.slots.current.model.plan


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.speeds.keep("fake-1x1", INT8_IS_FASTEST)
    return found


def test_the_fastest_that_agrees_takes_the_place_of_the_same_model(bench: Bench) -> None:
    before = bench.serve()
    bench.planner.step()
    assert bench.plan == INT8.id
    with pytest.raises(Exception, match="retired"):
        _ = before.model
    ((version, report),) = bench.recorded
    assert (version, report.chosen, report.only_exact) == ("1", INT8.id, None)
    assert bench.status.now.plans == report
    assert (bench.status.now.plan, bench.states[-1].plan) == (INT8.id, INT8.id)
    assert bench.collector.get_sample_value("tidemill_plan_info", {"plan": INT8.id}) == 1
    assert bench.collector.get_sample_value("tidemill_plan_info", {"plan": USUAL.id}) is None


def test_a_real_model_is_laid_out_timed_judged_and_answers_on(tmp_path: Path) -> None:
    folder = tiny_classifier(tmp_path / "tiny")
    bench = Bench(tmp_path, hopeless_ratio=1e6)
    bench.planner._outside.load = lambda _, plan: AnsweringClassifier.load(folder, plan=plan)
    model = AnsweringClassifier.load(folder, plan=USUAL)
    before = model.predict(HOLDOUT.texts).probabilities
    bench.slots.switch(Slot(card("1"), model))
    bench.planner.step()
    ((_, report),) = bench.recorded
    assert bench.plan == report.chosen
    assert [each.plan for each in report.tried] == [USUAL.id, BF16.id, INT8.id]
    assert bench.slots.current is not None
    after = bench.slots.current.model.predict(HOLDOUT.texts).probabilities
    assert np.abs(before - after).max() <= PlanSettings().max_score_difference


def test_of_a_known_winner_nothing_else_is_loaded(bench: Bench) -> None:
    bench.serve()
    bench.planner.step()
    assert bench.loaded == ["int8"]


def test_if_the_winner_of_another_model_disagrees_the_next_is_judged(bench: Bench) -> None:
    bench.certainty["int8"] = 0.3
    bench.serve()
    bench.planner.step()
    assert (bench.plan, bench.loaded) == (BF16.id, ["int8", "bf16"])


def test_if_none_agrees_the_model_answers_on_as_it_did(bench: Bench) -> None:
    bench.certainty |= {"int8": 0.3, "bf16": 0.3}
    slot = bench.serve()
    bench.planner.step()
    assert bench.slots.current is slot
    ((_, report),) = bench.recorded
    assert [each.plan for each in report.tried if each.refusal and each.labels_agree == 0] == [BF16.id, INT8.id]


@pytest.mark.parametrize(
    ("holdout", "reason"),
    [
        (Holdout(["few"], np.zeros(1, np.int64)), "1 held-out reviews, of which 200 are needed"),
        (ArchiveUnavailableError("the archive is not there"), "the archive is not there"),
    ],
)
def test_without_enough_held_out_rows_only_fp32_serves(bench: Bench, holdout: Holdout, reason: str) -> None:
    bench.holdout = holdout
    bench.serve()
    bench.planner.step()
    assert (bench.plan, bench.loaded) == (USUAL.id, [])
    assert bench.recorded[0][1].only_exact == reason


def test_speeds_that_are_not_known_are_measured_and_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.serve()
    bench.planner.step()
    assert sorted(bench.loaded) == ["bf16", "int8"]
    known = bench.speeds.known("fake-1x1", list(INT8_IS_FASTEST))
    assert known is not None
    assert known[USUAL] < float("inf")


def test_a_plan_that_is_asked_for_must_agree_and_is_not_raced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, use=BF16.id)
    bench.serve("1")
    bench.planner.step()
    assert (bench.plan, bench.loaded) == (BF16.id, ["bf16"])
    bench.certainty["bf16"] = 0.3
    bench.serve("2")
    bench.planner.step()
    assert bench.plan == USUAL.id
    assert [each.speed for each in bench.recorded[1][1].tried] == [None, None]


def test_when_it_is_off_nothing_is_tried(tmp_path: Path) -> None:
    bench = Bench(tmp_path, use="off")
    bench.serve()
    bench.planner.step()
    assert (bench.plan, bench.loaded, bench.recorded) == (USUAL.id, [], [])


def test_a_model_is_planned_once(bench: Bench) -> None:
    bench.serve()
    bench.planner.step()
    bench.planner.step()
    assert len(bench.recorded) == 1


def test_a_precision_that_cannot_be_made_here_is_said_so(bench: Bench) -> None:
    def refuse(folder: Path, plan: Plan) -> PlannedModel:
        raise RuntimeError(f"no {plan.precision} on this machine")

    bench.planner._outside.load = refuse
    bench.serve()
    bench.planner.step()
    assert bench.plan == USUAL.id
    assert "no int8 on this machine" in str(bench.recorded[0][1].tried[2].refusal)


def test_a_precision_that_cannot_be_made_is_out_of_the_race_and_not_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def refuse(folder: Path, plan: Plan) -> PlannedModel:
        bench.loaded.append(plan.precision)
        raise RuntimeError(f"no {plan.precision} on this machine")

    bench.planner._outside.load = refuse
    large = Slot(card("1"), PlannedModel(plan="torch-fp32-t1-b1024"))
    bench.slots.switch(large)
    bench.planner.step()
    assert bench.loaded == ["bf16", "int8"]
    rough = [each for each in bench.recorded[0][1].tried if "fp32" not in each.plan]
    assert {each.refusal for each in rough} == {"fails, or is hopelessly slow"}
    assert len(rough) == 4


def test_it_gives_up_while_another_model_is_taken_over_and_then_plans_for_that(bench: Bench) -> None:
    first, loading, go_on = bench.serve("1"), threading.Event(), threading.Event()
    usual_load = bench.load

    def slow(folder: Path, plan: Plan) -> PlannedModel:
        loading.set()
        assert go_on.wait(30)
        return usual_load(folder, plan)

    bench.planner._outside.load = slow
    working = threading.Thread(target=bench.planner.step)
    working.start()
    assert loading.wait(30)

    def release() -> None:
        assert bench.planner._aside.wait(30)
        go_on.set()

    threading.Thread(target=release).start()
    with bench.planner.standing_aside():
        assert bench.slots.current is first  # nothing was switched behind the swapper's back
        bench.serve("2")
    working.join(30)
    assert bench.recorded == []
    bench.planner.step()
    assert (bench.recorded[0][0], bench.plan) == ("2", INT8.id)


class Hanging:
    """What somebody else does until the promotion, which must not wait for it, lets it end."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.was_let: bool | None = None

    def __call__(self, *about: object) -> Holdout:
        self.begun.set()
        self.was_let = self.go_on.wait(10)
        return HOLDOUT


@pytest.fixture
def waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A promotion that waits in vain does so until the planner's own step has timed out, which the tests would see."""
    monkeypatch.setattr(planner, "ASIDE_SECONDS", 100.0)


@pytest.mark.usefixtures("waits_long")
def test_a_promotion_does_not_wait_for_an_archive_that_is_slow(bench: Bench) -> None:
    bench.serve("1")
    hanging = bench.planner._outside.holdout = Hanging()
    working = threading.Thread(target=bench.planner.step)
    working.start()
    assert hanging.begun.wait(30)
    with bench.planner.standing_aside():
        bench.serve("2")
        hanging.go_on.set()
    working.join(30)
    assert hanging.was_let
    assert (bench.loaded, bench.recorded) == ([], [])  # what was read late is of no use any more


@pytest.mark.usefixtures("waits_long")
@pytest.mark.parametrize("what", ["drain", "record"])
def test_a_promotion_waits_neither_for_the_last_requests_nor_for_the_registry(bench: Bench, what: str) -> None:
    hanging = Hanging()
    if what == "drain":
        bench.planner._stage.drain = hanging  # type: ignore[method-assign, assignment]
    else:
        bench.planner._outside.record = hanging  # type: ignore[assignment]
    bench.serve("1")
    working = threading.Thread(target=bench.planner.step)
    working.start()
    assert hanging.begun.wait(30)
    with bench.planner.standing_aside():
        hanging.go_on.set()
    working.join(30)
    assert hanging.was_let
    assert bench.plan == INT8.id


def test_while_a_challenger_stands_beside_it_nothing_is_tried_and_then_it_is(bench: Bench) -> None:
    bench.serve("1")
    bench.slots.place_beside(challenger())
    bench.planner.step()
    assert (bench.plan, bench.loaded, bench.recorded) == (USUAL.id, [], [])
    bench.slots.place_beside(None)
    bench.planner.step()
    assert bench.plan == INT8.id


def test_a_challenger_that_comes_meanwhile_goes_before_a_better_plan(bench: Bench) -> None:
    def load(folder: Path, plan: Plan) -> PlannedModel:
        bench.slots.place_beside(challenger())
        return PlannedModel(plan=plan.id)

    bench.planner._outside.load = load
    bench.serve("1")
    bench.planner.step()
    assert (bench.plan, bench.recorded) == (USUAL.id, [])


def challenger() -> Challenger:
    return Challenger(Canary("2", ServingRole.SHADOW, 1.0), Slot(card("2"), PlannedModel(plan=USUAL.id)), Tally())


def test_whoever_was_made_is_let_go_of_before_a_promotion_may_load(bench: Bench) -> None:
    made: list[weakref.ref[PlannedModel]] = []
    usual_load, alive = bench.load, list[int]()

    def load(folder: Path, plan: Plan) -> PlannedModel:
        model = usual_load(folder, plan)
        made.append(weakref.ref(model))
        return model

    def drained(retired: Slot) -> None:
        alive.append(sum(each() is not None for each in made))

    bench.planner._outside.load = load
    bench.planner._stage.drain = drained  # type: ignore[method-assign]
    bench.certainty["int8"] = 0.3
    bench.serve("1")
    bench.planner.step()
    assert (bench.loaded, bench.plan) == (["int8", "bf16"], BF16.id)
    assert alive == [0]  # what serves is the copy under its plan; both that were made are gone


def test_a_model_that_was_replaced_meanwhile_is_not_switched_back(bench: Bench) -> None:
    bench.serve("1")

    def load(folder: Path, plan: Plan) -> PlannedModel:
        bench.serve("2")
        return PlannedModel(plan=plan.id)

    bench.planner._outside.load = load
    bench.planner.step()
    assert bench.slots.current is not None
    assert (bench.slots.current.card.version, bench.plan, bench.recorded) == ("2", USUAL.id, [])


def test_an_error_of_any_kind_leaves_the_model_in_service(bench: Bench) -> None:
    bench.holdout = RuntimeError("a bug")
    slot = bench.serve()
    bench.planner.step()
    assert bench.slots.current is slot


def test_a_registry_that_takes_no_figures_costs_nothing_but_them(bench: Bench) -> None:
    def refuse(card: Card, report: PlanReport) -> None:
        raise RuntimeError("MLflow is gone")

    bench.planner._outside.record = refuse
    bench.serve()
    bench.planner.step()
    assert bench.plan == INT8.id
    assert bench.status.now.plans is not None


def test_a_plan_that_fails_the_known_questions_does_not_serve(bench: Bench) -> None:
    class Moody(PlannedModel):
        def predict(self, texts: Sequence[str], token_budget: int | None = None) -> Scores:
            raise ModelError("in no mood")

        def under(self, plan: Plan) -> PlannedModel:
            return self

    bench.planner._outside.load = lambda folder, plan: Moody(plan=plan.id)
    bench.serve()
    bench.planner.step()
    assert bench.plan == USUAL.id
