"""Whose reign it is, whom it is compared with, and which reviews are fresh to it."""

from datetime import timedelta
from typing import Any

from services.evaluator.exam import Model
from services.evaluator.reign import Reign, Succession
from shared.events import Decision, Verdict
from shared.metrics import Role
from tests.unit.evaluator.builders import DIGEST, NOW, decision, window, window_id

LATER = NOW + timedelta(hours=1)


def model(version: str) -> Model:
    return Model(version, DIGEST)


def promoted(number: int, version: str, before: str | None, **more: Any) -> Decision:
    return decision(number, Verdict.PROMOTE, version, before, **more)


def after(*decisions: Decision, windows: int = 10) -> Succession:
    found = Succession()
    for sequence in range(windows):
        found.close(window(sequence))
    for entry in decisions:
        found.enter(entry, LATER)
    return found


def reign_after(*decisions: Decision) -> Reign:
    reign = after(*decisions).reign()
    assert reign is not None
    return reign


def test_without_a_champion_there_is_no_reign() -> None:
    assert after().reign() is None
    assert after(decision(1, Verdict.REJECT, "1", None)).reign() is None


def test_the_first_champion_is_compared_with_nobody() -> None:
    reign = reign_after(promoted(1, "1", None))
    assert reign.contenders == {Role.CHAMPION: model("1")}
    assert reign.champion == model("1")
    assert reign.number == 1


def test_reviews_are_fresh_behind_the_window_that_the_promotion_looked_at() -> None:
    assert reign_after(promoted(1, "1", None, window_id=window_id(2))).after_offset == 2999
    looked = promoted(1, "1", None, window_id=window_id(2), looked_window_id=window_id(5))
    assert reign_after(looked).after_offset == 5999


def test_a_reign_waits_until_its_window_is_known() -> None:
    succession = after(promoted(1, "1", None, window_id=window_id(2)), windows=2)
    assert succession.reign() is None
    succession.close(window(2))
    assert succession.reign() is not None


def test_decisions_that_move_nobody_begin_no_reign() -> None:
    first = promoted(1, "1", None)
    assert reign_after(first, decision(2, Verdict.REJECT, "2", "1")) == reign_after(first)


def test_previous_and_anchor_are_compared_with_and_no_version_twice() -> None:
    first, second = promoted(1, "1", None, anchor="1"), promoted(2, "2", "1", anchor="1")
    assert reign_after(first, second).contenders == {Role.CHAMPION: model("2"), Role.PREVIOUS: model("1")}
    third = reign_after(first, second, promoted(3, "3", "2", anchor="1"))
    assert third.contenders == {Role.CHAMPION: model("3"), Role.PREVIOUS: model("2"), Role.ANCHOR: model("1")}
    fourth = reign_after(first, second, promoted(3, "3", "2"), promoted(4, "4", "3"))
    assert fourth.contenders[Role.ANCHOR] == model("1"), "an entry without anchor leaves it where it was"


def test_after_a_rollback_what_spoke_against_the_deposed_is_not_fresh() -> None:
    first, second = promoted(1, "1", None), promoted(2, "2", "1", anchor="2")
    reign = reign_after(first, second, decision(3, Verdict.ROLLBACK, "1", "2"))
    assert reign.contenders == {Role.CHAMPION: model("1")}, "a deposed version is no yardstick, anchor or not"
    assert (reign.number, reign.after_offset, reign.after) == (3, 1999, LATER)


def test_a_version_without_digest_is_not_compared_with() -> None:
    reign = reign_after(promoted(1, "1", None, model_digest=None), promoted(2, "2", "1"))
    assert reign.contenders == {Role.CHAMPION: model("2")}
