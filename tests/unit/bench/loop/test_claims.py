"""Every claim is borne out by some runs and not by others."""

from typing import Any

import pytest

from bench.loop.claims import claims
from bench.loop.measures import Outcome
from bench.loop.policies import POLICIES, VARIANTS

MIDDLING: dict[str, Any] = {
    "accuracy": 0.70,
    "final_accuracy": 0.7,
    "backward_transfer": -0.05,
    "forgotten": 0.05,
    "promotions": 40,
    "harmful": 20,
    "worst": -0.05,
    "unserved": 1,
    "trainings": 50,
    "row_passes": 1_000.0,
    "seconds": 1.0,
    "by_window": (0.6, 0.7, 0.7),
}
GOOD = {"accuracy": 0.75, "harmful": 1, "row_passes": 500.0, "backward_transfer": -0.01}


def held(ours: dict[str, Any], **theirs: dict[str, Any]) -> list[bool]:
    changes: dict[str, dict[str, Any]] = {"ours": ours, **theirs}
    runs = {each.name: [Outcome(**MIDDLING | changes.get(each.name, {}))] * 2 for each in (*POLICIES, *VARIANTS)}
    return [claim.holds for claim in claims((*POLICIES, *VARIANTS), runs)]


def test_all_hold_for_a_policy_that_is_good_in_everything() -> None:
    assert held(GOOD) == [True] * 5


@pytest.mark.parametrize(
    ("place", "worse"),
    [
        (0, {"accuracy": 0.689}),
        (1, {"accuracy": 0.70}),
        (2, {"harmful": 2}),
        (3, {"row_passes": 501.0}),
        (4, {"backward_transfer": -0.06}),
    ],
)
def test_each_fails_alone_where_its_own_number_is_short(place: int, worse: dict[str, Any]) -> None:
    found = held(GOOD | worse)
    assert not found[place]
    assert sum(found) >= (3 if place == 0 else 4)  # within a point of nobody is above nobody either


def test_a_point_behind_the_best_is_near_enough_if_no_gate_is_better() -> None:
    assert held(GOOD, everything={"accuracy": 0.7599}) == [True] * 5
    assert held(GOOD, everything={"accuracy": 0.7601})[0] is False


def test_a_better_variant_of_ours_is_no_rival() -> None:
    assert held(GOOD, **{"replay-1": {"accuracy": 0.9}}) == [True] * 5


def test_what_is_lost_before_our_first_promotion_is_told_apart() -> None:
    ours = GOOD | {"unserved": 2, "by_window": (0.1, 0.1, 0.9)}
    runs = {each.name: [Outcome(**MIDDLING)] for each in POLICIES} | {"ours": [Outcome(**MIDDLING | ours)]}
    assert claims(POLICIES, runs)[0].numbers["once_served"].mean == pytest.approx(0.2)
