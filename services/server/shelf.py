"""Proven models on this machine's disk, so that a restart serves even with Kafka and MLflow both gone."""

import os
import shutil
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from services.server.card import Card

log = structlog.get_logger("shelf")


class _Record(BaseModel):
    """What current.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    current: Card
    previous: Card | None = None
    beside: Card | None = None


class Shelf:
    """Folders `VERSION-DIGEST` and a `current.json` that names the last model that served here, and the one before.

    And the one beside it, a challenger's, so that its files are spared too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "current.json"
        folder.mkdir(parents=True, exist_ok=True)

    def folder(self, card: Card) -> Path:
        """Where this model's files belong; they may not be there."""
        return self._folder / card.folder_name

    def last(self) -> list[Card]:
        """The models that served here last, the latest first; empty if none did or the record is damaged."""
        record = self._read()
        return [card for card in (record.current, record.previous) if card is not None] if record else []

    def proven(self) -> list[Card]:
        """The last ones, and the challenger that was proven here."""
        record = self._read()
        return self.last() + ([record.beside] if record and record.beside else [])

    def knows(self, card: Card) -> bool:
        """Whether it is one of the last that served here."""
        return any(card.folder_name == known.folder_name for known in self.last())

    def keep(self, card: Card) -> None:
        """Notes that this model serves now, and deletes what is not noted. A crash leaves either note."""
        known = self._read()
        before = [other for other in self.last() if other.folder_name != card.folder_name]
        beside = known.beside if known and known.beside and known.beside.folder_name != card.folder_name else None
        self._note(_Record(current=card, previous=before[0] if before else None, beside=beside))

    def keep_beside(self, card: Card | None) -> None:
        """Notes which challenger's files to spare, or none's. Without a model that served here, nothing is noted."""
        if (known := self._read()) is not None:
            self._note(known.model_copy(update={"beside": card}))

    def discard(self, card: Card) -> None:
        """Deletes files that turned out bad."""
        shutil.rmtree(self.folder(card), ignore_errors=True)

    def _read(self) -> _Record | None:
        try:
            return _Record.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("record_unreadable", file=str(self._file), error=str(error))
            return None

    def _note(self, record: _Record) -> None:
        self._write(record.model_dump_json(indent=2))
        cards = (record.current, record.previous, record.beside)
        self._sweep({card.folder_name for card in cards if card is not None})

    def _write(self, text: str) -> None:
        temporary = self._file.with_suffix(".new")
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file)

    def _sweep(self, kept: set[str]) -> None:
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
