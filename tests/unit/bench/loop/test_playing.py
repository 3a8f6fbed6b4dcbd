"""Each policy learns from what it says, starts where it says, and is charged for it."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from bench.loop.playing import MeteredStore, Played, play
from bench.loop.policies import DEFAULTS, POLICIES, Policy
from bench.loop.stream import Stream
from services.control.backtest.judging import BASELINE, Floats
from services.control.backtest.lesson import Lesson
from shared.events import Side
from tests.unit.bench.loop.builders import answers, two_domains

NAMED = {policy.name: policy for policy in POLICIES}


class Clerk:
    """Learns which domains its rows are of, unless most of their labels are wrong, and writes down every training."""

    name = "clerk"

    def __init__(self) -> None:
        self.starts: list[int] = []

    def train(self, lesson: Lesson, parents: Sequence[Path], folder: Path) -> None:
        self.starts.append(len(parents))
        rows = lesson.rows[Side.TRAIN]
        wrong = sum(row.label != row.text.endswith("good") for row in rows)
        domains = {row.text.split()[0] for row in rows} if 2 * wrong < len(rows) else set()
        (folder / "known").write_text(" ".join(domains))

    def predict(self, folder: Path, texts: Sequence[str]) -> Floats:
        return answers((folder / "known").read_text().split(), texts)


def knows_nothing(texts: Sequence[str]) -> Floats:
    return answers((), texts)


def played(policy: Policy, folder: Path) -> tuple[Stream, Played, list[int]]:
    stream, clerk = two_domains(), Clerk()
    return stream, play(policy, stream, MeteredStore(folder, clerk), knows_nothing), clerk.starts


def training_rows(stream: Stream) -> list[int]:
    return [len(era.of(Side.TRAIN)) for era in stream.eras]


def test_fine_tuning_goes_on_from_the_champion_with_new_rows_only(tmp_path: Path) -> None:
    stream, result, starts = played(NAMED["fine-tuning"], tmp_path)
    assert starts == [0, 1, 1, 1, 1, 1]
    assert result.row_passes == DEFAULTS.epochs * sum(training_rows(stream))
    assert len(set(result.serving)) == result.trainings == 6


def test_always_learns_some_rows_again(tmp_path: Path) -> None:
    stream, result, _ = played(NAMED["always"], tmp_path)
    first, *later = training_rows(stream)
    replayed = sum(round(DEFAULTS.replay_share * rows) for rows in later)
    assert result.row_passes == DEFAULTS.epochs * (first + sum(later) + replayed)


def test_from_scratch_learns_all_windows_each_time_and_the_last_window_only_itself(tmp_path: Path) -> None:
    stream, everything, starts = played(NAMED["everything"], tmp_path / "everything")
    rows = training_rows(stream)
    assert starts == [0] * 6
    assert everything.row_passes == DEFAULTS.epochs * sum(sum(rows[: end + 1]) for end in range(6))
    _, last, starts = played(NAMED["last"], tmp_path / "last")
    assert starts == [0] * 6
    assert last.row_passes == DEFAULTS.epochs * sum(rows)


def test_never_learns_one_window_and_serves_that(tmp_path: Path) -> None:
    stream, result, starts = played(NAMED["never"], tmp_path)
    assert (starts, result.trainings, len(set(result.serving))) == ([0], 1, 1)
    assert result.row_passes == DEFAULTS.epochs * training_rows(stream)[0]


@pytest.mark.parametrize("name", ["estimate", "pooled"])
def test_an_estimate_promotes_who_wins_more_rows_than_it_loses(tmp_path: Path, name: str) -> None:
    serving = play(NAMED[name], two_domains(flipped_share=0.0), MeteredStore(tmp_path, Clerk()), knows_nothing).serving
    changes = [place for place, (old, new) in enumerate(pairwise((BASELINE, *serving))) if old != new]
    assert changes == [0, 3]  # each domain's first window teaches something, the others nothing new


def test_the_meter_runs_for_what_was_trained_before(tmp_path: Path) -> None:
    _, first, _ = played(NAMED["never"], tmp_path)
    _, again, starts = played(NAMED["never"], tmp_path)
    assert starts == []
    assert (again.trainings, again.row_passes, again.serving) == (first.trainings, first.row_passes, first.serving)
