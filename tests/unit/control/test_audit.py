"""What the audit proves, and what it must not overlook."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.control import audit as audits
from services.control.audit import AuditReport, Output, Stray, audit, run_audit
from services.control.window_audit import KeptOffsets, Window
from shared.errors import SnapshotError
from shared.events import ClosedWindow, SetAside, SetAsideRow, Side, Snapshot, SplitRecord, Trigger, UnlabeledWindow
from shared.kafka import Record
from shared.metrics import ReviewOutcome
from shared.provenance import ORIGIN_HEADER
from shared.settings import load_settings
from shared.topics import REVIEWS_CURATED, REVIEWS_LABELED, WINDOWS_CLOSED, WINDOWS_UNLABELED, Topic

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPLIT = SplitRecord(salt="s", holdout_share=200, calibration_share=50, validation_share=50, normaliser_version="1")
CURATED, UNLABELED, REJECTED = ReviewOutcome.CURATED, ReviewOutcome.UNLABELED, ReviewOutcome.REJECTED


def fields(prefix: str, sequence: int, kept: Sequence[int], set_aside: Sequence[int]) -> dict[str, Any]:
    offsets = sorted([*kept, *set_aside])
    return {
        "window_id": f"{prefix}-{offsets[0]:010d}",
        "sequence": sequence,
        "first_offset": offsets[0],
        "last_offset": offsets[-1],
        "reviews": len(offsets),
        "kept": len(kept),
        "set_aside": tuple(SetAsideRow(offset=offset, reason=SetAside.DUPLICATE) for offset in set_aside),
        "sides": dict.fromkeys(Side, 0),
        "sources": {},
        "origins": {},
        "first_published_at": NOW,
        "last_published_at": NOW,
        "trigger": Trigger.COUNT,
        "trigger_detail": "",
        "split": SPLIT,
        "snapshot": Snapshot(path=",".join(map(str, kept)) or "-", sha256="0" * 64, size_bytes=1),
        "closed_at": NOW,
    }


def window(sequence: int, kept: Sequence[int], set_aside: Sequence[int] = ()) -> ClosedWindow:
    of_any_kind = fields("w", sequence, kept, set_aside)
    return ClosedWindow(labels={}, label_names=("negative", "positive"), trainable=True, **of_any_kind)


def unlabeled_window(sequence: int, kept: Sequence[int], set_aside: Sequence[int] = ()) -> UnlabeledWindow:
    return UnlabeledWindow(**fields("u", sequence, kept, set_aside))


def snapshot_of(window: Window) -> list[int]:
    """The offsets that `window` wrote into the snapshot's name."""
    return [int(offset) for offset in window.snapshot.path.split(",") if offset != "-"]


def run(
    outputs: Sequence[Output | Stray],
    published: int,
    windows: Sequence[ClosedWindow | Stray] = (),
    committed: int | None = None,
    kept_offsets: KeptOffsets = snapshot_of,
    oldest: int = 0,
    unlabeled_windows: Sequence[UnlabeledWindow] = (),
) -> AuditReport:
    """An audit of one partition."""
    position = published if committed is None else committed
    records = [(0, offset) for offset in range(oldest, published)]
    return audit(outputs, records, {0: position}, windows, unlabeled_windows, kept_offsets)


def curated(*offsets: int) -> list[Output]:
    """Curated reviews at these offsets, from the records 0, 1, 2, …"""
    return [Output(CURATED, offset, 0, origin) for origin, offset in enumerate(offsets)]


def unlabeled(*offsets: int) -> list[Output]:
    """Unlabelled reviews at these offsets, from the records 0, 1, 2, …"""
    return [Output(UNLABELED, offset, 0, origin) for origin, offset in enumerate(offsets)]


def test_every_review_has_its_place() -> None:
    outputs = [*curated(0, 1, 2, 4, 5), Output(UNLABELED, 0, 0, 5), Output(REJECTED, 0, 0, 6)]
    report = run(outputs, published=9, windows=[window(0, kept=[0, 2], set_aside=[1])], committed=7)
    assert report.ok
    assert (report.published, report.curated, report.unlabeled, report.rejected, report.waiting) == (9, 5, 1, 1, 2)
    assert (report.windowed, report.kept, report.set_aside[SetAside.DUPLICATE], report.open) == (3, 2, 1, 2)


