"""The bench on a tiny base: every contestant in every round, then medians of speed and means of quality."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import training
from bench.training import PEER, Measured, Rows, Summary, summarise
from shared.classifier.base import open_base
from tests.unit.retrainer.builders import rows

pytestmark = pytest.mark.usefixtures("torch_as_before")

OURS = "ours, fp32"


def measured(name: str, number: int, processor_seconds: float, accuracy: float) -> Measured:
    return Measured(
        name=name,
        round=number,
        rows_per_second=100 / processor_seconds,
        seconds=2 * processor_seconds,
        processor_seconds=processor_seconds,
        accuracy=accuracy,
        loss=1 - accuracy,
    )


def of(name: str, summaries: list[Summary]) -> Summary:
    return next(summary for summary in summaries if summary.name == name)


def test_ratios_and_differences_are_of_the_same_round() -> None:
    peer = [measured(PEER, 1, 10, 0.8), measured(PEER, 2, 40, 0.6), measured(PEER, 3, 12, 0.7)]
    own = [measured(OURS, 1, 5, 0.81), measured(OURS, 2, 10, 0.63), measured(OURS, 3, 4, 0.72)]
    summaries = summarise([result for pair in zip(peer, own, strict=True) for result in pair], PEER)
    assert [summary.name for summary in summaries] == [PEER, OURS]
    ours = of(OURS, summaries)
    assert (ours.ratio, ours.processor_seconds, ours.rows_per_second) == (3.0, 5, 20.0)
    assert (ours.accuracy, ours.loss) == pytest.approx((0.72, 0.28))
    assert ours.accuracy_gained == pytest.approx(0.02)
    assert ours.accuracy_gained_error == pytest.approx(0.01 / 3**0.5)


def test_one_round_says_nothing_of_chance() -> None:
    (peer,) = summarise([measured(PEER, 1, 10, 0.8)], PEER)
    assert (peer.ratio, peer.accuracy_gained, peer.accuracy_gained_error) == (1.0, 0.0, None)


def few(train_rows: int, held_out_rows: int, seed: int) -> Rows:
    drawn = rows(48, start=seed)
    return Rows(drawn[:32], drawn[32:])


def test_every_contestant_learns_in_every_round_with_a_seed_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.json"
    monkeypatch.setattr(training, "read_rows", few)
    monkeypatch.setattr(training, "open_base", lambda name, cache: open_base("tiny", tmp_path))
    monkeypatch.setattr(training, "supports_bf16", lambda device: False)
    monkeypatch.setattr("sys.argv", ["training", "--quick", "--rounds", "2", "--json", str(target)])
    training.main()
    report: dict[str, Any] = json.loads(target.read_text())
    order = [(PEER, 1), (OURS, 1), (PEER, 2), (OURS, 2)]
    assert [(entry["name"], entry["round"]) for entry in report["trainings"]] == order
    assert len({entry["loss"] for entry in report["trainings"]}) == 4
    assert [entry["name"] for entry in report["contestants"]] == [PEER, OURS]
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report
