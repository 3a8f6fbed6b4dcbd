"""What a load over many swaps says: whose answers they were, how long they took, and what memory did."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.serve.claims import Claim
from bench.serve.measures import OK, Answers, percentile

FP32, FP32_TOLERANCE = "fp32", 1e-5
MOST_TIMES_SLOWER = 2.0
MOST_GROWTH = 0.1
# While one model is let go and the next one loaded; the half is for what loading needs.
MOST_MODELS_MORE = 1.5
# Of the swaps, and at the least: until then caches fill and the allocator finds its size.
WARM_UP_SHARE, WARM_UP_SWAPS = 0.3, 5
# Of the looks, at either end.
JUDGED_SHARE = 0.1


@dataclass(frozen=True)
class Swap:
    """One promotion, from the first word about it until the server serves it and nothing else. Monotonic seconds."""

    version: str
    begin: float
    end: float


@dataclass(frozen=True)
class Checked:
    """What the answers were.

    Attributes:
        by_version, by_plan: how many were answered. wrong: answers that are not those of the version that they name.
        largest_difference: from its reference, of any answer.
    """

    answered: int
    failed: int
    wrong: int
    by_version: dict[str, int]
    by_plan: dict[str, int]
    largest_difference: float


@dataclass(frozen=True)
class Waited:
    """Latency in milliseconds, of requests that met a swap and of those that did not."""

    during: int
    between: int
    p50_during: float | None
    p99_during: float | None
    p50_between: float | None
    p99_between: float | None


@dataclass(frozen=True)
class Memory:
    """Resident memory of the server, MiB, after the warm-up.

    Attributes:
        begin, end: between the first swaps and between the last ones. one: the least between two swaps, with one model
            in memory. peak: at any time. per_100_swaps: the slope of a line through all looks.
    """

    begin: float
    end: float
    one: float
    peak: float
    per_100_swaps: float


def check(answers: Answers, references: Mapping[str, NDArray[np.float64]], label: str, tolerance: float) -> Checked:
    """Holds each answer against the reference of the version that it names.

    It must be nearer to that version's than to any other's, and within 1e-5 of it, or `tolerance` under a plan that
    does not compute in fp32.

    Args: references: probability of the label by version, one for each text.
    """
    by_version: Counter[str] = Counter()
    by_plan: Counter[str] = Counter()
    wrong, largest = 0, 0.0
    for text, status, body in zip(answers.text.tolist(), answers.status.tolist(), answers.bodies, strict=True):
        if status != OK:
            continue
        said = json.loads(body)
        version, plan = said["model"]["version"], said["model"]["plan"]
        score = said["predictions"][0]["scores"][label]
        by_version[version] += 1
        by_plan[plan] += 1
        distances = {name: abs(score - float(reference[text])) for name, reference in references.items()}
        own = distances.get(version, 1.0)
        largest = max(largest, own)
        wrong += own > min(distances.values()) or own > (FP32_TOLERANCE if FP32 in plan else tolerance)
    answered = answers.answered
    return Checked(answered, len(answers.status) - answered, wrong, dict(by_version), dict(by_plan), largest)


def apart(references: Sequence[NDArray[np.float64]], least: float) -> list[int]:
    """The texts whose answer tells any two of the versions apart by at least so much."""
    rows = np.sort(np.stack(references), axis=0)
    return np.flatnonzero(np.diff(rows, axis=0).min(axis=0) >= least).tolist()


def meets(answers: Answers, swaps: Sequence[Swap]) -> NDArray[np.bool_]:
    """Which requests were under way during a swap. Args: swaps: one after the other."""
    return _overlap(answers.intended, answers.done, swaps)


def _overlap(begun: NDArray[np.float64], until: NDArray[np.float64], swaps: Sequence[Swap]) -> NDArray[np.bool_]:
    begins, ends = np.array([each.begin for each in swaps]), np.array([each.end for each in swaps])
    following = np.searchsorted(ends, begun)
    return np.append(begins, np.inf)[following] <= until


def waited(answers: Answers, swaps: Sequence[Swap]) -> Waited:
    """Every request since the first swap's begin, whatever became of it."""
    counted = answers.done >= swaps[0].begin
    during = counted & meets(answers, swaps)
    between = counted & ~during
    met, others = answers.milliseconds[during], answers.milliseconds[between]
    return Waited(
        len(met),
        len(others),
        percentile(met, 0.5),
        percentile(met, 0.99),
        percentile(others, 0.5),
        percentile(others, 0.99),
    )


def memory_of(looks: Sequence[tuple[float, float]], swaps: Sequence[Swap]) -> Memory:
    """After the swaps of the warm-up. Args: looks: when, in monotonic seconds, and MiB; some after the last swap."""
    settled = swaps[min(max(WARM_UP_SWAPS, int(len(swaps) * WARM_UP_SHARE)), len(swaps) - 1)].begin
    times, mib = np.array([look for look in looks if look[0] >= settled]).T
    between = mib[~_overlap(times, times, swaps)]
    judged = max(1, int(len(between) * JUDGED_SHARE))
    swaps_a_second = len(swaps) / (swaps[-1].end - swaps[0].begin)
    slope = float(np.polyfit(times - times[0], mib, 1)[0]) if len(mib) > 1 else 0.0
    return Memory(
        begin=float(np.median(between[:judged])),
        end=float(np.median(between[-judged:])),
        one=float(between.min()),
        peak=float(mib.max()),
        per_100_swaps=100 * slope / swaps_a_second,
    )


def swap_claims(
    checked: Checked, wait: Waited, memory: Memory, versions: int, weights_mib: float, on_gpu: Memory | None = None
) -> list[Claim]:
    """Judges every claim.

    Args: versions: that took turns. weights_mib: of one model, in fp32. on_gpu: memory of the GPU, where there is one.
    """
    times = wait.p99_during / wait.p99_between if wait.p99_during and wait.p99_between else None
    held = on_gpu or memory  # where the weights lie
    above = (held.peak - held.one) / weights_mib
    return [
        Claim("no request failed", checked.failed == 0, {"answered": checked.answered, "failed": checked.failed}),
        Claim(
            "every answer is from the version that it names, and every version answered",
            checked.wrong == 0 and len(checked.by_version) == versions,
            {"wrong": checked.wrong, "versions": len(checked.by_version), "differ": checked.largest_difference},
        ),
        Claim(
            f"p99 during swaps: at most {MOST_TIMES_SLOWER:g} times that between them",
            None if times is None else times <= MOST_TIMES_SLOWER,
            {"during": wait.p99_during, "between": wait.p99_between, "times": times},
        ),
        _is_flat("memory", memory),
        *([_is_flat("memory of the GPU", on_gpu)] if on_gpu else []),
        Claim(
            f"memory at its peak: less than {MOST_MODELS_MORE:g} models more than with one",
            above < MOST_MODELS_MORE,
            {"one": held.one, "peak": held.peak, "model": weights_mib, "models_more": above},
        ),
    ]


def _is_flat(what: str, memory: Memory) -> Claim:
    grew = memory.end / memory.begin - 1
    return Claim(
        f"{what} is flat: it grew by at most {MOST_GROWTH:.0%}",
        memory.end <= (1 + MOST_GROWTH) * memory.begin,
        {"begin": memory.begin, "end": memory.end, "grew": grew, "per_100_swaps": memory.per_100_swaps},
    )
