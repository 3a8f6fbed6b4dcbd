"""What fresh rows add up to: a worse champion is found within the rows that the watch is known to need."""

import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator.comparison import Flips
from services.evaluator.vigil import Alarm, Vigil
from shared.metrics import Role
from shared.monitor_settings import MonitorSettings

ACCURACY, DISCORDANCE = 0.85, 0.10
Rows = NDArray[np.bool_]


def paired(drop: float, rows: int, seed: int, accuracy: float = ACCURACY) -> tuple[Rows, Rows]:
    """(champion right, previous right): they differ on a tenth of rows, or on as many as the drop needs."""
    discordance = max(DISCORDANCE, drop)
    only_previous, only_champion = (discordance + drop) / 2, (discordance - drop) / 2
    both = accuracy - only_previous
    kind = np.random.default_rng(seed).choice(4, rows, p=[both, only_previous, only_champion, 1 - both - discordance])
    return np.isin(kind, (0, 2)), np.isin(kind, (0, 1))


def told(champion: Rows, previous: Rows, **settings: object) -> Vigil:
    vigil = Vigil([Role.CHAMPION, Role.PREVIOUS], MonitorSettings.model_validate(settings))
    for offset, (one, other) in enumerate(zip(champion, previous, strict=True)):
        vigil.add(offset, {Role.CHAMPION: bool(one), Role.PREVIOUS: bool(other)})
    return vigil


def delay(champion: Rows, previous: Rows, quiet: int = 0) -> float:
    """Rows after the quiet ones until the alarm; negative for a false one, infinite without any."""
    vigil = Vigil([Role.CHAMPION, Role.PREVIOUS], MonitorSettings())
    for offset, (one, other) in enumerate(zip(champion, previous, strict=True)):
        vigil.add(offset, {Role.CHAMPION: bool(one), Role.PREVIOUS: bool(other)})
        if vigil.alarms:
            return offset + 1 - quiet
    return np.inf


def alarm_of(vigil: Vigil) -> Alarm | None:
    return vigil.alarms.get(Role.PREVIOUS)


@pytest.mark.parametrize(("drop", "median", "slowest"), [(0.05, 500, 850), (0.10, 200, 300)])
def test_a_worse_champion_is_proven_so_within_the_predicted_rows(drop: float, median: int, slowest: int) -> None:
    """Delays from the promotion on; the prediction is for a watch that has seen quiet rows, whose pots are fuller."""
    delays = [delay(*paired(drop, 3000, seed)) for seed in range(40)]
    assert np.median(delays) <= 1.5 * median
    assert np.quantile(delays, 0.9) <= 1.5 * slowest


@pytest.mark.parametrize(("drop", "median", "slowest"), [(0.05, 500, 850), (0.10, 200, 300)])
def test_after_quiet_rows_the_delay_is_the_predicted_one(drop: float, median: int, slowest: int) -> None:
    delays, quiet = [], 1000
    for seed in range(40):
        before, after = paired(0.0, quiet, seed), paired(drop, 3000, seed + 1000)
        delays.append(delay(*(np.concatenate(rows) for rows in zip(before, after, strict=True)), quiet))
    true = [found for found in delays if found > 0]
    assert len(true) >= 37
    assert np.median(true) <= median + 50
    assert np.quantile(true, 0.9) <= slowest + 50


def test_a_champion_that_is_no_worse_is_rarely_accused() -> None:
    delays = [delay(*paired(0.0, 10_000, seed)) for seed in range(12)]
    assert np.isfinite(delays).sum() <= 2


def test_a_stream_that_gets_harder_for_both_accuses_nobody() -> None:
    accused = 0
    for seed in range(10):
        easy, hard = paired(0.0, 1000, seed), paired(0.0, 2000, seed + 99, accuracy=0.70)
        vigil = told(*(np.concatenate(rows) for rows in zip(easy, hard, strict=True)))
        accused += alarm_of(vigil) is not None
        assert vigil.drifts, "its errors drifted all the same"
    assert accused <= 1


def test_the_alarm_says_what_it_saw() -> None:
    champion = np.array([False] * 100 + [True] * 100)
    alarm = alarm_of(told(champion, np.ones(200, np.bool_)))
    assert alarm is not None
    assert (alarm.role, alarm.bet.offset) == (Role.PREVIOUS, 49)
    assert alarm.bet.flips == Flips(wins=0, losses=50, ties=0)
    assert alarm.bet.pot >= 200


def test_every_bet_is_told_once_with_what_both_models_got_right() -> None:
    champion = np.array([True] * 30 + [False] * 70)
    vigil = told(champion, np.array([True] * 100), batch_rows=50)
    first, second = vigil.take_bets()[Role.PREVIOUS]
    assert (first.offset, first.flips, first.both_right) == (49, Flips(wins=0, losses=20, ties=30), 30)
    assert (second.flips.rows, second.champion_accuracy, second.earlier_accuracy) == (100, 0.3, 1.0)
    assert second.pot == vigil.watches[Role.PREVIOUS].mean_pot
    assert vigil.take_bets() == {Role.PREVIOUS: []}


def test_nothing_is_bet_on_a_batch_that_is_distrusted() -> None:
    assert told(np.zeros(50, np.bool_), np.zeros(50, np.bool_)).take_bets() == {Role.PREVIOUS: []}


def test_flipped_labels_accuse_nobody_although_the_better_model_looks_worse() -> None:
    worse, better = paired(0.10, 2000, 1)
    assert alarm_of(told(champion=~better, previous=~worse)) is None
    assert alarm_of(told(champion=~better, previous=~worse, trust_floor=0.0)) is not None


def test_rows_of_a_distrusted_batch_are_counted_but_prove_no_drift() -> None:
    right, wrong = np.ones(1000, np.bool_), np.zeros(500, np.bool_)
    rows = np.concatenate([right, wrong])
    vigil = told(rows, rows)
    assert vigil.distrusted_rows == 500
    assert vigil.drifts == []
    assert vigil.prequential.overall(Role.CHAMPION).rows == 1500


def test_a_champion_that_fails_alone_is_not_excused() -> None:
    assert alarm_of(told(np.zeros(50, np.bool_), np.ones(50, np.bool_))) is not None


def test_an_incomplete_batch_proves_nothing_yet() -> None:
    vigil = told(np.zeros(49, np.bool_), np.ones(49, np.bool_))
    assert vigil.watches[Role.PREVIOUS].rows == 0
    assert alarm_of(vigil) is None


def test_the_same_rows_in_the_same_order_give_the_same_state() -> None:
    champion, previous = paired(0.05, 1234, 5)
    one, other = told(champion, previous), told(champion, previous)
    assert one.watches == other.watches
    assert one.alarms == other.alarms
    assert one.prequential.against(Role.PREVIOUS) == other.prequential.against(Role.PREVIOUS)
