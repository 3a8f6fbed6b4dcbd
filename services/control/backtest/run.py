"""A whole backtest: reads the recording, plays each policy in a process of its own, and writes table and picture."""

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from services.control.backtest.linear import LinearLearner
from services.control.backtest.picture import draw
from services.control.backtest.policy import LearnerName, Policy
from services.control.backtest.recording import Recording, cut, read_recording
from services.control.backtest.rehearsal import Rehearsal
from services.control.backtest.result import PolicyResult, Summary, summarise
from services.control.backtest.store import Learner, Store
from services.control.session import RefusedError
from shared.archive import Archive
from shared.classifier.baseline import open_baseline
from shared.events import ClosedWindow
from shared.settings import Settings
from shared.training_settings import HardReplaySettings

FOLDER, RESULTS, TABLE, PICTURE = "backtest", "results", "backtest.json", "backtest.png"


def backtest(
    settings: Settings, windows: Sequence[ClosedWindow], policies: Sequence[Policy], learner: LearnerName
) -> list[PolicyResult]:
    """Plays every policy on the recorded windows, as many at once as there are cores.

    Raises:
        RefusedError: There are no windows, or two policies of one name.
        SnapshotError: A window's rows are missing or altered.
    """
    names = [policy.name for policy in policies]
    if len(set(names)) < len(names):
        raise RefusedError(f"policies are told apart by name, and these are {', '.join(names)}; rename a file")
    if not windows:
        raise RefusedError("no window has been closed yet, so there is nothing to replay")
    recording = read_recording(windows, Archive(settings))
    at_once = min(len(policies), os.cpu_count() or 1)
    # Spawned: a fork of a process with Arrow's and Kafka's threads may hang.
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn")) as pool:
        played = [pool.submit(play, settings, recording, policy, learner, at_once) for policy in policies]
        return [each.result() for each in played]


def play(settings: Settings, recording: Recording, policy: Policy, learner: LearnerName, at_once: int) -> PolicyResult:
    """One policy; for a process of its own.

    Raises:
        RefusedError: Its triggers close no window, or it needs the real learner.
    """
    if learner is LearnerName.LINEAR and isinstance(policy.training.replay, HardReplaySettings):
        raise RefusedError(f"policy {policy.name} replays hard rows, which only --learner model finds")
    eras = cut(recording, policy.window)
    if not eras:
        raise RefusedError(f"under policy {policy.name} no window would have closed in {len(recording.rows)} rows")
    store = Store(settings.home / FOLDER / settings.stream.folder, open_learner(settings, learner, at_once))
    labels, counts = eras[0].window.label_names, eras[0].window.labels
    baseline = open_baseline(policy.gate.baseline, labels, counts, settings.cache_folder)
    return Rehearsal(policy, eras, store, lambda texts: baseline.predict(texts).probabilities).run()


def open_learner(settings: Settings, name: LearnerName, at_once: int) -> Learner:
    """The learner of that name, with its share of the cores."""
    if name is LearnerName.LINEAR:
        return LinearLearner()
    from services.control.backtest.transformer import TransformerLearner  # loads torch

    threads = settings.model.threads or max(1, (os.cpu_count() or 1) // at_once)
    model = settings.model.model_copy(update={"threads": threads})
    return TransformerLearner(settings.model_copy(update={"model": model}))


def write(results: Sequence[PolicyResult], folder: Path) -> tuple[list[Summary], Path, Path]:
    """Writes results and picture into the folder; returns the table's lines and both files."""
    folder.mkdir(parents=True, exist_ok=True)
    summaries = [summarise(result) for result in results]
    facts = [
        {"summary": summary.model_dump(mode="json"), "result": result.model_dump(mode="json")}
        for summary, result in zip(summaries, results, strict=True)
    ]
    (folder / TABLE).write_text(json.dumps(facts, indent=1))
    draw(results, folder / PICTURE)
    return summaries, folder / TABLE, folder / PICTURE
