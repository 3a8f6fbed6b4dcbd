"""Reads decisions and orders from Kafka, and folds them into the champion and the challenger beside it."""

import structlog

from services.server.champion import Champion, ChampionFold
from shared.canary import Canary, CanaryFold
from shared.envelope import decode
from shared.errors import UnreadableRecordError
from shared.events import Command, Decision
from shared.kafka import Follower, Record, create_topics
from shared.settings import Settings
from shared.topics import CONTROL_COMMANDS, MODELS_DECISIONS

log = structlog.get_logger("ledger")


class LedgerReader:
    """The champion by the ledger, as far as it has been read. Connects when first asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._fold = settings, ChampionFold()
        self._canaries = CanaryFold(settings.server.canary)
        self._orders = CONTROL_COMMANDS.full_name(settings.stream.prefix)
        self._follower: Follower | None = None

    @property
    def champion(self) -> Champion | None:
        """The champion after the entries read so far."""
        return self._fold.champion

    @property
    def canary(self) -> Canary | None:
        """Who should answer beside the champion, after the entries and orders read so far."""
        return self._canaries.canary

    def ended(self, canary: Canary) -> str:
        """Why this one should not any more."""
        return self._canaries.ended(canary)

    @property
    def connected(self) -> bool:
        """Whether Kafka has answered at least once."""
        return self._follower is not None

    def poll(self, seconds: float) -> None:
        """Takes what is new, waiting at most `seconds`. A silent Kafka looks like nothing new: see `catch_up`."""
        self._add(self._connection().poll(seconds))

    def catch_up(self) -> None:
        """Reads to the end as it is now.

        Raises:
            BrokerUnavailableError: Kafka does not answer.
        """
        for record in self._connection().catch_up():
            self._add([record])

    def _connection(self) -> Follower:
        if self._follower is None:
            create_topics(self._settings)
            self._follower = Follower(self._settings, "server", [MODELS_DECISIONS, CONTROL_COMMANDS])
        return self._follower

    def _add(self, records: list[Record]) -> None:
        for record in records:
            try:
                self._take(record)
            except UnreadableRecordError as error:
                # A later server may read it; this one keeps to what it understands.
                log.error("record_unreadable", error=str(error))

    def _take(self, record: Record) -> None:
        if record.topic == self._orders:
            self._canaries.ordered(decode(Command, record.value, record.where()))
            return
        decision = decode(Decision, record.value, record.where())
        self._fold.add(decision)
        self._canaries.decided(decision)

    def close(self) -> None:
        """Lets go of the connection."""
        if self._follower is not None:
            self._follower.close()
