"""Reads the decisions from Kafka and folds them into the champion."""

import structlog

from services.server.champion import Champion, ChampionFold
from shared.envelope import decode
from shared.errors import UnreadableRecordError
from shared.events import Decision
from shared.kafka import Follower, Record, create_topics
from shared.settings import Settings
from shared.topics import MODELS_DECISIONS

log = structlog.get_logger("ledger")


class LedgerReader:
    """The champion by the ledger, as far as it has been read. Connects when first asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._fold = settings, ChampionFold()
        self._follower: Follower | None = None

    @property
    def champion(self) -> Champion | None:
        """The champion after the entries read so far."""
        return self._fold.champion

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
            self._follower = Follower(self._settings, "server", [MODELS_DECISIONS])
        return self._follower

    def _add(self, records: list[Record]) -> None:
        for record in records:
            try:
                self._fold.add(decode(Decision, record.value, record.where()))
            except UnreadableRecordError as error:
                # A later server may read it; this one keeps to what it understands.
                log.error("decision_unreadable", error=str(error))

    def close(self) -> None:
        """Lets go of the connection."""
        if self._follower is not None:
            self._follower.close()
