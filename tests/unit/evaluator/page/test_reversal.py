"""The page of a rollback: both models on the same reviews, the evidence over them, who, why, and when who served."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator.bets import ALARM, Bet
from services.evaluator.comparison import Flips
from services.evaluator.page.document import rollback_page
from services.evaluator.page.reversal import Reversal, reigns
from shared.events import Decision, Verdict
from tests.unit.evaluator.builders import NOW, decision
from tests.unit.evaluator.page.test_document import HOSTILE, TAGS
from tests.unit.evaluator.page.test_markup import Reader, read

BETS = tuple(
    Bet(50 * place + 49, Flips(2 * place, 9 * place, 39 * place), 30 * place, 3.0**place) for place in range(1, 8)
)
ASKED = BETS[4]
GATE = {"wins": 94, "losses": 56, "ties": 928, "rows": 1078, "evidence_safe": 622.0}


def promotion(number: int, version: str, before: str | None, hours_ago: float) -> Decision:
    at = NOW - timedelta(hours=hours_ago)
    return decision(number, Verdict.PROMOTE, version, before, numbers=GATE, decided_at=at)


MOVES = (promotion(1, "1", None, 100.0), promotion(2, "2", "1", 60.0), promotion(5, "5", "2", 7.2))


def rollback(**more: Any) -> Decision:
    fields = {"decided_by": "watch", "numbers": ASKED.numbers() | {ALARM: 200.0}, "reasons": ("it is worse",)}
    return decision(6, Verdict.ROLLBACK, "2", "5", **(fields | more))


def page(entry: Decision | None = None, bets: tuple[Bet, ...] = BETS, moves: tuple[Decision, ...] = MOVES) -> Reader:
    entry = entry or rollback()
    links = {"version 2 in MLflow": "http://127.0.0.1:5000/#/2"}
    return read(rollback_page(Reversal(entry, (*moves, entry), bets, links)))


def test_it_begins_with_who_put_which_version_back_and_why() -> None:
    found = page()
    assert "Version 2 was put back in service by the watch, in place of version 5." in found.text
    assert "it is worse" in found.text
    assert "version 2 was right on 78.0%, version 5 on 64.0%" in found.text
    assert ("href", "http://127.0.0.1:5000/#/2") in found.attributes


def test_both_accuracies_are_of_the_reviews_that_the_rollback_rests_on() -> None:
    text = page().text
    assert "version 5, in service then160 of 25064.0%" in text
    assert "version 2, put back195 of 25078.0%" in text
    assert "Only version 2 was right on 45, only version 5 on 10; on the other 195" in text
    assert "Evidence that version 5 is worse: 243 of the 200" in text


def test_the_evidence_is_drawn_over_the_reviews_with_the_alarm() -> None:
    found = page()
    assert "alarm: 200" in found.text
    assert "asked for" in found.text
    assert found.tags.count("polyline") == 3
    lines = [value for name, value in found.attributes if name == "points"]
    assert [len(str(line).split()) for line in lines] == [len(BETS)] * 3


def test_the_two_models_stand_side_by_side() -> None:
    text = page().text
    assert "version 5: rolled backversion 2: put back in service" in text
    assert "version 2 (the champion): 94 wins, 56 losses on 1,078 reviews" in text
    assert "in service, all in all7 h 12 min2 d 4 h" in text


def test_who_was_in_service_when_is_told_up_to_now() -> None:
    text = page().text
    assert "version 128 Dec 2025, 23:04 UTC30 Dec 2025, 15:04 UTC1 d 16 ha promotion (decision 1)" in text
    assert "in service when this was writtena rollback by the watch (decision 6)" in text


def test_a_version_that_comes_back_has_two_reigns() -> None:
    entry = rollback()
    assert [reign.version for reign in reigns((*MOVES, entry))] == ["1", "2", "5", "2"]


def test_what_happens_next_says_how_to_undo_it() -> None:
    text = page().text
    assert "Version 5 is never promoted again by the gate" in text
    assert 'tidemill rollback --to 5 --why "…"' in text


def test_an_operators_rollback_shows_what_the_watch_had_seen_by_then() -> None:
    text = page(rollback(decided_by="ana", numbers={}, reasons=("customers complain",))).text
    assert "put back in service by ana" in text
    assert "On 350 of them" in text
    assert "asked for" not in text
    assert "alarm:" not in text


def test_where_the_watch_had_seen_nothing_that_is_said() -> None:
    found = page(rollback(decided_by="ana", numbers={}), bets=())
    assert "Nothing is known here that both versions answered" in found.text
    assert "polyline" not in found.tags


def test_without_the_bets_the_ledger_still_gives_the_counts() -> None:
    found = page(bets=())
    assert "version 2, put back195 of 25078.0%" in found.text
    assert "polyline" not in found.tags


def test_of_a_version_whose_promotion_is_unknown_nothing_is_invented() -> None:
    text = page(moves=MOVES[2:]).text
    assert "version 2: put back in service" in text
    assert "2 d 4 h" not in text


def test_a_stranger_never_becomes_part_of_the_page() -> None:
    written = rollback_page(Reversal(entry := rollback(decided_by=HOSTILE, reasons=(HOSTILE,)), (*MOVES, entry), BETS))
    assert HOSTILE not in written
    assert "<script" not in written


@pytest.mark.parametrize("pot", [0.0, 1e-300, 1.0, 1e300])
@pytest.mark.parametrize("count", [1, 60])
def test_any_evidence_can_be_drawn(pot: float, count: int) -> None:
    bets = tuple(Bet(place, Flips(0, 0, place + 1), 0, pot) for place in range(count))
    numbers = [float(y) for y in _heights(page(bets=bets))]
    assert all(0 <= y <= 308 for y in numbers)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1e12)), min_size=1, max_size=60))
@settings(max_examples=25)
def test_whatever_was_seen_nothing_is_drawn_beyond_the_border_and_nothing_runs(
    seen: list[tuple[int, int, float]],
) -> None:
    wins, losses = (np.cumsum([row[place] for row in seen]).tolist() for place in (0, 1))
    bets = tuple(
        Bet(place, Flips(win, loss, 50 * (place + 1)), 50 * place, pot)
        for place, (win, loss, (_, _, pot)) in enumerate(zip(wins, losses, seen, strict=True))
    )
    found = page(bets=bets)
    assert set(found.tags) <= TAGS
    assert all(0 <= y <= 308 for y in _heights(found))


def _heights(found: Reader) -> list[float]:
    points = [str(value) for name, value in found.attributes if name == "points"]
    return [float(pair.split(",")[1]) for line in points for pair in line.split()]
