"""Pictures of a decision: drawn from any number of models and labels, without a display."""

from pathlib import Path

import numpy as np
import pytest

from services.evaluator.exam import BASELINE, CHALLENGER, CHAMPION
from services.evaluator.report import draw_all, reliability
from services.evaluator.suites import FRESH, POOL
from shared.events import Score

PNG = b"\x89PNG"


def test_a_calibrated_model_lies_on_the_diagonal() -> None:
    confidence = np.repeat([0.55, 0.95], [100, 100])
    right = np.concatenate([np.arange(100) < 55, np.arange(100) < 95])
    means, shares = reliability(confidence, right)
    assert means == pytest.approx([0.55, 0.95])
    assert shares == pytest.approx([0.55, 0.95])


def test_certainty_falls_into_the_last_bin() -> None:
    means, shares = reliability(np.array([1.0, 1.0]), np.array([True, False]))
    assert (list(means), list(shares)) == ([1.0], [0.5])


@pytest.mark.parametrize("label_names", [("negative", "positive"), ("bad", "fair", "good")])
def test_every_picture_is_a_png(tmp_path: Path, label_names: tuple[str, ...]) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, len(label_names), 60)
    tables = random.dirichlet(np.ones(len(label_names)), 60).astype(np.float32)
    champion = np.roll(tables, 1, axis=0)
    right = {
        CHALLENGER: tables.argmax(axis=1) == labels,
        CHAMPION: champion.argmax(axis=1) == labels,
        BASELINE: labels == 0,
    }
    suites = {FRESH: np.arange(60) < 20, POOL: np.ones(60, np.bool_)}
    scores = [Score(model=CHALLENGER, rows_name=POOL, rows=60, metrics={"accuracy": 0.5})]
    pictures = draw_all(
        tmp_path / "w", suites, right, scores, {CHALLENGER: tables, CHAMPION: champion}, labels, label_names
    )
    assert [path.stem for path in pictures] == ["difference", "accuracy", "reliability", "confusion"]
    assert all(path.read_bytes().startswith(PNG) for path in pictures)
