"""A rollback is refused before it is ordered when there is nothing to roll back to."""

import pytest

from services.control.orders import check_rollback, wait_for
from services.control.session import RefusedError
from shared.events import Decision, Verdict, utc_now


def entry(number: int, version: str, verdict: Verdict, before: str | None, after: str | None) -> Decision:
    return Decision(
        number=number,
        version=version,
        window_id=f"w-{number}",
        verdict=verdict,
        reasons=(),
        champion_before=before,
        champion_after=after,
        decided_at=utc_now(),
    )


FIRST = entry(1, "1", Verdict.PROMOTE, None, "1")
REJECTED = entry(2, "2", Verdict.REJECT, "1", "1")
SECOND = entry(3, "3", Verdict.PROMOTE, "1", "3")


@pytest.mark.parametrize(
    ("ledger", "target", "message"),
    [
        ([], None, "nothing was promoted"),
        ([FIRST, REJECTED], None, "first champion"),
        ([FIRST, REJECTED, SECOND], "2", "no former champion; possible: 1"),
        ([FIRST, SECOND], "3", "no former champion"),
    ],
)
def test_a_rollback_to_nowhere_is_refused(ledger: list[Decision], target: str | None, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        check_rollback(ledger, target)


@pytest.mark.parametrize("target", [None, "1"])
def test_a_former_champion_may_come_back(target: str | None) -> None:
    check_rollback([FIRST, REJECTED, SECOND], target)


def test_waiting_ends_when_it_is_so_or_when_time_is_up() -> None:
    assert wait_for(lambda: True, 0)
    assert not wait_for(lambda: False, 0)
