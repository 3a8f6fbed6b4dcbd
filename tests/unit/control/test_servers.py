"""Who serves what, and who does not follow the ledger."""

from datetime import UTC, datetime, timedelta

import pytest

from services.control.servers import behind, replicas
from shared.events import CanaryState, ServerPhase, ServerState, ServingRole
from tests.unit.control.test_orders import FIRST, REJECTED, SECOND

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SILENT, LATE = 90.0, 60.0


def state(name: str, version: str | None, age: float = 1.0, phase: ServerPhase = ServerPhase.SERVING) -> ServerState:
    reason = "no space left" if phase is ServerPhase.FAILED else None
    at = NOW - timedelta(seconds=age)
    return ServerState(replica_id=name, version=version, phase=phase, reason=reason, url=f"http://{name}", at=at)


def decided(seconds_ago: float) -> list[object]:
    move = SECOND.model_copy(update={"decided_at": NOW - timedelta(seconds=seconds_ago)})
    return [FIRST, move, REJECTED]


def wrong(*states: ServerState, seconds_ago: float = 100.0) -> list[str]:
    return behind(replicas(states, SILENT, NOW), decided(seconds_ago), LATE, NOW)  # type: ignore[arg-type]


def test_a_row_says_who_serves_what_and_how_old_the_news_is() -> None:
    canary = CanaryState(version="4", role=ServingRole.CANARY, share=0.1, phase=ServerPhase.SERVING)
    (replica,) = replicas([state("a", "3").model_copy(update={"canary": canary})], SILENT, NOW)
    assert replica.row() == {
        "replica": "a",
        "version": "3",
        "plan": None,
        "phase": "serving",
        "reason": None,
        "canary": "4 canary 10.00%",
        "canary_phase": "serving",
        "canary_reason": None,
        "url": "http://a",
        "seconds_ago": 1,
    }


def test_a_replica_that_says_nothing_for_long_is_silent() -> None:
    fresh, silent = replicas([state("a", "3", SILENT), state("b", "3", SILENT + 1)], SILENT, NOW)
    assert (fresh.is_silent, silent.is_silent) == (False, True)
    assert silent.row()["phase"] == "silent"


def test_clocks_that_differ_make_nobody_older_than_now() -> None:
    (replica,) = replicas([state("a", "3", -5.0)], SILENT, NOW)
    assert replica.age_seconds == 0.0


def test_who_serves_another_version_long_after_the_decision_is_behind() -> None:
    assert wrong(state("a", "3"), state("b", "1"), state("c", None)) == [
        "b serves version 1, the champion is 3",
        "c serves version none, the champion is 3",
    ]
    assert wrong(state("b", "1", phase=ServerPhase.FAILED)) == [
        "b serves version 1, the champion is 3: no space left",
    ]


@pytest.mark.parametrize("seconds_ago", [0.0, LATE])
def test_shortly_after_a_decision_nobody_is_behind(seconds_ago: float) -> None:
    assert wrong(state("b", "1"), seconds_ago=seconds_ago) == []


def test_who_is_silent_raises_no_alarm() -> None:
    assert wrong(state("b", "1", SILENT + 1)) == []


def test_before_the_first_promotion_nobody_is_behind() -> None:
    assert behind(replicas([state("a", None)], SILENT, NOW), [], LATE, NOW) == []
