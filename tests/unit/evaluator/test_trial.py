"""A trial never waits unseen, and stays open to a rollback until its decision is tagged."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.evaluator.exam import BASELINE, CHALLENGER, Exhibit, Measured, Result, Unavailable
from services.evaluator.launcher import Scoring
from services.evaluator.ledger import Ledger
from services.evaluator.record import DECISION_FILE
from services.evaluator.trial import Desk, Stage, Trial
from services.evaluator.windows import TrialRows, WindowBook
from shared.errors import RegistryRefusedError, RegistryUnavailableError, RetryableError
from shared.metrics import EvaluatorMetrics
from shared.registry import DECISION_PAGE, Registry
from shared.retry import Backoff
from shared.settings import EvaluatorSettings
from tests.unit.evaluator.builders import NOW, candidate, measured

NOTHING_RIGHT = {model: np.zeros(0, np.bool_) for model in (CHALLENGER, BASELINE)}


@pytest.fixture
def found(tmp_path: Path) -> Measured:
    pictures = (tmp_path / "a.png", tmp_path / "b.png")
    for picture in pictures:
        picture.write_bytes(b"PNG")
    return measured(NOTHING_RIGHT, exhibits={CHALLENGER: Exhibit(pictures)})


class Finished:
    """Scoring that came to its end."""

    def __init__(self, found: Result) -> None:
        self._found = found

    def result(self) -> Result:
        return self._found

    def close(self) -> None:
        """Nothing is under way."""


def desk(results: Iterator[Result], registry: Any) -> Desk:
    windows = create_autospec(WindowBook, instance=True)
    windows.rows_on_trial.return_value = TrialRows((), {candidate(0).window_id: frozenset()}, frozenset(), {}, {}, ())
    backoff = create_autospec(Backoff(threading.Event()))

    def launch(_: object) -> Scoring:
        return Finished(next(results))

    metrics = EvaluatorMetrics(CollectorRegistry())
    return Desk(EvaluatorSettings(), registry, windows, launch, metrics, backoff, lambda: NOW)


def trial(*results: Result) -> tuple[Trial, Any]:
    registry = create_autospec(Registry, instance=True)
    registry.version.return_value = None
    registry.run_url.return_value = registry.version_url.return_value = "http://127.0.0.1/"
    return Trial(desk(iter(results), registry), candidate(0), Ledger()), registry


def until(stage: Stage, under_way: Trial) -> None:
    while under_way.stage is not stage:
        under_way.advance()


def test_what_cannot_be_scored_yet_is_said_and_tried_again(found: Measured) -> None:
    under_way, _ = trial(Unavailable("the disk is full"), found)
    under_way.advance()
    with pytest.raises(RetryableError, match="the disk is full"):
        under_way.advance()
    assert (under_way.stage, under_way.decisions) == (Stage.LOOK, ())
    until(Stage.RECORD, under_way)


def test_a_trial_whose_artifacts_cannot_be_kept_is_still_open_to_a_rollback(found: Measured) -> None:
    under_way, registry = trial(found)
    registry.log_file.side_effect = RegistryUnavailableError("gone")
    until(Stage.RECORD, under_way)
    with pytest.raises(RegistryUnavailableError):
        under_way.advance()
    assert under_way.is_open


def test_one_step_uploads_one_file(found: Measured) -> None:
    under_way, registry = trial(found)
    until(Stage.RECORD, under_way)
    uploads = []
    while under_way.stage is Stage.RECORD:
        under_way.advance()
        uploads.append(registry.log_file.call_count + registry.log_text.call_count)
    assert uploads == [1, 2, 3, 4]


def test_the_page_for_people_shows_the_pictures_and_lies_in_the_run(found: Measured) -> None:
    under_way, registry = trial(found)
    until(Stage.TAG, under_way)
    run, page, name = registry.log_text.call_args.args
    assert (run, name) == ("run-1", DECISION_PAGE)
    assert page.count("data:image/png;base64,UE5H") == 2


def test_uploads_that_the_registry_refuses_do_not_stop_the_ledger(found: Measured) -> None:
    under_way, registry = trial(found)
    registry.log_file.side_effect = registry.log_text.side_effect = RegistryRefusedError("the run is gone")
    until(Stage.SETTLED, under_way)
    assert len(under_way.decisions) == 1


def test_a_page_that_cannot_be_written_does_not_stop_the_ledger(found: Measured) -> None:
    under_way, registry = trial(found)
    until(Stage.RECORD, under_way)
    for picture in found.exhibits[CHALLENGER].pictures:
        picture.unlink()
    until(Stage.SETTLED, under_way)
    assert [call.args[2] for call in registry.log_text.call_args_list] == [DECISION_FILE]
