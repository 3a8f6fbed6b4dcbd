"""The real learner: the configured base, trained by the retrainer's own job."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.control.backtest.lesson import Lesson
from services.retrainer.plan import DecisionWait, Hardware, ParentVersion, Plan, StartPoint, make_plan
from services.retrainer.runs import JobSetup, RunFolder
from shared.classifier.base import open_base
from shared.classifier.digest import model_digest
from shared.errors import TrainingError
from shared.events import utc_now
from shared.lineage import code_version
from shared.settings import Settings
from shared.training_settings import LabelQualitySettings

MODEL, DIGEST = "model", "digest"
LINES_SHOWN = 5


class TransformerLearner:
    """Trains and answers as the mill itself does."""

    def __init__(self, settings: Settings) -> None:
        from shared.classifier.precision import choose_device, choose_precision

        self._settings = settings
        self._base = open_base(settings.model.base, settings.cache_folder, settings.model.base_revision)
        self._base_digest = model_digest(self._base)
        device = choose_device(settings.model.device)
        self._hardware = Hardware(device=device, precision=choose_precision(settings.training.precision, device))
        self.name = f"model-{self._base_digest[:16]}-{self._hardware.device}-{self._hardware.precision}"

    def train(self, lesson: Lesson, parents: Sequence[Path], folder: Path) -> None:
        """Writes the model into the folder.

        Raises:
            TrainingError: The job failed; the text has the last lines of its log.
        """
        workplace = Path(tempfile.mkdtemp(prefix=".job-", dir=folder.parent))
        try:
            run = self._run_folder(workplace, lesson, parents)
            _do(run)
            run.model.rename(folder / MODEL)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        (folder / DIGEST).write_text(model_digest(folder / MODEL))

    def predict(self, folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities of shape (n, k)."""
        from shared.classifier.answering import AnsweringClassifier
        from shared.classifier.capability import token_budget

        classifier = AnsweringClassifier.load(folder / MODEL, device=self._hardware.device)
        return classifier.predict(texts, token_budget(self._settings.model)).probabilities

    def _run_folder(self, workplace: Path, lesson: Lesson, parents: Sequence[Path]) -> RunFolder:
        run = RunFolder(workplace)
        run.write(run.plan_file, self._plan(lesson, parents))
        for side, rows in lesson.rows.items():
            run.write_rows(side.value, list(rows))
        folders = tuple(parent / MODEL for parent in parents) or (self._base,)
        run.write(run.setup_file, JobSetup(start_folders=folders, threads=self._settings.model.threads))
        return run

    def _plan(self, lesson: Lesson, parents: Sequence[Path]) -> Plan:
        return make_plan(
            [lesson.window],
            lesson.replay,
            lesson.earlier,
            start=StartPoint(
                base=self._settings.model.base,
                base_digest=self._base_digest,
                parents=tuple(
                    ParentVersion(version=parent.name, digest=(parent / DIGEST).read_text()) for parent in parents
                ),
            ),
            # Whether labels are suspicious is asked of windows as they were; here every window is to be learned.
            training=lesson.training.model_copy(update={"label_quality": LabelQualitySettings(enabled=False)}),
            hardware=self._hardware,
            decision_wait=DecisionWait(),
            code_version=code_version(),
            now=utc_now(),
        )


def _do(run: RunFolder) -> None:
    command = [sys.executable, "-P", "-m", run.JOB, str(run.path), str(os.getpid())]
    with run.log_file.open("wb") as log:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False)
    if run.result() is None:
        lines = run.log_file.read_text(errors="replace").strip().splitlines()[-LINES_SHOWN:]
        raise TrainingError(f"a training of the backtest ended with code {ended.returncode}: {' | '.join(lines)}")
