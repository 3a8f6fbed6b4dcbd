"""Rows for the judgement of bases follow both kinds of windows, and leave out labels that nobody trusts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.evaluator.bases.stream import StreamBook
from shared.archive import Archive, UnlabeledRow
from shared.envelope import encode
from shared.errors import LedgerCorruptError
from shared.events import ClosedWindow, CommandKind, Event, Side, UnlabeledWindow, Verdict
from shared.kafka import Record
from shared.settings import load_settings
from shared.topics import CONTROL_COMMANDS, MODELS_DECISIONS, WINDOWS_CLOSED, WINDOWS_UNLABELED, Topic
from tests.unit.evaluator.bases.builders import text_window, text_window_id
from tests.unit.evaluator.builders import NOW, command, decision, snapshot_row, window, window_id

PREFIX = "mill"


class Published:
    """Topics, each record read once."""

    def __init__(self) -> None:
        self.unread: list[Record] = []
        self.closed = False

    def publish(self, topic: Topic, event: Event) -> None:
        self.unread.append(Record(topic.full_name(PREFIX), 0, 0, NOW, None, encode(event), {}))

    def catch_up(self) -> Iterator[Record]:
        while self.unread:
            yield self.unread.pop(0)

    def close(self) -> None:
        self.closed = True


class Mill:
    """A stream in memory with its archive on disk."""

    def __init__(self, home: Path) -> None:
        self.archive = Archive(load_settings(home=home, stream={"prefix": PREFIX}))
        self.others, self.manifests = Published(), Published()
        self.book = StreamBook(PREFIX, self.others, self.manifests, self.archive)

    def label(self, sequence: int, sources: tuple[str, ...] = ("a", "b")) -> ClosedWindow:
        """Closes a labelled window with a held-out review of each source."""
        rows = [
            snapshot_row(1000 * sequence + place, f"labelled {sequence} {source}")._replace(source=source)
            for place, source in enumerate(sources)
        ]
        closed = window(sequence, snapshot=self.archive.write(window_id(sequence), rows))
        self.manifests.publish(WINDOWS_CLOSED, closed)
        return closed

    def text(self, sequence: int) -> UnlabeledWindow:
        """Closes a window of one held-out text."""
        offset = 1000 * sequence
        row = UnlabeledRow(offset, str(offset), f"text {sequence}", Side.HOLDOUT, None, None, 0, offset, NOW)
        snapshot = self.archive.write_unlabeled(text_window_id(sequence), [row])
        closed = text_window(sequence, snapshot=snapshot)
        self.others.publish(WINDOWS_UNLABELED, closed)
        return closed

    def labelled(self, newest: int = 1) -> list[str]:
        self.book.refresh()
        return [row.text for row in self.book.rows([window_id(newest)], 100).rows]


@pytest.fixture
def mill(tmp_path: Path) -> Mill:
    found = Mill(tmp_path)
    for sequence in range(3):
        found.label(sequence)
        found.text(sequence)
    return found


def test_rows_of_both_kinds_come_up_to_the_windows_that_a_candidate_names(mill: Mill) -> None:
    assert mill.labelled() == ["labelled 0 a", "labelled 0 b", "labelled 1 a", "labelled 1 b"]
    assert mill.book.texts(text_window_id(1), 100).texts == ("text 0", "text 1")


def test_a_quarantined_windows_rows_are_left_out_until_it_is_released(mill: Mill) -> None:
    distrusted = decision(1, Verdict.REJECT, "1", None, window_id=window_id(1), quarantined=True)
    mill.others.publish(MODELS_DECISIONS, distrusted)
    assert mill.labelled() == ["labelled 0 a", "labelled 0 b"]
    mill.others.publish(CONTROL_COMMANDS, command(CommandKind.RELEASE_WINDOW, window_id(1)))
    assert len(mill.labelled()) == 4


def test_what_the_champion_was_rebuilt_without_decides_about_no_base(mill: Mill) -> None:
    mill.others.publish(MODELS_DECISIONS, decision(1, Verdict.PROMOTE, "1", None, without=("source=b",)))
    assert mill.labelled() == ["labelled 0 a", "labelled 1 a"]


def test_windows_that_were_never_closed_are_named(mill: Mill) -> None:
    mill.book.refresh()
    assert mill.book.unknown([text_window_id(0)], [window_id(1)]) == []
    assert mill.book.unknown([text_window_id(8)], [window_id(9)]) == [text_window_id(8), window_id(9)]


def test_a_command_that_nobody_can_read_stops_nothing(mill: Mill) -> None:
    name = CONTROL_COMMANDS.full_name(PREFIX)
    mill.others.unread.append(Record(name, 0, 0, NOW, None, b'{"event_version": 2}', {}))
    assert len(mill.labelled()) == 4


def test_a_ledger_of_models_that_contradicts_itself_is_not_guessed_at(mill: Mill) -> None:
    mill.others.publish(MODELS_DECISIONS, decision(7, Verdict.PROMOTE, "1", None))
    with pytest.raises(LedgerCorruptError):
        mill.book.refresh()


def test_closing_lets_go_of_both_followers(mill: Mill) -> None:
    mill.book.close()
    assert (mill.others.closed, mill.manifests.closed) == (True, True)