def test_every_unlabelled_review_has_its_place_too() -> None:
    windows = [unlabeled_window(0, kept=[0, 2], set_aside=[1]), unlabeled_window(1, kept=[4])]
    report = run(unlabeled(0, 1, 2, 4, 5, 6), published=6, unlabeled_windows=windows)
    assert (report.problems, report.unlabeled, report.unlabeled_windowed, report.unlabeled_kept) == ((), 6, 4, 3)
    assert (report.unlabeled_set_aside[SetAside.DUPLICATE], report.unlabeled_open) == (1, 2)
    assert (report.curated, report.windowed, report.open) == (0, 0, 0)


def test_an_unlabelled_review_that_a_window_lost_is_a_problem() -> None:
    report = run(unlabeled(0, 1, 2), published=3, unlabeled_windows=[unlabeled_window(0, kept=[0, 2])])
    assert report.problems == ("window u-0000000000 does not hold the unlabelled reviews of its range: 1",)


def test_an_unlabelled_review_between_two_windows_is_a_problem() -> None:
    windows = [unlabeled_window(0, kept=[0]), unlabeled_window(1, kept=[2])]
    report = run(unlabeled(0, 1, 2), published=3, unlabeled_windows=windows)
    assert report.problems == ("1 unlabelled reviews lie between u-0000000000 and u-0000000002",)


def test_a_review_that_was_passed_over_is_missed_though_the_positions_are_gone() -> None:
    outputs = [Output(CURATED, 0, 0, 0), Output(CURATED, 1, 0, 2)]
    report = run(outputs, published=5, committed=0)
    assert not report.ok
    assert (report.unaccounted, report.waiting) == (1, 2)


def test_what_curators_commit_during_the_audit_does_not_look_lost() -> None:
    """The record 1 was curated after `reviews.curated` was read, and 2 rejected in the same transaction."""
    report = run([Output(CURATED, 0, 0, 0), Output(REJECTED, 0, 0, 2)], published=3, committed=1)
    assert (report.ok, report.waiting) == (True, 1)


def test_a_stream_without_reviews_is_in_order() -> None:
    assert run([], published=0).ok


def test_a_review_that_was_read_and_is_nowhere_is_unaccounted_for() -> None:
    report = run([Output(CURATED, 0, 0, 0), Output(CURATED, 1, 0, 2)], published=4, committed=3)
    assert (report.ok, report.unaccounted, report.waiting) == (False, 1, 1)
    assert report.problems == ("1 published reviews are in no output: 0:1",)


@pytest.mark.parametrize("outcome", [CURATED, REJECTED])
def test_a_review_with_two_outputs_is_doubled(outcome: ReviewOutcome) -> None:
    report = run([Output(CURATED, 0, 0, 0), Output(outcome, 7, 0, 0)], published=1)
    assert (report.ok, report.doubled) == (False, 1)


def test_an_output_of_nothing_is_a_problem() -> None:
    assert run(curated(0, 1), published=1).problems == ("1 outputs name a review that was never published: 0:1",)


def test_what_retention_took_is_no_problem() -> None:
    assert run(curated(0, 1, 2), published=3, oldest=2).ok


def test_a_window_that_lost_a_row_is_a_problem() -> None:
    report = run(curated(0, 1, 2), published=3, windows=[window(0, kept=[0, 2])])
    assert "does not hold the curated reviews of its range: 1" in report.problems[0]


def test_a_row_that_is_kept_and_set_aside_is_a_problem() -> None:
    report = run(curated(0, 1), published=2, windows=[window(0, kept=[0, 1], set_aside=[1])])
    assert not report.ok


def test_a_review_between_two_windows_is_a_problem() -> None:
    report = run(curated(0, 1, 2), published=3, windows=[window(0, kept=[0]), window(1, kept=[2])])
    assert report.problems == ("1 curated reviews lie between w-0000000000 and w-0000000002",)


