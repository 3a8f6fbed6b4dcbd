"""Adapted bases as their gate meets them, with everything that a test does not care about filled in."""

from typing import Any

import numpy as np

from services.evaluator.bases.gate import Comparison
from services.evaluator.bases.guesses import Guesses
from shared.events import (
    AdaptationMetrics,
    BaseCandidate,
    BaseDecision,
    CandidateStatus,
    Side,
    Snapshot,
    SplitRecord,
    Trigger,
    UnlabeledWindow,
    Verdict,
)
from tests.unit.evaluator.builders import DIGEST, NOW, window_id

EXAM_DIGEST = "e" * 64


def text_window_id(sequence: int) -> str:
    return f"u-{1000 * sequence:010d}"


def text_window(sequence: int, **more: Any) -> UnlabeledWindow:
    fields = {
        "window_id": text_window_id(sequence),
        "sequence": sequence,
        "first_offset": 1000 * sequence,
        "last_offset": 1000 * sequence + 999,
        "reviews": 1000,
        "kept": 1000,
        "set_aside": (),
        "sides": {Side.TRAIN: 700, Side.HOLDOUT: 300},
        "sources": {},
        "origins": {},
        "first_published_at": NOW,
        "last_published_at": NOW,
        "trigger": Trigger.COUNT,
        "trigger_detail": "1000 rows",
        "split": SplitRecord(
            salt="s", holdout_share=300, calibration_share=0, validation_share=0, normaliser_version="1"
        ),
        "snapshot": Snapshot(path=f"unlabeled/{text_window_id(sequence)}", sha256=DIGEST, size_bytes=1),
        "closed_at": NOW,
    }
    return UnlabeledWindow(**(fields | more))


def base_candidate(sequence: int, version: str | None = "1", **more: Any) -> BaseCandidate:
    fields = {
        "window_id": text_window_id(sequence),
        "window_ids": (text_window_id(sequence),),
        "status": CandidateStatus.READY,
        "version": version,
        "run_id": f"run-{version}",
        "model_digest": DIGEST,
        "exam_digest": EXAM_DIGEST,
        "probe_window_ids": (window_id(0),),
        "metrics": AdaptationMetrics(steps=30, tokens_seen=9_000, loss_before=4.0, loss_after=3.0, seconds=12.5),
        "created_at": NOW,
    }
    return BaseCandidate(**(fields | more))


def base_decision(
    number: int, verdict: Verdict, version: str | None, before: str | None = None, **more: Any
) -> BaseDecision:
    fields = {
        "number": number,
        "version": version,
        "window_id": text_window_id(number),
        "verdict": verdict,
        "reasons": ("because",),
        "base_before": before,
        "base_after": version if verdict is Verdict.PROMOTE else before,
        "model_digest": DIGEST,
        "run_id": f"run-{version}",
        "decided_at": NOW,
    }
    return BaseDecision(**(fields | more))


def guesses(saved: float, rows: int = 200, *, noise: float = 0.5, seed: int = 0) -> Guesses:
    """Reviews of different lengths, in which about `saved` nats are saved a guess."""
    chance = np.random.default_rng(seed)
    counts = chance.integers(1, 20, rows)
    before = 3.0 * counts + chance.normal(0.0, noise, rows) * np.sqrt(counts)
    return Guesses(before, before - saved * counts + chance.normal(0.0, noise, rows) * np.sqrt(counts), counts)


def answers(wins: int, losses: int, right: int, wrong: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Whether the parent's classifier and the adapted base's are right; on the rest both or neither."""
    before = np.array([False] * wins + [True] * losses + [True] * right + [False] * wrong, np.bool_)
    after = np.array([True] * wins + [False] * losses + [True] * right + [False] * wrong, np.bool_)
    return before, after


def comparison(saved: float = 0.5, wins: int = 60, losses: int = 20, right: int = 1_920) -> Comparison:
    """By default one that passes both terms."""
    return Comparison(guesses(saved), *answers(wins, losses, right))
