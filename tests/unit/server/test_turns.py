"""Work beside the answers waits for its turn, its share and its end."""

import pytest

from services.server import turns
from services.server.turns import AbandonedError, Turns
from shared.plan_settings import PlanSettings


class Clock:
    """Time passes by waiting and by work alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(turns.time, "monotonic", lambda: self.now)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def work(self) -> None:
        self.now += 1.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_it_rests_so_that_its_share_of_the_time_is_kept(clock: Clock) -> None:
    mine = Turns(PlanSettings(share=0.25), lambda: False, clock.wait)
    for _ in range(10):
        mine.take(clock.work)
    assert clock.now == pytest.approx(10 + 9 * 3)


def test_it_waits_for_a_gap_and_no_longer_than_its_patience(clock: Clock) -> None:
    Turns(PlanSettings(share=1, patience_seconds=2), lambda: clock.now < 0.5, clock.wait).take(clock.work)
    assert clock.now == pytest.approx(1.5, abs=0.1)
    Turns(PlanSettings(share=1, patience_seconds=2), lambda: True, clock.wait).take(clock.work)
    assert clock.now == pytest.approx(1.5 + 3, abs=0.1)


def test_work_that_fails_is_rested_from_too(clock: Clock) -> None:
    mine = Turns(PlanSettings(share=0.5), lambda: False, clock.wait)

    def fail() -> None:
        clock.work()
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        mine.take(fail)
    mine.take(clock.work)
    assert clock.now == pytest.approx(3)


def test_what_is_not_wanted_any_more_is_not_done(clock: Clock) -> None:
    with pytest.raises(AbandonedError):
        Turns(PlanSettings(), lambda: False, lambda seconds: True).take(lambda: pytest.fail("was done"))
