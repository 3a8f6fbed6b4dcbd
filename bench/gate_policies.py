"""What a policy of promotion costs and what it lets in: peers' policies and our gate, over the same candidates.

Simulated, row by row (`bench/gate/world.py`): 200 windows, each with one candidate whose true edge over its parent is
N(+0.2, 1.0) points with rare disasters near -5, slow drift and 5 points of sudden drift half-way. Or, with `--replay`,
on real reviews with a real, small model (`bench/gate/replay.py`). A promotion is harmful when it costs more than half a
point of true accuracy.

`python -m bench.gate_policies [--quick] [--runs N] [--rows N …] [--replay [--data FOLDER]] [--picture FILE.png]
[--json FILE]`: a table, the claims that it bears out or not, then one JSON object. The figures after ± are standard
errors over the runs.
"""

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench.gate.claims import Claim, claims
from bench.gate.picture import draw
from bench.gate.policies import POLICIES, REPLAYED, Estimate, Policy, Tally, play, summary
from bench.gate.replay import ReplaySettings, load, play_all
from bench.gate.world import SimulatedWorld, WorldSettings

FULL_RUNS, QUICK_RUNS = 100, 20
FULL_SIZES, QUICK_SIZES = (100, 200, 500, 2000), (100, 200, 500)
FULL_ORDERS, QUICK_ORDERS = 12, 4
HEADS = ("mean acc. %", "final acc. %", "harmful", "promotions", "disasters")
ACCURACIES = ("mean_accuracy", "final_accuracy")

Runs = dict[str, list[Tally]]


def main() -> None:
    """Prints table, claims and JSON object."""
    options = _options()
    report = _replay(options) if options.replay else _simulate(options)
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def simulate(sizes: Sequence[int], runs: int, processes: int) -> dict[int, Runs]:
    """Every policy in the same worlds, for each number of fresh rows a window."""
    with ProcessPoolExecutor(processes) as pool:
        return {size: _by_policy(POLICIES, list(pool.map(partial(run, size), range(runs)))) for size in sizes}


def run(size: int, seed: int) -> list[Tally]:
    """Every policy once, each offered the same candidates."""
    settings = WorldSettings(fresh_rows=size)
    return [play(policy, SimulatedWorld(settings, seed), settings.windows) for policy in POLICIES]


def _simulate(options: argparse.Namespace) -> dict[str, Any]:
    sizes = options.rows or (QUICK_SIZES if options.quick else FULL_SIZES)
    runs = options.runs or (QUICK_RUNS if options.quick else FULL_RUNS)
    results = simulate(sizes, runs, options.processes)
    for size, tallies in results.items():
        _print_table(f"{size} fresh held-out rows a window, {runs} runs", POLICIES, tallies)
    judged = claims(results)
    for claim in judged:
        _print_claim(claim)
    if options.picture:
        draw(POLICIES, {f"{size} fresh rows": tallies for size, tallies in results.items()}, options.picture)
    return {
        "bench": "gate_policies",
        "runs": runs,
        "world": {name: value for name, value in asdict(WorldSettings()).items() if name != "fresh_rows"},
        "policies": [entry | {"fresh_rows": size} for size in results for entry in _entries(POLICIES, results[size])],
        "claims": [claim._asdict() | {"claimed": claim.claimed} for claim in judged],
        "claims_hold": all(claim.holds for claim in judged if claim.claimed),
    }


def _replay(options: argparse.Namespace) -> dict[str, Any]:
    settings, reviews = ReplaySettings(), load(options.data)
    orders = options.runs or (QUICK_ORDERS if options.quick else FULL_ORDERS)
    played = partial(play_all, REPLAYED, reviews, settings)
    with ProcessPoolExecutor(min(options.processes, orders)) as pool:
        tallies = _by_policy(REPLAYED, list(pool.map(played, range(orders))))
    windows = settings.windows(len(reviews.labels))
    title = f"{len(reviews.labels)} real reviews, {windows} windows, {orders} orders"
    _print_table(title, REPLAYED, tallies)
    if options.picture:
        draw(REPLAYED, {title: tallies}, options.picture)
    return {
        "bench": "gate_policies",
        "replay": asdict(settings) | {"reviews": len(reviews.labels), "windows": windows, "orders": orders},
        "policies": _entries(REPLAYED, tallies),
    }


def _by_policy(policies: Sequence[Policy], runs: Sequence[Sequence[Tally]]) -> Runs:
    return {policy.name: list(tallies) for policy, tallies in zip(policies, zip(*runs, strict=True), strict=True)}


def _entries(policies: Sequence[Policy], tallies: Runs) -> list[dict[str, Any]]:
    return [
        {"policy": policy.name, "text": policy.text, "peer": policy.peer}
        | {name: [round(value, 6) for value in each] for name, each in summary(tallies[policy.name]).items()}
        for policy in policies
    ]


def _print_table(title: str, policies: Sequence[Policy], tallies: Runs) -> None:
    print(f"\n{title}")
    print(f"{'':<49}" + "".join(f"{head:>14}" for head in HEADS) + f"{'worst pt':>10}")
    for policy in policies:
        columns = summary(tallies[policy.name])
        cells = [f"{each.mean:.2f} ±{each.error:.2f}" for each in _in_points(columns).values()]
        worst = f"{100 * columns['worst'].mean:.1f}"
        print(f"{policy.name:<17}{policy.text:<32}" + "".join(f"{cell:>14}" for cell in cells) + f"{worst:>10}")


def _in_points(columns: dict[str, Estimate]) -> dict[str, Estimate]:
    """The columns that have an error, accuracies in per cent."""
    scales = {name: 100 if name in ACCURACIES else 1 for name in columns if name != "worst"}
    return {name: Estimate(*(scale * value for value in columns[name])) for name, scale in scales.items()}


def _print_claim(claim: Claim) -> None:
    numbers = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in claim.numbers.items()
    )
    answer = f"{'yes' if claim.holds else 'NO'}{'' if claim.claimed else ', not claimed'}"
    print(f"{claim.fresh_rows:>5} rows: {claim.text}: {answer} ({numbers})")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs, and none with 2,000 fresh rows")
    parser.add_argument("--runs", type=int, help="of each policy; with --replay: orders of the reviews")
    parser.add_argument("--rows", type=int, nargs="+", help="fresh held-out rows a window; each must divide the pool")
    parser.add_argument("--replay", action="store_true", help="real reviews instead of the simulation")
    parser.add_argument(
        "--data", type=Path, help="with --replay: a folder of *.jsonl.gz ('text', 'label' 0 or 1) to add"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that run at once")
    parser.add_argument("--picture", type=Path, help="PNG: harmful promotions against final accuracy")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
