"""Text without labels: windows of its own, with the promises of the labelled ones."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.broker import Broker
from services.control.app import app
from services.ingestor.sweeping import SweepLoop
from services.ingestor.unlabeled_windower import UnlabeledWindower
from shared.archive import Archive
from shared.errors import ConfigurationError
from shared.events import SetAside, Side, Trigger
from shared.kafka import Transaction, TransactionalProducer
from tests.integration.ingestor.kills import Killed, kill_before
from tests.integration.ingestor.stream import Ingestor, Stream, review, total

STEPS = {
    "before the snapshot": (Archive, "write_unlabeled", 1),
    "after the snapshot": (UnlabeledWindower, "manifest", 1),
    "before the manifest": (Transaction, "send", 1),
    "before the positions": (Transaction, "send_offsets", 1),
    "before the outputs are flushed": (Transaction, "_finish", 1),
    "before the commit": (TransactionalProducer, "_commit", 1),
    "after the commit": (UnlabeledWindower, "forget", 1),
}


def curate(stream: Stream, records: int) -> None:
    """A curator that judges so many records, then stops."""
    with Ingestor(stream.settings, cuts=False) as curator:
        curator.until(lambda: curator.judged() == records)


def windower(stream: Stream) -> Ingestor:
    """A windower of unlabelled text alone."""
    return Ingestor(stream.settings, curates=False, cuts=False, cuts_unlabeled=True)


def cut(stream: Stream, windows: int) -> None:
    """A windower that works until there are so many windows."""
    with windower(stream) as working:
        working.until(lambda: len(stream.unlabeled_windows()) >= windows)


def test_labelled_and_unlabelled_reviews_go_into_windows_of_their_own(stream: Stream) -> None:
    """The same texts both times: a held-out text is held out of either kind."""
    stream.publish_reviews(25)
    stream.publish_texts(45)
    with Ingestor(stream.settings, cuts_unlabeled=True) as ingestor:
        ingestor.until(lambda: ingestor.seen() == 25 and ingestor.seen_unlabeled() == 45)
    [labeled], [first, second] = stream.windows(), stream.unlabeled_windows()
    assert (labeled.reviews, first.reviews, second.reviews) == (20, 20, 20)
    assert (first.window_id, first.sequence, second.sequence) == ("u-0000000000", 0, 1)
    assert (first.trigger, first.trigger_detail) == (Trigger.COUNT, "20 kept rows of 20")
    archive = Archive(stream.settings)
    sides = {row.text: row.side for row in archive.read(labeled.snapshot)}
    unlabeled = {row.text: row.side for window in (first, second) for row in archive.read_unlabeled(window.snapshot)}
    # Partitions are read in any order: five texts of each kind are in no window yet, and not the same ones.
    both = sides.keys() & unlabeled.keys()
    assert len(both) >= 15
    assert {text: unlabeled[text] for text in both} == {text: sides[text] for text in both}
    assert {Side.TRAIN, Side.HOLDOUT} <= set(sides.values())
    assert (total(ingestor.metrics.labeled.windows), total(ingestor.metrics.unlabeled.windows)) == (1, 2)
    report = stream.audit()
    assert (report.problems, report.curated, report.windowed, report.open) == ((), 25, 20, 5)
    assert (report.unlabeled, report.unlabeled_windowed, report.unlabeled_open) == (45, 40, 5)


def test_a_text_that_an_earlier_window_holds_is_set_aside_after_a_restart_too(stream: Stream) -> None:
    stream.publish_texts(20)
    with Ingestor(stream.settings, cuts=False, cuts_unlabeled=True) as ingestor:
        ingestor.until(lambda: len(stream.unlabeled_windows()) == 1)
    stream.publish_texts(30, first=10)
    with Ingestor(stream.settings, cuts=False, cuts_unlabeled=True) as restarted:
        restarted.until(lambda: len(stream.unlabeled_windows()) == 2)
    second, report = stream.unlabeled_windows()[1], stream.audit()
    assert (second.reviews, second.kept) == (30, 20)
    assert [row.reason for row in second.set_aside] == [SetAside.DUPLICATE] * 10
    assert (report.problems, report.unlabeled_kept, report.unlabeled_set_aside[SetAside.DUPLICATE]) == ((), 40, 10)


def test_a_window_closes_at_its_age(broker: Broker, topic_prefix: str, home: Path) -> None:
    stream = Stream(broker.bootstrap_servers, topic_prefix, home, unlabeled={"max_age_seconds": 0.001})
    stream.publish_texts(3)
    curate(stream, 3)
    cut(stream, windows=1)
    [window] = stream.unlabeled_windows()
    assert (window.trigger, window.reviews) == (Trigger.AGE, 3)


@pytest.mark.parametrize("step", STEPS)
def test_each_window_appears_once_when_the_windower_is_killed(
    stream: Stream, no_abort: pytest.MonkeyPatch, step: str
) -> None:
    """Killed while closing the second window of three."""
    stream.publish_texts(65)
    curate(stream, 65)
    killed = windower(stream)
    kill_before(no_abort, *STEPS[step])
    with pytest.raises(Killed):
        killed.until(lambda: False)
    no_abort.undo()
    killed.leave()
    with windower(stream) as successor:
        successor.until(lambda: len(stream.unlabeled_windows()) >= 3 and successor.seen_unlabeled() % 20 == 5)
    killed.close()
    windows, report = stream.unlabeled_windows(), stream.audit()
    assert report.problems == ()
    assert ([window.reviews for window in windows], report.unlabeled_open) == ([20, 20, 20], 5)
    assert [window.sequence for window in windows] == [0, 1, 2]
    assert all(later.first_offset > earlier.last_offset for earlier, later in pairwise(windows))


def test_a_standby_takes_over_the_open_window(stream: Stream) -> None:
    stream.publish_texts(30)
    curate(stream, 30)
    active = windower(stream)
    active.until(lambda: active.seen_unlabeled() == 30)
    with windower(stream) as standby:
        standby.step()
        active.step()
        active.close()
        standby.until(lambda: standby.seen_unlabeled() == 10)
        stream.publish_texts(10, first=30)
        curate(stream, 10)
        standby.until(lambda: len(stream.unlabeled_windows()) == 2)
    report = stream.audit()
    assert (report.problems, report.unlabeled_windowed, report.unlabeled_open) == ((), 40, 0)


def test_lost_offsets_are_found_again_from_the_manifests(stream: Stream) -> None:
    stream.publish_texts(40)
    curate(stream, 40)
    with windower(stream) as working, pytest.MonkeyPatch.context() as patch:
        kill_before(patch, UnlabeledWindower, "manifest", 1)
        with pytest.raises(Killed):
            working.until(lambda: False)
    stream.forget_offsets("windower.unlabeled")
    cut(stream, windows=2)
    report = stream.audit()
    assert (report.problems, report.unlabeled_windowed, report.unlabeled_open) == ((), 40, 0)


def test_an_altered_snapshot_shows_in_the_audit(stream: Stream) -> None:
    stream.publish_texts(20)
    curate(stream, 20)
    cut(stream, windows=1)
    assert stream.audit().ok
    snapshot = Path(stream.settings.archive_url) / stream.unlabeled_windows()[0].snapshot.path
    snapshot.write_bytes(snapshot.read_bytes()[:-1] + b"?")
    assert "u-0000000000" in stream.audit().problems[0]
    assert "was altered" in stream.audit().problems[0]


def test_the_sweep_takes_what_a_killed_windower_left(broker: Broker, topic_prefix: str, home: Path) -> None:
    stream = Stream(broker.bootstrap_servers, topic_prefix, home)
    stream.publish_texts(20)
    curate(stream, 20)
    cut(stream, windows=1)
    archive, [window] = Archive(stream.settings), stream.unlabeled_windows()
    rows = archive.read_unlabeled(window.snapshot)
    orphan = archive.write_unlabeled(window.window_id, rows[:-1])
    eager = stream.settings.model_copy(
        update={"archive": stream.settings.archive.model_copy(update={"orphan_seconds": 1e-6})}
    )
    with Ingestor(eager, curates=False, cuts=False) as idle:
        SweepLoop(idle.context).step()
    folder = Path(stream.settings.archive_url) / Path(orphan.path).parent
    assert [file.name for file in folder.iterdir()] == [Path(window.snapshot.path).name]
    assert archive.read_unlabeled(window.snapshot) == rows


def test_a_split_other_than_the_unlabelled_texts_is_refused_at_start(
    stream: Stream, broker: Broker, home: Path
) -> None:
    """Though the stream holds nothing but text without labels."""
    stream.publish_texts(3)
    curate(stream, 3)
    other = Stream(broker.bootstrap_servers, stream.settings.stream.prefix, home, split={"holdout_share": 450})
    for role in ("curates", "cuts", "cuts_unlabeled"):
        roles = dict.fromkeys(("curates", "cuts", "cuts_unlabeled"), False) | {role: True}
        with pytest.raises(ConfigurationError, match="holdout_share was 200 and is now 450"):
            Ingestor(other.settings, **roles)


def test_people_see_the_windows(stream: Stream) -> None:
    stream.publish([review(number, label=None, source="critics") for number in range(20)])
    curate(stream, 20)
    cut(stream, windows=1)
    said = CliRunner().invoke(
        app,
        [
            "--home",
            str(stream.settings.home),
            "--prefix",
            stream.settings.stream.prefix,
            "windows",
            "--unlabeled",
            "--json",
        ],
        env={"TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": stream.settings.bootstrap_servers()},
        catch_exceptions=False,
    )
    [row] = json.loads(said.stdout)
    assert (row["window"], row["trigger"], row["kept"], row["sources"]) == (
        "u-0000000000",
        "count",
        20,
        {"critics": 20},
    )
