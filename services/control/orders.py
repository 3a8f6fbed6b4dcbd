"""Orders to the services: written to `control.commands` with who and why; whom they concern carries them out."""

import getpass
import time
from collections.abc import Callable

from services.control import history
from services.control.session import RefusedError
from shared.events import Command, CommandKind, Decision, new_id, utc_now
from shared.kafka import Producer
from shared.settings import Settings
from shared.topics import CONTROL_COMMANDS

DELIVERY_SECONDS = 15.0
LOOK_SECONDS = 0.5


def issue(settings: Settings, kind: CommandKind, target: str | None, who: str | None, why: str) -> Command:
    """Sends an order and returns it once Kafka has it.

    Raises:
        BrokerUnavailableError: Kafka did not take it.
    """
    command = written(kind, target, who, why)
    send(settings, command)
    return command


def written(kind: CommandKind, target: str | None, who: str | None, why: str, against: str | None = None) -> Command:
    """An order that nobody has yet."""
    return Command(
        command_id=new_id(),
        kind=kind,
        target=target,
        against=against,
        who=who or getpass.getuser(),
        why=why,
        issued_at=utc_now(),
    )


def send(settings: Settings, command: Command) -> None:
    """Returns once Kafka has the order.

    Raises:
        BrokerUnavailableError: Kafka did not take it.
    """
    producer = Producer(settings, "control")
    try:
        producer.send(CONTROL_COMMANDS, command.command_id, command).wait(DELIVERY_SECONDS)
    finally:
        producer.close()


def check_rollback(ledger: list[Decision], target: str | None) -> None:
    """Refuses a rollback that cannot be: before anything was promoted, or to a version that never was champion.

    Raises:
        RefusedError: Saying which versions may be named.
    """
    before = {entry.champion_before for entry in ledger} | {entry.champion_after for entry in ledger}
    current = history.champion(ledger)
    possible = sorted((before - {None, current}), key=str)
    if current is None:
        raise RefusedError("nothing was promoted yet, so there is nothing to roll back")
    if not possible:
        raise RefusedError(f"version {current} is the first champion; there is none before it")
    if target is not None and target not in possible:
        raise RefusedError(f"version {target} is no former champion; possible: {', '.join(map(str, possible))}")


def wait_for(look: Callable[[], bool], seconds: float) -> bool:
    """Looks until it is so, at most `seconds`. Returns whether it is."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() >= end:
            return False
        time.sleep(LOOK_SECONDS)
    return True
