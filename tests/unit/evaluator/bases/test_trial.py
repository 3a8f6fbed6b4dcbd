"""One sitting about a base: what is not scored, what is asked, and in which order its traces are left."""

import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import create_autospec

import pytest
from prometheus_client import CollectorRegistry

from services.evaluator.bases.exam import BaseExam
from services.evaluator.bases.gate import Comparison
from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.bases.stream import StreamBook
from services.evaluator.bases.texts import LatestTexts
from services.evaluator.bases.trial import BaseDesk, BaseTrial, Stage
from services.evaluator.exam import Failure, Model, Unavailable, Unusable
from services.evaluator.launcher import Scoring
from services.evaluator.record import DECISION_TAG, decision_tags
from services.evaluator.windows import LatestRows
from shared.errors import RegistryRefusedError, RetryableError
from shared.events import BaseCandidate, BaseDecision, CandidateStatus, Verdict
from shared.metrics import BasesMetrics
from shared.registry import BASE, ModelVersion, Registry
from shared.retry import Backoff
from shared.settings import EvaluatorSettings
from tests.unit.evaluator.bases.builders import (
    EXAM_DIGEST,
    base_candidate,
    base_decision,
    comparison,
    text_window_id,
)
from tests.unit.evaluator.builders import DIGEST, NOW, row, window_id

READY = base_candidate(1)


class Finished:
    """Scoring that came to its end."""

    def __init__(self, found: Comparison | Failure) -> None:
        self._found = found

    def result(self) -> Comparison | Failure:
        return self._found

    def close(self) -> None:
        """Nothing is under way."""


class Sitting:
    """A trial at a desk where nothing is real, and the exams that it set."""

    def __init__(
        self, *results: Comparison | Failure, candidate: BaseCandidate = READY, ledger: BaseLedger | None = None
    ) -> None:
        self.registry: Any = create_autospec(Registry, instance=True)
        self.registry.version.return_value = ModelVersion("1", "run-1", "source", {}, NOW)
        self.registry.run_url.return_value = self.registry.version_url.return_value = "http://127.0.0.1/"
        self.registry.aliased.return_value = None
        self.stream: Any = create_autospec(StreamBook, instance=True)
        self.stream.unknown.return_value = []
        self.stream.texts.return_value = LatestTexts(("a text",), ())
        self.stream.rows.return_value = LatestRows((row(0, 1),), (window_id(7),))
        self.exams: list[BaseExam] = []
        self._results: Iterator[Comparison | Failure] = iter(results)
        backoff = create_autospec(Backoff(threading.Event()))
        metrics = BasesMetrics(CollectorRegistry())
        desk = BaseDesk(EvaluatorSettings(), self.registry, self.stream, self._launch, metrics, backoff, lambda: NOW)
        self.trial = BaseTrial(desk, candidate, ledger or BaseLedger())

    def _launch(self, exam: BaseExam) -> Scoring[Comparison]:
        self.exams.append(exam)
        return Finished(next(self._results))

    def until(self, stage: Stage) -> BaseDecision | None:
        while self.trial.stage is not stage:
            self.trial.advance()
        return self.trial.decision


def test_a_base_is_asked_about_the_newest_held_out_reviews_of_both_kinds() -> None:
    sitting = Sitting(comparison())
    decision = sitting.until(Stage.SETTLED)
    gate = EvaluatorSettings().base_gate
    sitting.stream.texts.assert_called_once_with(text_window_id(1), gate.text_rows)
    sitting.stream.rows.assert_called_once_with((window_id(0),), gate.probe_rows)
    assert sitting.exams == [BaseExam(Model("1", DIGEST), "run-1", EXAM_DIGEST, ("a text",), (row(0, 1),))]
    assert decision is not None
    assert (decision.verdict, decision.base_after) == (Verdict.PROMOTE, "1")
    assert any(window_id(7) in reason for reason in decision.reasons)


def test_the_run_is_written_first_then_the_tag_then_the_alias() -> None:
    sitting = Sitting(comparison())
    sitting.until(Stage.SETTLED)
    told = [name for name, *_ in sitting.registry.method_calls if name in ("log_text", "set_tags", "set_alias")]
    assert told == ["log_text", "log_text", "set_tags", "set_alias"]
    sitting.registry.set_alias.assert_called_once_with(BASE, "1")


