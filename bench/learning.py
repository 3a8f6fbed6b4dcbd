"""What the loop's defaults learn, forget, let in and cost on real streams that change their domain, beside its peers.

One stream is one order of the packaged domains (critics, products, news, tweets; the film snippets are nearly all the
critics' again) and one sample of their rows; `--data` adds a domain for each file. Some windows come with every label
wrong. Every policy gets the same windows, and until its first promotion the gate's baseline answers. Truth is measured
on rows of each domain that are put aside, of which a difference has a standard error of about half a point: some
promotions that change nothing are counted as harmful, for every policy alike.

`python -m bench.learning [--quick] [--seeds N] [--first-seed N] [--windows N] [--data FOLDER] [--learner linear|model]
[--variants] [--picture FILE.png] [--json FILE]`: a table, the claims that it bears out or not, then one JSON object.
The figures after ± are halves of 95 % intervals over the streams.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.gate.reviews import Labelled, distinct_domains, domains_in_folder, packaged_domains
from bench.loop.claims import Claim, claims
from bench.loop.measures import FIGURES, Estimate, Outcome, figure, measure
from bench.loop.picture import draw
from bench.loop.playing import GATE, MeteredStore, answering, play
from bench.loop.policies import POLICIES, VARIANTS, Policy
from bench.loop.stream import LABELS, Stream, StreamSettings, make_stream
from services.control.backtest.policy import LearnerName
from services.control.backtest.run import open_learner
from shared.classifier.baseline import open_baseline
from shared.settings import Settings

# With 6 streams, half of the interval of a difference in accuracy was .9 points: the claims were left to chance.
FULL_SEEDS, QUICK_SEEDS = 20, 3
QUICK_WINDOWS = 30
COLUMNS = (
    ("mean acc. %", "accuracy", 100.0, 2),
    ("final acc. %", "final_accuracy", 100.0, 2),
    ("back. trans.", "backward_transfer", 100.0, 2),
    ("forgotten", "forgotten", 100.0, 2),
    ("harmful", "harmful", 1.0, 2),
    ("promotions", "promotions", 1.0, 1),
    ("unserved", "unserved", 1.0, 1),
    ("1000 row passes", "row_passes", 0.001, 0),
    ("seconds", "seconds", 1.0, 1),
)

Domains = Mapping[str, Sequence[Labelled]]
Runs = dict[str, list[Outcome]]


@dataclass(frozen=True)
class Bench:
    """Everything that a process needs to play a stream."""

    policies: tuple[Policy, ...]
    stream: StreamSettings
    learner: LearnerName
    folder: Path
    at_once: int


def main() -> None:
    """Prints table, claims and JSON object."""
    options = _options()
    domains = load(options.data)
    with tempfile.TemporaryDirectory() as folder:
        bench = _bench(options, Path(folder))
        seeds = _seeds(options)
        runs = play_all(bench, domains, seeds)
    first = make_stream(domains, bench.stream, seeds[0])
    report = _report(bench, first, runs) | {"first_seed": seeds[0]}
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.picture:
        draw(bench.policies, first, runs, options.picture)


def load(folder: Path | None) -> dict[str, list[Labelled]]:
    """The packaged domains and those of a folder; no text is in two of them."""
    return distinct_domains(packaged_domains() | (domains_in_folder(folder) if folder else {}))


def play_all(bench: Bench, domains: Domains, seeds: Sequence[int]) -> Runs:
    """Every policy on the stream of every seed."""
    played = partial(run, bench, domains)
    if bench.at_once == 1:
        by_seed = list(map(played, seeds))
    else:
        # Spawned: the learner may bring threads of its own, with which a fork may hang.
        with ProcessPoolExecutor(min(bench.at_once, len(seeds)), get_context("spawn")) as pool:
            by_seed = list(pool.map(played, seeds))
    by_policy = zip(bench.policies, zip(*by_seed, strict=True), strict=True)
    return {policy.name: list(outcomes) for policy, outcomes in by_policy}


def run(bench: Bench, domains: Domains, seed: int) -> list[Outcome]:
    """Every policy on one stream."""
    stream = make_stream(domains, bench.stream, seed)
    return [_outcome(bench, stream, policy) for policy in bench.policies]


def _outcome(bench: Bench, stream: Stream, policy: Policy) -> Outcome:
    baseline = open_baseline(GATE.baseline, LABELS)
    store = MeteredStore(bench.folder, open_learner(Settings(), bench.learner, bench.at_once))

    def opinion(texts: Sequence[str]) -> Any:
        return baseline.predict(texts).probabilities

    return measure(play(policy, stream, store, opinion), stream, answering(store, opinion))


def _report(bench: Bench, first: Stream, runs: Runs) -> dict[str, Any]:
    streams = len(next(iter(runs.values())))
    title = (
        f"{streams} streams of {len(first.eras)} windows, {len(first.truth)} domains, learner: {bench.learner.value}"
    )
    _print_table(title, bench.policies, runs)
    judged = claims(bench.policies, runs)
    for claim in judged:
        _print_claim(claim)
    return {
        "bench": "learning",
        "learner": bench.learner.value,
        "streams": streams,
        "windows": len(first.eras),
        "stream": asdict(bench.stream),
        "truth_rows": {name: len(rows) for name, rows in first.truth.items()},
        "policies": [_entry(policy, runs[policy.name]) for policy in bench.policies],
        "claims": [
            claim._asdict() | {"numbers": {name: _plain(number) for name, number in claim.numbers.items()}}
            for claim in judged
        ],
        "claims_hold": all(claim.holds for claim in judged),
    }


def _entry(policy: Policy, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    figures = {name: _plain(figure(outcomes, name)) for name in FIGURES}
    return {"policy": policy.name, "text": policy.text, "kind": policy.kind.value} | figures


def _plain(number: Any) -> Any:
    return [round(value, 6) for value in number] if isinstance(number, Estimate) else number


def _print_table(title: str, policies: Sequence[Policy], runs: Runs) -> None:
    print(f"\n{title}\n{'':<48}" + "".join(f"{head:>16}" for head, *_ in COLUMNS) + f"{'worst pt':>10}")
    for policy in policies:
        outcomes = runs[policy.name]
        cells = "".join(f"{_cell(figure(outcomes, name), scale, digits):>16}" for _, name, scale, digits in COLUMNS)
        print(f"{policy.name:<14}{policy.text:<34}{cells}{100 * figure(outcomes, 'worst').mean:>10.1f}")


def _cell(number: Estimate, scale: float, digits: int) -> str:
    return f"{scale * number.mean:.{digits}f} ±{scale * number.half:.{digits}f}"


def _print_claim(claim: Claim) -> None:
    numbers = ", ".join(
        f"{name} {number.mean:.4g} ±{number.half:.2g}" if isinstance(number, Estimate) else f"{name} {number}"
        for name, number in claim.numbers.items()
    )
    print(f"{claim.text}: {'yes' if claim.holds else 'NO'} ({numbers})")


def _bench(options: argparse.Namespace, folder: Path) -> Bench:
    windows = options.windows or (QUICK_WINDOWS if options.quick else StreamSettings().most_windows)
    return Bench(
        policies=(*POLICIES, *(VARIANTS if options.variants else ())),
        stream=StreamSettings(window_rows=options.window_rows, segment_windows=options.segment, most_windows=windows),
        learner=LearnerName(options.learner),
        folder=options.cache or folder,
        at_once=options.processes,
    )


def _seeds(options: argparse.Namespace) -> range:
    count = options.seeds or (QUICK_SEEDS if options.quick else FULL_SEEDS)
    return range(options.first_seed, options.first_seed + count)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} streams of {QUICK_WINDOWS} windows")
    parser.add_argument("--seeds", type=int, help="streams, each with an order and a sample of its own")
    parser.add_argument("--first-seed", type=int, default=0, help="others than those that a default was chosen by")
    parser.add_argument("--windows", type=int, help="of a stream, at most")
    parser.add_argument("--window-rows", type=int, default=400, help="reviews of a window")
    parser.add_argument("--segment", type=int, default=6, help="windows of one domain in a row, at most")
    parser.add_argument("--data", type=Path, help="a folder of *.jsonl.gz ('text', 'label' 0 or 1), a domain each")
    parser.add_argument("--learner", choices=[name.value for name in LearnerName], default=LearnerName.LINEAR.value)
    parser.add_argument("--variants", action="store_true", help="our gate with other replay and starts too")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that run at once")
    parser.add_argument("--cache", type=Path, help="keep models here, and take from here those that are there")
    parser.add_argument("--picture", type=Path, help="PNG: a stream as it goes, and all figures")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
