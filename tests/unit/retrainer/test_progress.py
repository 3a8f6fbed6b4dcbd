from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.retrainer.progress import Entry, Point, ProgressLog, ProgressReader, Resumed, curve, parse, rows_seen


def point(step: int, loss: float = 0.5) -> Point:
    return Point(
        step=step,
        total_steps=100,
        loss=loss,
        learning_rate=1e-4,
        rows_seen=step * 16,
        tokens_seen=step,
        rows_per_second=9,
    )


def test_a_reader_sees_each_entry_once(tmp_path: Path) -> None:
    log, reader = ProgressLog(tmp_path / "progress.jsonl"), ProgressReader(tmp_path / "progress.jsonl")
    assert reader.news() == []
    log.append(Resumed(resumed_from=0))
    log.append(point(5))
    assert reader.news() == [Resumed(resumed_from=0), point(5)]
    log.append(point(10))
    assert reader.news() == [point(10)]


def test_a_line_still_being_written_waits(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    reader, line = ProgressReader(file), point(5).model_dump_json().encode() + b"\n"
    file.write_bytes(line[:20])
    assert reader.news() == []
    file.write_bytes(line)
    assert reader.news() == [point(5)]


def test_a_line_cut_by_a_kill_costs_itself_only(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    log = ProgressLog(file)
    log.append(point(5))
    with file.open("ab") as torn:
        torn.write(point(10).model_dump_json().encode()[:15])
    log.append(Resumed(resumed_from=5))
    assert parse(file.read_bytes().splitlines()) == [point(5), Resumed(resumed_from=5)]


def test_a_resumption_voids_what_it_repeats() -> None:
    entries: list[Entry] = [
        Resumed(resumed_from=0),
        point(5),
        point(10),
        point(15, 0.4),
        Resumed(resumed_from=10),
        point(15, 0.3),
    ]
    assert curve(entries) == [point(5), point(10), point(15, 0.3)]


@given(st.lists(st.integers(1, 50).map(point) | st.integers(0, 50).map(lambda step: Resumed(resumed_from=step))))
def test_a_curve_always_rises_by_step(entries: list[Point | Resumed]) -> None:
    steps = [entry.step for entry in curve(entries)]
    assert steps == sorted(set(steps))


@given(st.integers(1, 200), st.integers(1, 32), st.integers(0, 5))
def test_each_epoch_shows_every_row_once(rows: int, batch_rows: int, epochs: int) -> None:
    steps_per_epoch = -(-rows // batch_rows)
    assert rows_seen(epochs * steps_per_epoch, rows, batch_rows) == epochs * rows
