"""Killed between any two lines, the ingestor neither loses nor doubles a review."""

from itertools import pairwise
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from services.ingestor import curating
from services.ingestor.windower import Windower
from shared.archive import Archive
from shared.kafka import Transaction, TransactionalProducer
from tests.integration.ingestor.kills import Killed, kill_before
from tests.integration.ingestor.stream import Ingestor, Stream


def curate(stream: Stream, records: int) -> None:
    """A curator that judges so many records, then stops."""
    with Ingestor(stream.settings, cuts=False) as curator:
        curator.until(lambda: curator.judged() == records)


def cut(stream: Stream, windows: int) -> None:
    """A windower that works until there are so many windows."""
    with Ingestor(stream.settings, curates=False) as windower:
        windower.until(lambda: len(stream.windows()) >= windows)


CURATOR_STEPS = {
    "before anything is sent": (Transaction, "send", 0),
    "after some outputs": (Transaction, "send", 7),
    "before the positions": (Transaction, "send_offsets", 0),
    "before the outputs are flushed": (Transaction, "_finish", 0),
    "before the commit": (TransactionalProducer, "_commit", 0),
    "after the commit": (curating.CuratorLoop, "_count", 0),
}
WINDOWER_STEPS = {
    "before the snapshot": (Archive, "write", 1),
    "after the snapshot": (Windower, "manifest", 1),
    "before the manifest": (Transaction, "send", 1),
    "before the positions": (Transaction, "send_offsets", 1),
    "before the outputs are flushed": (Transaction, "_finish", 1),
    "before the commit": (TransactionalProducer, "_commit", 1),
    "after the commit": (Windower, "forget", 1),
}


@pytest.mark.parametrize("step", CURATOR_STEPS)
def test_each_review_has_one_outcome_when_the_curator_is_killed(
    stream: Stream, no_abort: pytest.MonkeyPatch, step: str
) -> None:
    stream.publish_reviews(25)
    stream.publish([b"junk"])
    killed = Ingestor(stream.settings, cuts=False)
    kill_before(no_abort, *CURATOR_STEPS[step])
    with pytest.raises(Killed):
        killed.until(lambda: False)
    no_abort.undo()
    killed.leave()
    stream.publish_reviews(5, first=25)
    with Ingestor(stream.settings, cuts=False) as successor:
        successor.until(lambda: len(stream.curated()) >= 30 and stream.audit().waiting == 0)
    killed.close()
    report = stream.audit()
    assert (report.ok, report.published, report.curated, report.rejected) == (True, 31, 30, 1)


@pytest.mark.parametrize("step", WINDOWER_STEPS)
def test_each_window_appears_once_when_the_windower_is_killed(
    stream: Stream, no_abort: pytest.MonkeyPatch, step: str
) -> None:
    """Killed while closing the second window of three."""
    stream.publish_reviews(65)
    curate(stream, 65)
    killed = Ingestor(stream.settings, curates=False)
    kill_before(no_abort, *WINDOWER_STEPS[step])
    with pytest.raises(Killed):
        killed.until(lambda: False)
    no_abort.undo()
    killed.leave()
    with Ingestor(stream.settings, curates=False) as successor:
        successor.until(lambda: len(stream.windows()) >= 3 and successor.seen() % 20 == 5)
    killed.close()
    windows, report = stream.windows(), stream.audit()
    assert report.problems == ()
    assert ([window.reviews for window in windows], report.open) == ([20, 20, 20], 5)
    assert all(later.first_offset > earlier.last_offset for earlier, later in pairwise(windows))


def test_windows_are_the_same_whether_killed_or_not(
    broker: Broker, topic_prefix: str, home: Path, no_abort: pytest.MonkeyPatch
) -> None:
    """What is cut again after a kill has the same rows under the same name."""
    streams = [Stream(broker.bootstrap_servers, f"{topic_prefix}-{name}", home / name) for name in ("calm", "killed")]
    for stream in streams:
        stream.publish_reviews(45)
        curate(stream, 45)
    killed = Ingestor(streams[1].settings, curates=False)
    kill_before(no_abort, TransactionalProducer, "_commit", 1)
    with pytest.raises(Killed):
        killed.until(lambda: False)
    no_abort.undo()
    killed.leave()
    for stream in streams:
        cut(stream, windows=2)
    killed.close()
    calm, again = (stream.windows() for stream in streams)
    assert [window.reviews for window in calm] == [window.reviews for window in again] == [20, 20]
    snapshots = list((home / "killed" / "archive" / streams[1].settings.stream.folder / "windows").iterdir())
    assert len(snapshots) == 2


def test_a_standby_takes_over_the_open_window(stream: Stream) -> None:
    stream.publish_reviews(30)
    curate(stream, 30)
    active = Ingestor(stream.settings, curates=False)
    active.until(lambda: active.seen() == 30)
    with Ingestor(stream.settings, curates=False) as standby:
        standby.step()
        active.step()
        active.close()
        standby.until(lambda: standby.seen() == 10)
        stream.publish_reviews(10, first=30)
        curate(stream, 10)
        standby.until(lambda: len(stream.windows()) == 2)
    report = stream.audit()
    assert (report.problems, report.windowed, report.open) == ((), 40, 0)