@pytest.mark.parametrize("found", [comparison(saved=0.0), comparison(saved=-0.5)])
def test_only_an_accepted_base_moves_the_alias(found: Comparison) -> None:
    sitting = Sitting(found)
    decision = sitting.until(Stage.SETTLED)
    assert decision is not None
    sitting.registry.set_alias.assert_not_called()
    assert sitting.registry.set_tags.call_args.args == ("1", decision_tags(decision))


def test_a_decision_that_was_tagged_is_finished_without_another_look() -> None:
    sitting = Sitting()
    reached = base_decision(1, Verdict.PROMOTE, "1")
    tags = {DECISION_TAG: reached.model_dump_json()}
    sitting.registry.version.return_value = ModelVersion("1", "run-1", "source", tags, NOW)
    assert sitting.until(Stage.SETTLED) == reached
    assert sitting.exams == []
    sitting.registry.set_alias.assert_called_once_with(BASE, "1")


@pytest.mark.parametrize("again", [READY, base_candidate(1, "9"), base_candidate(9, "1")])
def test_a_window_and_a_version_are_judged_once(again: BaseCandidate) -> None:
    ledger = BaseLedger.of([base_decision(1, Verdict.UNDECIDED, "1")])
    sitting = Sitting(candidate=again, ledger=ledger)
    assert sitting.until(Stage.SETTLED) is None
    assert sitting.registry.method_calls == []


def test_an_adaptation_that_failed_is_entered_with_its_reason() -> None:
    failed = base_candidate(1, None, status=CandidateStatus.FAILED, reason="out of memory")
    sitting = Sitting(candidate=failed)
    decision = sitting.until(Stage.SETTLED)
    assert decision is not None
    assert (decision.verdict, decision.reasons) == (Verdict.REJECT, ("adaptation failed: out of memory",))
    sitting.registry.set_tags.assert_not_called()


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        ({"version": None}, "names no version"),
        ({"model_digest": None}, "names no version or no digest"),
        ({"run_id": None}, "nothing that it could be compared with"),
        ({"exam_digest": None}, "nothing that it could be compared with"),
        ({"probe_window_ids": ()}, "on which labels"),
    ],
)
def test_a_candidate_that_lacks_something_is_rejected_and_not_scored(lacking: dict[str, Any], says: str) -> None:
    sitting = Sitting(candidate=base_candidate(1).model_copy(update=lacking))
    decision = sitting.until(Stage.RECORD)
    assert decision is not None
    assert decision.verdict is Verdict.REJECT
    assert says in decision.reasons[0]
    assert sitting.exams == []


def test_windows_that_nobody_closed_make_it_unusable() -> None:
    sitting = Sitting()
    sitting.stream.unknown.return_value = ["u-9", "w-9"]
    decision = sitting.until(Stage.RECORD)
    assert decision is not None
    assert decision.reasons == ("unusable: its windows u-9, w-9 were never closed",)


def test_files_that_fail_every_time_make_it_unusable() -> None:
    attempts = EvaluatorSettings().attempts
    sitting = Sitting(*[Unusable("damaged")] * attempts)
    decision = sitting.until(Stage.RECORD)
    assert decision is not None
    assert (decision.verdict, decision.reasons) == (Verdict.REJECT, ("unusable: damaged",))
    assert len(sitting.exams) == attempts


def test_what_cannot_be_scored_yet_is_looked_at_again() -> None:
    sitting = Sitting(Unavailable("the disk is full"), comparison())
    sitting.trial.advance()
    with pytest.raises(RetryableError, match="base 1 cannot be scored yet: the disk is full"):
        sitting.trial.advance()
    assert (sitting.trial.stage, sitting.trial.decision) == (Stage.LOOK, None)
    decision = sitting.until(Stage.RECORD)
    assert decision is not None
    assert decision.verdict is Verdict.PROMOTE


def test_a_run_that_was_deleted_does_not_stop_the_ledger() -> None:
    sitting = Sitting(comparison())
    sitting.registry.log_metrics.side_effect = RegistryRefusedError("no such run")
    decision = sitting.until(Stage.SETTLED)
    assert decision is not None
    assert decision.verdict is Verdict.PROMOTE


def test_a_version_that_was_deleted_gets_its_entry_all_the_same() -> None:
    sitting = Sitting(comparison(saved=-0.5))
    sitting.registry.version.return_value = None
    assert sitting.until(Stage.SETTLED) is not None
    sitting.registry.set_tags.assert_not_called()
