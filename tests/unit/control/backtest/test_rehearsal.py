"""A policy played on a small stream: it learns, promotes on proof, and keeps a poisoned window out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from services.control.backtest.judging import BASELINE
from services.control.backtest.linear import LinearLearner
from services.control.backtest.policy import Policy
from services.control.backtest.recording import cut
from services.control.backtest.rehearsal import Rehearsal
from services.control.backtest.result import PolicyResult, summarise
from services.control.backtest.store import Floats, Store
from tests.unit.control.backtest.builders import policy, recording, row

WINDOWS, POISONED = 6, 3
ROWS = [row(offset, flipped=offset // 100 == POISONED) for offset in range(100 * WINDOWS)]


def always_negative(texts: Sequence[str]) -> Floats:
    return np.tile(np.array([[0.9, 0.1]], np.float32), (len(texts), 1))


def played(folder: Path, tried: Policy) -> PolicyResult:
    store = Store(folder, LinearLearner())
    return Rehearsal(tried, cut(recording(ROWS), tried.window), store, always_negative).run()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def result(folder: Path) -> PolicyResult:
    return played(folder, policy())


def test_the_first_window_is_answered_by_the_baseline_and_the_next_by_what_was_learned(result: PolicyResult) -> None:
    assert (result.eras[0].accuracy, result.eras[0].verdict) == (0.5, "promote")
    assert result.eras[1].accuracy > 0.9


def test_the_poisoned_window_is_not_promoted_and_locked_away(result: PolicyResult) -> None:
    poisoned = result.eras[POISONED]
    assert poisoned.accuracy < 0.1
    assert (poisoned.verdict, poisoned.quarantined) == ("reject", True)
    assert [era.quarantined for era in result.eras].count(True) == 1


def test_a_promotion_is_judged_by_rows_that_had_no_part_in_it(result: PolicyResult) -> None:
    first = result.promotions[0]
    assert (first.instead_of, first.window_id) == (BASELINE, result.eras[0].window_id)
    assert first.rows == 40 * (WINDOWS - 2)  # all hold-outs but its own and the one that is locked away
    assert first.delta is not None
    assert not first.harmful
    assert first.delta > 0.4


def test_the_grid_shows_who_served_and_how_well(result: PolicyResult) -> None:
    grid = result.grid
    assert len(grid.accuracy) == len(grid.models) == len(result.promotions)
    assert len(grid.serving) == len(grid.accuracy[0]) == WINDOWS
    last = grid.accuracy[grid.serving[-1]][-1]
    assert last is not None
    assert last > 0.9


def test_another_policy_takes_from_the_cache_what_it_shares(folder: Path, result: PolicyResult) -> None:
    same, other = played(folder, policy("same")), played(folder, policy("other", epochs=1))
    assert summarise(same).from_cache == summarise(same).trained == WINDOWS
    assert same.grid == result.grid
    assert summarise(other).from_cache == 0
