"""A window is locked away only on two proofs, and hardly ever by mistake."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.comparison import Flips, harm
from services.evaluator.quarantine import Tally, drop_p_value, quarantine_verdict
from shared.gate_settings import QuarantineSettings

SETTINGS = QuarantineSettings()
WORSE = Flips(wins=20, losses=200, ties=600)
EQUAL = Flips(wins=40, losses=40, ties=700)
NORMAL = Tally(800, 1_000)
FLIPPED = Tally(110, 540)


def alarms(here: float, elsewhere: float, rows: int, runs: int = 1_500, seed: int = 11) -> float:
    """Share of simulated windows whose drop counts as proven."""
    random = np.random.default_rng(seed)
    right = random.binomial(rows, here, runs), random.binomial(1_500, elsewhere, runs)
    pairs, counts = np.unique(np.column_stack(right), axis=0, return_counts=True)
    p = [drop_p_value(Tally(int(ours), rows), Tally(int(rest), 1_500), SETTINGS.drop) for ours, rest in pairs]
    return float(counts[np.array(p) <= SETTINGS.alpha].sum() / runs)


def test_a_window_of_flipped_labels_is_locked_away() -> None:
    verdict = quarantine_verdict(WORSE, FLIPPED, NORMAL, SETTINGS)
    assert harm(WORSE) >= SETTINGS.odds
    assert verdict.quarantine
    assert "proven worse on other windows" in verdict.reason
    assert json.loads(verdict.model_dump_json())["numbers"]["champion_right_here"] == 110


def test_a_new_domain_with_a_bad_challenger_is_not() -> None:
    """The champion does well enough on it: proven worse alone locks nothing away."""
    verdict = quarantine_verdict(WORSE, Tally(400, 540), NORMAL, SETTINGS)
    assert not verdict.quarantine
    assert "not proven (p 1" in verdict.reason


def test_a_hard_domain_with_an_innocent_challenger_is_not() -> None:
    verdict = quarantine_verdict(EQUAL, FLIPPED, NORMAL, SETTINGS)
    assert not verdict.quarantine
    assert "not proven worse" in verdict.reason


@pytest.mark.parametrize(("here", "elsewhere"), [(None, None), (FLIPPED, None), (None, NORMAL)])
def test_without_a_scored_champion_model_never(here: Tally | None, elsewhere: Tally | None) -> None:
    assert not quarantine_verdict(WORSE, here, elsewhere, SETTINGS).quarantine


@pytest.mark.parametrize(
    ("here", "elsewhere"), [(Tally(0, 0), NORMAL), (FLIPPED, Tally(0, 0)), (Tally(0, 9), Tally(1, 9))]
)
def test_too_few_rows_prove_nothing(here: Tally, elsewhere: Tally) -> None:
    assert drop_p_value(here, elsewhere, SETTINGS.drop) == 1.0
    assert not quarantine_verdict(WORSE, here, elsewhere, SETTINGS).quarantine


def test_equal_accuracy_gives_no_false_alarm() -> None:
    assert alarms(0.8, 0.8, rows=240) == 0.0


@pytest.mark.parametrize("elsewhere", [0.6, 0.8, 0.95])
@pytest.mark.parametrize("rows", [40, 400])
def test_a_drop_of_exactly_the_limit_alarms_within_its_level(rows: int, elsewhere: float) -> None:
    assert alarms(elsewhere - SETTINGS.drop, elsewhere, rows) <= SETTINGS.alpha


@pytest.mark.parametrize(("rows", "power"), [(80, 0.9), (240, 0.999)])
def test_a_drop_of_forty_points_is_found(rows: int, power: float) -> None:
    assert alarms(0.4, 0.8, rows) >= power


@given(st.integers(0, 500), st.integers(0, 1_000))
def test_fewer_right_rows_never_weaken_the_proof(here: int, elsewhere: int) -> None:
    rest = Tally(elsewhere, 1_000)
    p = drop_p_value(Tally(here, 500), rest, SETTINGS.drop)
    assert 0.0 < p <= 1.0
    assert drop_p_value(Tally(here // 2, 500), rest, SETTINGS.drop) <= p


@pytest.mark.parametrize(("right", "rows"), [(3, 2), (-1, 2), (0, -1)])
def test_an_impossible_tally_is_refused(right: int, rows: int) -> None:
    with pytest.raises(ValueError, match="between 0 and all"):
        Tally(right, rows)
