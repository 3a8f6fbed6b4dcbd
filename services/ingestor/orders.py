"""Orders to close the open window, as they stand in `control.commands`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog

from shared.envelope import decode
from shared.errors import UnreadableRecordError
from shared.events import Command, CommandKind
from shared.kafka import Record

log = structlog.get_logger("windower")


@dataclass(frozen=True, slots=True)
class Order:
    """A command to close the window, with its broker time and the position behind it."""

    command: Command
    given_at: datetime
    next_offset: int


def read_orders(records: Iterable[Record]) -> Iterator[Order]:
    """The commands to close a window; what others may have written there is passed over."""
    for record in records:
        try:
            command = decode(Command, record.value, record.where())
        except UnreadableRecordError as error:
            log.warning("command_ignored", error=str(error))
            continue
        if command.kind in (CommandKind.CLOSE_WINDOW, CommandKind.DRIFT):
            yield Order(command, record.published_at, record.offset + 1)