def test_overlapping_and_repeated_windows_are_problems() -> None:
    twice = [window(0, kept=[0, 1]), window(0, kept=[0, 1])]
    problems = run(curated(0, 1), published=2, windows=twice).problems
    assert "windows w-0000000000 and w-0000000000 overlap" in problems
    assert any("sequence 0, and is number 1" in problem for problem in problems)


def test_reviews_before_the_first_window_are_a_problem() -> None:
    assert run(curated(0, 1), published=2, windows=[window(0, kept=[1])]).problems == (
        "1 curated reviews lie before the first window",
    )


def test_a_snapshot_that_cannot_be_read_is_a_problem_that_names_the_window() -> None:
    def missing(window: Window) -> Sequence[int]:
        raise SnapshotError("gone")

    report = run(curated(0), published=1, windows=[window(0, kept=[0])], kept_offsets=missing)
    assert report.problems == ("window w-0000000000: gone",)


def test_a_snapshot_with_other_rows_than_its_manifest_says_is_a_problem() -> None:
    report = run(curated(0, 1), published=2, windows=[window(0, kept=[0, 1])], kept_offsets=lambda window: [0])
    assert "says 2 kept of 2, and holds 1 of 1" in report.problems[0]


def record(topic: Topic, offset: int, value: bytes = b"", origin: bytes | None = None) -> Record:
    headers = {} if origin is None else {ORIGIN_HEADER: origin}
    return Record(topic.name, 0, offset, NOW, None, value, headers)


def test_records_that_are_none_of_ours_are_problems_that_name_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sound beside them is audited all the same."""
    manifest = window(0, kept=[0]).model_dump_json().encode()
    topics = {
        WINDOWS_CLOSED: [record(WINDOWS_CLOSED, 0, b"hello"), record(WINDOWS_CLOSED, 1, manifest)],
        WINDOWS_UNLABELED: [record(WINDOWS_UNLABELED, 0, manifest)],
        REVIEWS_CURATED: [record(REVIEWS_CURATED, 0, origin=b"0:0"), record(REVIEWS_CURATED, 1)],
        REVIEWS_LABELED: [record(REVIEWS_LABELED, 0)],
    }
    monkeypatch.setattr(audits, "iterate_topic", lambda settings, role, topic: iter(topics.get(topic, [])))
    monkeypatch.setattr(audits, "_committed", lambda settings: {0: 1})
    monkeypatch.setattr(audits, "_kept_offsets", lambda archive, window: snapshot_of(window))
    report = run_audit(load_settings(home=tmp_path))
    foreign, misplaced, unmarked = report.problems
    assert foreign.startswith("windows.closed[0]@0 is no ClosedWindow that this version can read")
    assert misplaced.startswith("windows.unlabeled[0]@0 is no UnlabeledWindow that this version can read")
    assert unmarked == "reviews.curated[0]@1 has no header tidemill_origin: no curator wrote it"
    assert (report.ok, report.curated, report.windowed, report.unaccounted) == (False, 1, 1, 0)


@given(st.data())
def test_any_lost_or_doubled_output_is_found(data: st.DataObject) -> None:
    """Whatever the mix of outcomes and the cuts between windows, one output more or less is always seen."""
    outcomes = data.draw(st.lists(st.sampled_from(ReviewOutcome), min_size=1, max_size=40))
    outputs = [Output(outcome, 2 * number, 0, number) for number, outcome in enumerate(outcomes)]
    with_label, without = ([o.offset for o in outputs if o.outcome is outcome] for outcome in (CURATED, UNLABELED))
    cut, unlabeled_cut = data.draw(st.integers(0, len(with_label))), data.draw(st.integers(0, len(without)))
    audited = partial(
        run,
        published=len(outputs),
        windows=[window(0, kept=with_label[:cut])] if cut else [],
        unlabeled_windows=[unlabeled_window(0, kept=without[:unlabeled_cut])] if unlabeled_cut else [],
    )
    victim = data.draw(st.integers(0, len(outputs) - 1))
    assert audited(outputs).ok
    assert not audited(outputs[:victim] + outputs[victim + 1 :]).ok
    assert not audited([*outputs, outputs[victim]]).ok
