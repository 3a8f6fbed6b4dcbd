"""The scorer lives and dies apart from the service, which stays light."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from services.evaluator.exam import Exam, Failure, Killed, Measured, Unusable
from services.evaluator.launcher import ScoringProcess, score_models
from shared.settings import Settings, load_settings
from tests.unit.evaluator.builders import exam

EXAM = exam([0], rows_each=3, newest=0, champion=False)
LOOK_SECONDS = 0.02


def settings(folder: Path, **evaluator: float) -> Settings:
    return load_settings(home=folder, registry={"tracking_uri": "http://127.0.0.1:9"}, evaluator=evaluator)


def result_of(scoring: ScoringProcess[Exam, Measured]) -> Measured | Failure:
    never = threading.Event()
    while (found := scoring.result()) is None:
        never.wait(LOOK_SECONDS)
    scoring.close()
    return found


def crashing(exam: Exam, settings: Settings) -> Measured:
    os._exit(7)


def test_a_killed_scorer_is_noticed_and_named(tmp_path: Path) -> None:
    scoring = ScoringProcess(score_models, EXAM, settings(tmp_path))
    assert scoring.pid is not None
    os.kill(scoring.pid, signal.SIGKILL)
    found = result_of(scoring)
    assert isinstance(found, Killed)
    assert "signal 9 (Killed)" in found.reason


def test_a_scorer_that_ends_by_itself_speaks_against_the_challenger(tmp_path: Path) -> None:
    found = result_of(ScoringProcess(crashing, EXAM, settings(tmp_path)))
    assert found == Unusable("scoring died with exit code 7; the log says why")


def test_a_scorer_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    scoring = ScoringProcess(score_models, EXAM, settings(tmp_path, timeout_seconds=0.001))
    found = result_of(scoring)
    assert isinstance(found, Unusable)
    assert "too long" in found.reason


def test_the_service_itself_loads_no_model_library() -> None:
    """They cost hundreds of megabytes and seconds of start, and belong to the scorer."""
    heavy = "sorted({'torch', 'transformers', 'evaluate', 'datasets', 'matplotlib'} & set(sys.modules))"
    code = f"import sys; import services.evaluator.app; print({heavy})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
