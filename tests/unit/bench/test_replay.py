"""The replay's world: nothing held out is learned, wrong labels come by whole windows, the truth stays apart."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from bench.gate.policies import REPLAYED
from bench.gate.replay import ReplaySettings, ReplayWorld, Reviews, play_all
from bench.gate.reviews import distinct, in_folder
from shared.errors import ConfigurationError

SETTINGS = ReplaySettings(train_rows=40, fresh_rows=10, pool_rows=30, most_windows=8)


def reviews(rows: int = 600) -> Reviews:
    """Two words that tell the label, and eight that do not."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, rows)
    noise = rng.random((rows, 8))
    return Reviews(csr_matrix(np.column_stack([labels, 1 - labels, noise]).astype(np.float32)), labels)


def test_a_model_learns_and_the_pool_keeps_its_size() -> None:
    world = ReplayWorld(reviews(), SETTINGS, seed=1)
    for _ in range(5):
        world.advance()
        model = world.train(0)
        world.keep({0, model})
    assert world.accuracy(model) > 0.9
    assert world.flips(0, model, pooled=True).rows == 30
    assert world.flips(0, model, pooled=False).rows == 10


def test_flipped_windows_make_a_worse_model_that_looks_better_on_their_own_rows() -> None:
    always_flipped = ReplaySettings(**(_fields() | {"flipped_share": 1.0, "replayed": 0.0, "epochs": 20}))
    world = ReplayWorld(reviews(), always_flipped, seed=1)
    world.advance()
    poisoned = world.train(0)
    assert world.accuracy(poisoned) < world.accuracy(0)
    assert world.flips(0, poisoned, pooled=False).delta > 0


def test_every_policy_sees_the_same_stream() -> None:
    first, again = (play_all(REPLAYED[:1], reviews(), SETTINGS, seed=3) for _ in range(2))
    assert first == again
    assert first[0].promotions == 8


def test_windows_are_what_is_left_after_truth_and_first_model() -> None:
    assert SETTINGS.windows(reviews=400) == (400 - 80) // 50 - 1
    assert SETTINGS.windows(reviews=100_000) == 8


def test_reviews_of_a_folder_are_read_and_each_counts_once(tmp_path: Path) -> None:
    lines = [("Good.", 1), ("good", 1), ("Bad!", 0), ("", 0)]
    with gzip.open(tmp_path / "some.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": text, "label": label, "stars": 5}) + "\n" for text, label in lines)
    assert distinct(in_folder(tmp_path)) == [("Bad!", 0), ("good", 1)]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no \*.jsonl.gz"):
        list(in_folder(tmp_path))


def _fields() -> dict[str, float]:
    return {name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}
