"""What the topics remember: windows, candidates, decisions and rejected records, read back for people."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from shared.envelope import decode
from shared.events import (
    BaseCandidate,
    BaseDecision,
    Candidate,
    ClosedWindow,
    Command,
    Decision,
    ServerState,
    UnlabeledWindow,
    Verdict,
)
from shared.kafka import Record, iterate_topic, read_topic
from shared.settings import Settings
from shared.topics import (
    BASES_CANDIDATES,
    BASES_DECISIONS,
    CONTROL_COMMANDS,
    MODELS_CANDIDATES,
    MODELS_DECISIONS,
    REVIEWS_REJECTED,
    SERVERS_STATE,
    WINDOWS_CLOSED,
    WINDOWS_UNLABELED,
    Topic,
)

AnyEvent = TypeVar("AnyEvent", bound=BaseModel)
PREVIEW_CHARS = 200


def _read(settings: Settings, topic: Topic, model: type[AnyEvent]) -> list[AnyEvent]:
    return [decode(model, record.value, record.where()) for record in read_topic(settings, "history", topic)]


def windows(settings: Settings) -> list[ClosedWindow]:
    """Every closed window, oldest first."""
    return _read(settings, WINDOWS_CLOSED, ClosedWindow)


def unlabeled_windows(settings: Settings) -> list[UnlabeledWindow]:
    """Every closed window of unlabelled text, oldest first."""
    return _read(settings, WINDOWS_UNLABELED, UnlabeledWindow)


def decisions(settings: Settings) -> list[Decision]:
    """The ledger, oldest first."""
    return _read(settings, MODELS_DECISIONS, Decision)


def candidates(settings: Settings) -> list[Candidate]:
    """Every candidate, oldest first."""
    return _read(settings, MODELS_CANDIDATES, Candidate)


def base_candidates(settings: Settings) -> list[BaseCandidate]:
    """Every adaptation of the base that ended, oldest first."""
    return _read(settings, BASES_CANDIDATES, BaseCandidate)


def base_decisions(settings: Settings) -> list[BaseDecision]:
    """The ledger of bases, oldest first."""
    return _read(settings, BASES_DECISIONS, BaseDecision)


def commands(settings: Settings) -> list[Command]:
    """Every order, oldest first."""
    return _read(settings, CONTROL_COMMANDS, Command)


def servers(settings: Settings) -> list[ServerState]:
    """What each replica said last."""
    states = {state.replica_id: state for state in _read(settings, SERVERS_STATE, ServerState)}
    return sorted(states.values(), key=lambda state: state.replica_id)


def champion(ledger: list[Decision]) -> str | None:
    """The version that the ledger puts in service."""
    moves = [entry for entry in ledger if entry.verdict in (Verdict.PROMOTE, Verdict.ROLLBACK)]
    return moves[-1].champion_after if moves else None


@dataclass(frozen=True)
class RejectedRecord:
    """One record that was no review."""

    offset: int
    reason: str
    detail: str
    origin: str
    preview: str


def rejected(settings: Settings, reason: str | None, limit: int) -> list[RejectedRecord]:
    """The latest `limit` rejected records, of one reason if given, oldest first."""
    latest: list[RejectedRecord] = []
    for record in iterate_topic(settings, "history", REVIEWS_REJECTED):
        entry = _rejected(record)
        if reason is None or entry.reason == reason:
            latest.append(entry)
            del latest[:-limit]
    return latest


def _rejected(record: Record) -> RejectedRecord:
    value = record.value or b""
    return RejectedRecord(
        offset=record.offset,
        reason=_header(record, "tidemill_reason"),
        detail=_header(record, "tidemill_detail"),
        origin=_header(record, "tidemill_origin"),
        preview=value[:PREVIEW_CHARS].decode(errors="replace"),
    )


def _header(record: Record, name: str) -> str:
    return record.headers.get(name, b"?").decode(errors="replace")
