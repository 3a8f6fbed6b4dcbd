"""What a client notices of a swap: hundreds of promotions between registered versions, under constant load.

`python -m bench.swap [--quick] [--swaps N] [--versions N] [--model bundled|base] [--plan auto|off|ID] [--rate R]
[--gap S] [--threads N] [--device D] [--picture FILE.png] [--json FILE]`: figures, claims, then one JSON object. The
server, Kafka and MLflow are the real ones. Versions share their body and differ in the head, so that each text has a
different answer from each; with more than two of them every swap fetches its model from MLflow, since a server keeps
the last two. Each answer is held against what the version that it names says when asked alone. A swap lasts from the
first write to the registry until the server says that it serves that version and has let the other go; requests under
way meanwhile met it.

The archive holds held-out reviews of every version, so with `--plan auto` the server looks for a better plan after each
swap, as it is meant to, and gives up as soon as the next one comes: with short gaps fp32 answers nearly all. The load
must outlast the swaps; one that ends before them is an error.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.inference import device_name, models, packaged_texts
from bench.serve.claims import claim_line
from bench.serve.client import render
from bench.serve.contestants import thread_variables
from bench.serve.load import Job
from bench.serve.measures import Answers
from bench.serve.processes import LOOK_SECONDS as MEMORY_LOOK_SECONDS
from bench.serve.processes import MIB, MemoryWatch, gpu_mib, resident_mib
from bench.serve.race import LOG, begin_load, finished, run_load
from bench.serve.swap_picture import draw_swaps
from bench.serve.swaps import Memory, Swap, apart, check, memory_of, swap_claims, waited
from bench.serve.tidemill import LABELS, Serving, Stack, Version, device_variables, plan_use, plan_variables
from bench.serve.tuned import real_rows, window_of
from shared.classifier.answering import AnsweringClassifier
from shared.classifier.calibration import head_of
from shared.classifier.model import Classifier
from shared.classifier.precision import choose_device
from shared.classifier.quiet import quietly
from shared.classifier.threads import use_threads
from shared.plan_settings import AUTO
from shared.text import prepare

MODELS = {"base": "DistilBERT-base dimensions", "bundled": "bundled"}
PATH = "/v1/predict"
LABEL = LABELS[1]
FULL_SWAPS, QUICK_SWAPS = 200, 20
CANDIDATE_TEXTS, MOST_TEXTS, LEAST_TEXTS = 200, 64, 8
# How far apart the versions' answers to a text are at least: well beyond what any plan may change.
APART = 0.05
HEAD_SCALE = 0.6
OTHER_PLANS_TOLERANCE = 0.02
# Of what the server answers to a few busy clients: below it the load is constant whatever a swap takes.
SHARE_OF_CAPACITY, CAPACITY_CONNECTIONS, CAPACITY_SECONDS = 0.3, 8, 5.0
MOST_CONNECTIONS = 256
SWAP_PATIENCE_SECONDS, LOOK_SECONDS = 120.0, 0.05
LEAST_GAP_SECONDS = 2 * MEMORY_LOOK_SECONDS


@dataclass(frozen=True, eq=False)
class Run:
    """What one run left. `expected`: each version's answers to the texts asked.

    Attributes:
        looks, gpu_looks: monotonic seconds and MiB, of the server's own memory, and of its GPU's if it has one.
    """

    rate: float
    answers: Answers
    looks: list[tuple[float, float]]
    gpu_looks: list[tuple[float, float]]
    swaps: list[Swap]
    expected: dict[str, NDArray[np.float64]]
    weights_mib: float


def main() -> None:
    """Runs the bench."""
    options = _options()
    use_threads(1)  # the server is another process
    with tempfile.TemporaryDirectory() as folder, quietly():
        run = _run(options, Path(folder))
    report = _report(options, run)
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.picture:
        draw_swaps(run.answers, run.looks, run.swaps, options.picture)


def _run(options: argparse.Namespace, folder: Path) -> Run:
    files = make_versions(models(folder, options.model == "base")[MODELS[options.model]], folder, options.versions)
    texts = [prepare(text) for text in packaged_texts(CANDIDATE_TEXTS)["short"]]
    kept = apart([asked(each, texts, options.device, at_once=True) for each in files], APART)[:MOST_TEXTS]
    if len(kept) < LEAST_TEXTS:
        raise SystemExit(f"only {len(kept)} texts tell {options.versions} versions apart; ask for fewer --versions")
    texts = [texts[place] for place in kept]
    references = [asked(each, texts, options.device, at_once=False) for each in files]
    requests = [render(PATH, json.dumps({"text": text}).encode()) for text in texts]
    variables = thread_variables(options.threads) | plan_variables(options.plan) | device_variables(options.device)
    rows = window_of(real_rows())
    with Stack(folder, variables, options.threads) as stack:
        versions = [stack.register(each, rows) for each in files]
        stack.promote(versions[0])
        with stack.serve() as server:
            rate = options.rate or SHARE_OF_CAPACITY * _capacity(server, requests, folder)
            job = Job(server.port, requests, MOST_CONNECTIONS, _most_seconds(options), rate, keep_bodies=True)
            answers, looks, gpu_looks, swaps = _swapped(stack, server, versions, job, options, folder)
    expected = {each.version: reference for each, reference in zip(versions, references, strict=True)}
    weights = sum(file.stat().st_size for file in files[0].glob("*.safetensors")) / MIB
    return Run(rate, answers, looks, gpu_looks, swaps, expected, weights)


def make_versions(files: Path, folder: Path, count: int) -> list[Path]:
    """Models with the same body, each under a head of its own."""
    targets = [folder / f"version-{number}" for number in range(count)]
    for number, target in enumerate(targets):
        classifier = Classifier.load(files)
        head = head_of(classifier.model)
        with torch.no_grad():
            head.weight.normal_(0.0, HEAD_SCALE, generator=torch.Generator().manual_seed(number))
        classifier.save(target)
    return targets


def asked(files: Path, texts: Sequence[str], device: str, *, at_once: bool) -> NDArray[np.float64]:
    """Probability of the label for each text, in fp32, in batches or each text alone."""
    classifier = AnsweringClassifier.load(files, device)
    column = classifier.labels.index(LABEL)
    batches = [texts] if at_once else [[text] for text in texts]
    return np.concatenate([classifier.predict(batch).probabilities[:, column].astype(float) for batch in batches])


def _capacity(server: Serving, requests: list[str], folder: Path) -> float:
    """Texts a second of a few busy clients, the first seconds left out: caches fill in them."""
    job = Job(server.port, requests, CAPACITY_CONNECTIONS, CAPACITY_SECONDS)
    run_load(job, folder)
    return run_load(job, folder).answered / CAPACITY_SECONDS


def _most_seconds(options: argparse.Namespace) -> float:
    """The load is ended once the swaps are done; should this process die, it ends by itself."""
    return float(options.swaps * (SWAP_PATIENCE_SECONDS + options.gap))


def _swapped(
    stack: Stack, server: Serving, versions: Sequence[Version], job: Job, options: argparse.Namespace, folder: Path
) -> tuple[Answers, list[tuple[float, float]], list[tuple[float, float]], list[Swap]]:
    """The load over all swaps, in turn from version to version; memory of the server, and of its GPU."""
    load = begin_load(job, folder)
    gpu_watch = MemoryWatch(lambda: gpu_mib(options.device)) if options.device != "cpu" else None
    try:
        with MemoryWatch(lambda: resident_mib([server.pid])) as watch, gpu_watch or nullcontext():
            time.sleep(options.gap)
            swaps: list[Swap] = []
            for number in range(1, options.swaps + 1):
                swaps.append(_swap(stack, server, versions[number % len(versions)], options.gap))
                must_go_on(load, folder, len(swaps))
    finally:
        load.terminate()
    return finished(load, job, folder), watch.looks, gpu_watch.looks if gpu_watch else [], swaps


def must_go_on(load: subprocess.Popen[bytes], folder: Path, swaps: int) -> None:
    """Swaps that nobody asks during are not measured.

    Raises:
        SystemExit: The load has ended.
    """
    if (code := load.poll()) is not None:
        said = (folder / LOG).read_text(errors="replace")[-400:]
        raise SystemExit(f"the load ended, with status {code}, before the swaps did, after {swaps} of them: {said}")


def _swap(stack: Stack, server: Serving, version: Version, gap: float) -> Swap:
    begin = time.monotonic()
    stack.promote(version)
    while not server.serves(version.version):
        if time.monotonic() > begin + SWAP_PATIENCE_SECONDS:
            raise SystemExit(f"version {version.version} did not serve within {SWAP_PATIENCE_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)
    swap = Swap(version.version, begin, time.monotonic())
    time.sleep(gap)
    return swap


def _report(options: argparse.Namespace, run: Run) -> dict[str, Any]:
    """Prints figures and claims; returns the JSON object."""
    checked = check(run.answers, run.expected, LABEL, OTHER_PLANS_TOLERANCE)
    wait, memory = waited(run.answers, run.swaps), memory_of(run.looks, run.swaps)
    on_gpu = memory_of(run.gpu_looks, run.swaps) if run.gpu_looks else None
    judged = swap_claims(checked, wait, memory, len(run.expected), run.weights_mib, on_gpu)
    seconds = [each.end - each.begin for each in run.swaps]
    minutes = (run.swaps[-1].end - run.swaps[0].begin) / 60
    print(f"{len(seconds)} swaps in {minutes:.1f} min, {median(seconds):.2f} s each, at most {max(seconds):.2f} s")
    print(
        f"{run.rate:.1f} requests a second; {checked.answered} answered, {checked.failed} failed, {checked.wrong} wrong"
    )
    print(f"by version: {checked.by_version}; by plan: {checked.by_plan}, with server.plan.use = {options.plan}")
    print(f"{'':<10}{'requests':>10}{'p50 ms':>10}{'p99 ms':>10}")
    print(f"{'during':<10}{wait.during:>10}{_cell(wait.p50_during):>10}{_cell(wait.p99_during):>10}")
    print(f"{'between':<10}{wait.between:>10}{_cell(wait.p50_between):>10}{_cell(wait.p99_between):>10}")
    print(_memory_line("memory", memory))
    if on_gpu:
        print(_memory_line("of the GPU", on_gpu))
    print(f"a model: {run.weights_mib:.0f} MiB, the size of its file of fp32 weights")
    print(*map(claim_line, judged), sep="\n")
    return {
        "bench": "swap",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": device_name(options.device),
        "cores": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "model": MODELS[options.model],
        "plan": options.plan,
        "weights_mib": run.weights_mib,
        "versions": len(run.expected),
        "texts": len(next(iter(run.expected.values()))),
        "rate": run.rate,
        "swaps": len(seconds),
        "swaps_per_minute": len(seconds) / minutes,
        "swap_seconds": {"median": median(seconds), "most": max(seconds)},
        "answers": asdict(checked),
        "latency": asdict(wait),
        "memory": asdict(memory),
        "gpu_memory": asdict(on_gpu) if on_gpu else None,
        "claims": [asdict(each) for each in judged],
    }


def _memory_line(what: str, memory: Memory) -> str:
    return (
        f"{what}, MiB: {memory.begin:.0f} between the first swaps, {memory.end:.0f} between the last ones, "
        f"{memory.one:.0f} at its least between two, {memory.peak:.0f} at its peak"
    )


def _cell(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SWAPS} swaps")
    parser.add_argument("--swaps", type=int, help=f"{FULL_SWAPS}, or {QUICK_SWAPS} with --quick")
    parser.add_argument("--versions", type=int, default=3, help="that take turns; with two, nothing is fetched again")
    parser.add_argument("--model", choices=MODELS, default="bundled")
    parser.add_argument("--plan", type=plan_use, default=AUTO, help="server.plan.use: auto, off or a plan's id")
    parser.add_argument("--rate", type=float, help="requests a second; else a share of what the server answers")
    parser.add_argument("--gap", type=float, default=0.5, help="seconds between two swaps")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the server's model")
    parser.add_argument("--device", default="auto", help="of the server's model, as model.device: auto, cpu, cuda")
    parser.add_argument("--picture", type=Path, help="PNG: latency and memory over time, with the swaps")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    options = parser.parse_args()
    if options.gap < LEAST_GAP_SECONDS:
        parser.error(f"--gap: at least {LEAST_GAP_SECONDS:g}, so that memory is looked at between swaps, too")
    options.device = choose_device(options.device)
    options.swaps = options.swaps or (QUICK_SWAPS if options.quick else FULL_SWAPS)
    return options


if __name__ == "__main__":
    main()
