"""What the stream holds for the judgement of bases: both kinds of windows, and which labels nobody trusts."""

from collections.abc import Collection
from typing import Protocol

from services.evaluator.bases.texts import LatestTexts, TextBook
from services.evaluator.inbox import read_event
from services.evaluator.ledger import Ledger
from services.evaluator.windows import LatestRows, Manifests, WindowBook
from shared.archive import Archive
from shared.envelope import decode
from shared.events import Command, Decision, UnlabeledWindow
from shared.rebuilds import LeftOut
from shared.topics import CONTROL_COMMANDS, MODELS_DECISIONS, WINDOWS_UNLABELED, Topic

FOLLOWED: tuple[Topic, ...] = (WINDOWS_UNLABELED, MODELS_DECISIONS, CONTROL_COMMANDS)


class Topics(Manifests, Protocol):
    """Topics that are followed from their beginning."""

    def close(self) -> None:
        """Lets go of the connection."""


class StreamBook:
    """Folds what others publish; the rows themselves are read when they are asked for."""

    def __init__(self, prefix: str, records: Topics, manifests: Topics, archive: Archive) -> None:
        """Args: records: of the topics in `FOLLOWED`; manifests: of `windows.closed`."""
        self._texts, self._commands = (topic.full_name(prefix) for topic in (WINDOWS_UNLABELED, CONTROL_COMMANDS))
        self._records, self._manifests = records, manifests
        self._labelled, self._unlabelled = WindowBook(manifests, archive), TextBook(archive)
        self._models = Ledger()

    def refresh(self) -> None:
        """Reads what is new.

        Raises: LedgerCorruptError if the ledger of models contradicts itself.
        """
        self._labelled.refresh()
        for record in self._records.catch_up():
            if record.topic == self._texts:
                self._unlabelled.enter(decode(UnlabeledWindow, record.value, record.where()))
            elif record.topic == self._commands:
                command = read_event(Command, record)
                self._models = self._models if command is None else self._models.heeding(command)
            else:
                self._models = self._models.after(decode(Decision, record.value, record.where()))

    def close(self) -> None:
        """Lets go of the topics."""
        self._records.close()
        self._manifests.close()

    def unknown(self, window_ids: Collection[str], labelled_window_ids: Collection[str]) -> list[str]:
        """Windows that were not closed."""
        missing = [window_id for window_id in labelled_window_ids if not self._labelled.knows(window_id)]
        return [*self._unlabelled.unknown(window_ids), *missing]

    def texts(self, newest_window_id: str, size: int) -> LatestTexts:
        """The newest held-out unlabelled reviews, up to a window."""
        return self._unlabelled.latest(newest_window_id, size)

    def rows(self, seen: Collection[str], size: int) -> LatestRows:
        """The newest held-out labelled reviews, up to the newest of the windows seen.

        As for models, those of quarantined windows are not among them, nor those that a model's line was rebuilt
        without: what is wrong with their labels says nothing about a base.
        """
        newest = self._labelled.newest_trusted(seen, ())
        assert newest is not None, "the windows seen are known"
        without = LeftOut.of(self._models.left_out)
        return self._labelled.latest(newest, self._models.quarantined, size, without)
