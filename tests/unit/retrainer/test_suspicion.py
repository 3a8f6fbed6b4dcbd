"""Flipped labels stand out against a model that never saw them; a hard or a new domain does not."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from services.retrainer.suspicion import distrust, report_on, suspicious_rows
from shared.label_quality import NO_SOURCE, QualityReport, Suspects
from shared.training_settings import LabelQualitySettings

SETTINGS = LabelQualitySettings()


def answers(rows: int, accuracy: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """True labels, and the calibrated scores of a model of this accuracy: log odds are N(s^2/2, s^2)."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, rows)
    spread = 2 * norm.ppf(accuracy)
    odds = chance.normal(spread**2 / 2, spread, rows) * (2 * truth - 1)
    positive = 1 / (1 + np.exp(-odds))
    return truth, np.stack([1 - positive, positive], axis=1)


def verdict(accuracy: float, flipped: float, rows: int = 600) -> str | None:
    truth, scores = answers(rows, accuracy)
    wrong = np.arange(rows) < flipped * rows
    return asked(np.where(wrong, 1 - truth, truth), scores, ["shop"] * rows)


def asked(labels: NDArray[np.int64], scores: NDArray[np.float64], sources: list[str]) -> str | None:
    return distrust(report_on(suspicious_rows(labels, scores), sources), SETTINGS)


@pytest.mark.parametrize("accuracy", [0.7, 0.78, 0.85, 0.92])
def test_a_window_of_flipped_labels_is_not_learned(accuracy: float) -> None:
    assert "'shop'" in (verdict(accuracy, flipped=1.0) or "")


@pytest.mark.parametrize(("accuracy", "flipped"), [(0.6, 0.0), (0.7, 0.0), (0.78, 0.1), (0.92, 0.2)])
def test_a_domain_that_the_model_finds_hard_and_usual_mistakes_are_learned(accuracy: float, flipped: float) -> None:
    assert verdict(accuracy, flipped) is None


def test_one_broken_source_condemns_the_window_and_is_named() -> None:
    truth, scores = answers(600, 0.85)
    broken = np.arange(600) % 4 == 0
    sources = np.where(broken, "importer", "shop").tolist()
    why = asked(np.where(broken, 1 - truth, truth), scores, sources)
    assert why is not None
    assert "of the 150 from 'importer'" in why


def test_a_source_that_gives_few_rows_condemns_nothing() -> None:
    report = QualityReport(
        window=Suspects(suspicious=60, rows=600),
        sources={"rare": Suspects(suspicious=20, rows=20), "shop": Suspects(suspicious=40, rows=580)},
    )
    assert distrust(report, SETTINGS) is None


def test_rows_without_a_source_are_counted_together() -> None:
    assert report_on(np.zeros(50, np.bool_), [None] * 50).sources == {NO_SOURCE: Suspects(suspicious=0, rows=50)}


def test_where_a_label_is_missing_nothing_can_be_told() -> None:
    _, scores = answers(20, 0.9)
    assert not suspicious_rows(np.zeros(20, np.int64), scores).any()
    assert asked(np.zeros(0, np.int64), scores[:0], []) is None
