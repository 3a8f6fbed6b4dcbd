"""A challenger beside the champion is refused before it is ordered when the servers would refuse it."""

from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from services.control.app import app
from services.control.canary import check, follows, parse_share, role_of, said
from services.control.servers import replicas
from services.control.session import RefusedError
from shared.events import (
    CanaryState,
    CanaryTerms,
    Command,
    CommandKind,
    ServerPhase,
    ServerState,
    ServingRole,
    Verdict,
)
from tests.unit.control.test_orders import FIRST, REJECTED, SECOND, entry
from tests.unit.server.api_client import LINEAGE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMPLETE = (LINEAGE.to_tags(), True)


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.1", 0.1), ("100%", 1.0), ("1", 1.0)])
def test_a_share_is_written_as_people_do(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "0%", "-1%", "101%", "1.1", "ten", "nan", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no share"):
        parse_share(text)


def test_a_share_makes_a_canary_and_shadow_a_shadow() -> None:
    assert role_of("5", 0.1, shadow=False, off=False) is ServingRole.CANARY
    assert role_of("5", None, shadow=True, off=False) is ServingRole.SHADOW
    assert role_of("5", 0.1, shadow=True, off=False) is ServingRole.SHADOW


@pytest.mark.parametrize(
    ("version", "share", "shadow", "off", "says"),
    [
        (None, 0.1, False, False, "name the version"),
        ("5", None, False, False, "say --share"),
        ("5", None, False, True, "--off ends whatever"),
        (None, 0.1, False, True, "--off ends whatever"),
        (None, None, True, True, "--off ends whatever"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    version: str | None, share: float | None, shadow: bool, off: bool, says: str
) -> None:
    with pytest.raises(RefusedError, match=says):
        role_of(version, share, shadow, off)


def test_a_challenger_on_which_nothing_is_decided_may_answer() -> None:
    check("5", [FIRST], COMPLETE)
    check("5", [FIRST, entry(2, "5", Verdict.UNDECIDED, "1", "1")], COMPLETE)


@pytest.mark.parametrize(
    ("ledger", "version", "found", "says"),
    [
        ([], "5", COMPLETE, "nothing was promoted yet"),
        ([FIRST], "1", COMPLETE, "is the champion"),
        ([FIRST, REJECTED], "2", COMPLETE, "rejected by entry 2"),
        ([FIRST, SECOND.model_copy(update={"number": 2})], "1", COMPLETE, "rollback --to 1"),
        ([FIRST], "5", (None, False), "not in the registry"),
        ([FIRST], "5", (COMPLETE[0], False), "weights of version 5 are deleted"),
        ([FIRST], "5", ({}, True), "not complete"),
    ],
)
def test_a_version_that_may_not_is_refused_with_the_reason(
    ledger: list[Any], version: str, found: tuple[dict[str, str] | None, bool], says: str
) -> None:
    with pytest.raises(RefusedError, match=says):
        check(version, ledger, found)


def test_a_wrong_share_is_told_on_the_command_line() -> None:
    result = CliRunner().invoke(app, ["canary", "5", "--share", "200%", "--why", "to see"])
    assert result.exit_code == 2
    assert "is no share" in result.output


def order(version: str | None, share: float = 0.1) -> Command:
    terms = CanaryTerms(role=ServingRole.CANARY, share=share, decision=1)
    return Command(
        command_id="c", kind=CommandKind.CANARY, target=version, canary=terms, who="a", why="b", issued_at=NOW
    )


def state(name: str, phase: ServerPhase | None, share: float = 0.1, reason: str | None = None) -> ServerState:
    canary = phase and CanaryState(version="5", role=ServingRole.CANARY, share=share, phase=phase, reason=reason)
    return ServerState(replica_id=name, version="1", phase=ServerPhase.SERVING, canary=canary, at=NOW)


@pytest.mark.parametrize(
    ("phase", "share", "does"),
    [
        (ServerPhase.SERVING, 0.1, True),
        (ServerPhase.FAILED, 0.1, True),
        (ServerPhase.LOADING, 0.1, False),
        (ServerPhase.SERVING, 0.2, False),
        (None, 0.1, False),
    ],
)
def test_a_server_follows_once_it_serves_or_says_that_it_cannot(
    phase: ServerPhase | None, share: float, does: bool
) -> None:
    (replica,) = replicas([state("a", phase, share)], 90.0, NOW)
    assert follows(replica, order("5")) == does
    assert follows(replica, order(None)) == (phase is None)


def test_what_came_of_an_order_names_those_that_could_not() -> None:
    found = replicas([state("a", ServerPhase.SERVING), state("b", ServerPhase.FAILED, reason="no memory")], 90.0, NOW)
    assert said(found, order("5")) == ["Version 5 answers 10.00% of the callers on 1 of 2 servers.", "b: no memory"]
    assert said(found, order(None)) == ["The champion answers alone on 2 of 2 servers."]
    assert "no server is running" in said([], order("5"))[0]
