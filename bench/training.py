"""How fast a window is learned: our planned training beside the plain `Trainer` on the same rows.

`python -m bench.training [--quick] [--rows N] [--threads N] [--json FILE]`: a table, then one JSON object. Real film
reviews (a packaged set), the bundled base, as many passes over the rows for everyone. Time is of the whole training,
from the base's files to the weights, checkpoints included; afterwards each answers the same held-out rows. Ratios are
of processor time, which other work on the machine leaves alone; rows a second are by the clock.

The peers are `Trainer` with default settings, with dynamic padding (`DataCollatorWithPadding`) and with rows padded to
the most that training takes, as many tutorials have it. The ratio is to the first, the better one.
"""

import argparse
import bz2
import csv
import io
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch
from datasets import Dataset
from scipy.special import log_softmax
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

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


@dataclass(frozen=True)
class Rows:
    """Reviews to learn and others to be asked about."""

    train: list[TrainingRow]
    held_out: list[TrainingRow]


@dataclass(frozen=True)
class Measured:
    """One contestant's figures."""

    name: str
    rows_per_second: float
    seconds: float
    processor_seconds: float
    accuracy: float
    loss: float


Learner = Callable[[Path, Path, Rows, TrainingSettings], Classifier]


def read_rows(train_rows: int, held_out_rows: int) -> Rows:
    """Distinct snippets of film critics, in the file's order shuffled by a fixed seed."""
    text = bz2.decompress(ROTTEN_TOMATOES.path.read_bytes()).decode(errors="replace")
    labels = {"rotten": 0, "fresh": 1}
    found = {
        row["text"]: labels[row["category"]] for row in csv.DictReader(io.StringIO(text)) if row["category"] in labels
    }
    texts = list(found)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(17)).tolist()
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
        trainer.train()
        classifier.model.train(False)
        return Classifier(classifier.model, tokenizer)

    return learn


def contestants() -> dict[str, tuple[Learner, dict[str, object]]]:
    """Name -> how it learns, and which of our settings it changes."""
    frozen = {"frozen": FrozenSettings(embeddings=True)}
    found: dict[str, tuple[Learner, dict[str, object]]] = {
        "Trainer, defaults": (plain(False), {}),
        "ours, fp32": (ours("fp32"), {}),
        "ours, fp32, frozen embeddings": (ours("fp32"), frozen),
        "ours, fp32, LoRA": (ours("fp32"), {"adapter": LoraAdapterSettings()}),
    }
    if supports_bf16("cpu"):
        found["ours, bf16"] = (ours("bf16"), {})
        found["ours, bf16, frozen embeddings"] = (ours("bf16"), frozen)
    found["Trainer, padded to the most"] = (plain("max_length"), {})
    return found


def measure(name: str, learner: Learner, base: Path, rows: Rows, training: TrainingSettings) -> Measured:
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
        rows_per_second=training.epochs * len(rows.train) / seconds,
        seconds=seconds,
        processor_seconds=processor_seconds,
        accuracy=mean(float(said == label) for said, label in zip(scores.predicted, truth, strict=True)),
        loss=-mean(float(log_probabilities[place, label]) for place, label in enumerate(truth)),
    )


def ratio(result: Measured, peer: Measured) -> float:
    """How many times as fast as the peer, by processor time."""
    return peer.processor_seconds / result.processor_seconds


def line(result: Measured, peer: Measured) -> str:
    """One contestant's line of the table."""
    return (
        f"{result.name:<34}{result.rows_per_second:>8.1f}{result.seconds:>9.1f}{result.processor_seconds:>13.1f}"
        f"{ratio(result, peer):>7.2f}x{100 * result.accuracy:>9.1f}%{result.loss:>8.3f}"
    )


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few rows, one pass")
    parser.add_argument("--rows", type=int, default=2_000, help="reviews to learn")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for everyone")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    options = parser.parse_args()
    use_threads(options.threads)
    rows = read_rows(256, 200) if options.quick else read_rows(options.rows, 2_000)
    training = TrainingSettings(epochs=1.0 if options.quick else 2.0)
    base = open_base("bundled", Settings().cache_folder)
    print(f"{len(rows.train)} reviews, {training.epochs:g} passes, {torch.get_num_threads()} threads")
    print(f"{'':<34}{'rows/s':>8}{'seconds':>9}{'processor s':>13}{'ratio':>8}{'accuracy':>10}{'loss':>8}")
    results: list[Measured] = []
    for name, (learner, changes) in contestants().items():
        results.append(measure(name, learner, base, rows, training.model_copy(update=changes)))
        print(line(results[-1], results[0]), flush=True)
    report = {
        "bench": "training",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "bf16": supports_bf16("cpu"),
        "threads": torch.get_num_threads(),
        "rows": len(rows.train),
        "passes": training.epochs,
        "held_out_rows": len(rows.held_out),
        "results": [asdict(result) for result in results],
        "ratios": {result.name: ratio(result, results[0]) for result in results},
    }
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
