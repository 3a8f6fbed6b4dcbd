"""Test-then-train accuracy: of everything, of the latest, and paired."""

from services.evaluator.comparison import Flips
from services.evaluator.prequential import Prequential
from services.evaluator.quarantine import Tally
from shared.metrics import Role

BOTH = (Role.CHAMPION, Role.PREVIOUS)


def fed(*rows: tuple[bool, bool], recent_rows: int = 2) -> Prequential:
    """(champion right, previous right) by row."""
    found = Prequential(BOTH, recent_rows)
    for row in rows:
        found.add(dict(zip(BOTH, row, strict=True)))
    return found


def test_all_rows_and_the_latest_are_counted_apart() -> None:
    found = fed((True, False), (True, True), (False, True))
    assert (found.overall(Role.CHAMPION), found.overall(Role.PREVIOUS)) == (Tally(2, 3), Tally(2, 3))
    assert (found.recent(Role.CHAMPION), found.recent(Role.PREVIOUS)) == (Tally(1, 2), Tally(2, 2))


def test_pairs_are_counted_from_the_champions_side() -> None:
    found = fed((True, False), (True, False), (False, True), (True, True), (False, False))
    assert found.against(Role.PREVIOUS) == Flips(wins=2, losses=1, ties=2)


def test_without_rows_nothing_is_right() -> None:
    found = fed()
    assert found.rows == 0
    assert found.overall(Role.CHAMPION) == found.recent(Role.CHAMPION) == Tally(0, 0)


def test_a_champion_without_predecessor_is_counted_alone() -> None:
    found = Prequential([Role.CHAMPION], 10)
    found.add({Role.CHAMPION: True})
    assert found.overall(Role.CHAMPION) == Tally(1, 1)
