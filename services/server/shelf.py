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


class Shelf:
    """Folders `VERSION-DIGEST` and a `current.json` that names the last model that served here, and the one before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "current.json"
        folder.mkdir(parents=True, exist_ok=True)

    def folder(self, card: Card) -> Path:
        """Where this model's files belong; they may not be there."""
        return self._folder / card.folder_name

    def last(self) -> list[Card]:
        """The models that served here last, the latest first; empty if none did or the record is damaged."""
        try:
            record = _Record.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            log.warning("record_unreadable", file=str(self._file), error=str(error))
            return []
        return [card for card in (record.current, record.previous) if card is not None]

    def knows(self, card: Card) -> bool:
        """Whether it is one of the last that served here."""
        return any(card.folder_name == known.folder_name for known in self.last())

    def keep(self, card: Card) -> None:
        """Notes that this model serves now, and deletes all but it and the one before. A crash leaves either note."""
        before = [known for known in self.last() if known.folder_name != card.folder_name]
        record = _Record(current=card, previous=before[0] if before else None)
        self._write(record.model_dump_json(indent=2))
        self._sweep({known.folder_name for known in (record.current, record.previous) if known is not None})

    def discard(self, card: Card) -> None:
        """Deletes files that turned out bad."""
        shutil.rmtree(self.folder(card), ignore_errors=True)

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
