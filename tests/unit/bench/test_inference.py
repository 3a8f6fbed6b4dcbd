"""The bench on a tiny model: every contestant answers the same texts, and ours as the pipeline does."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import inference
from bench.inference import (
    LONG_WORDS,
    PEER,
    SHORT_WORDS,
    Measured,
    best_of_each_precision,
    packaged_texts,
    summarise,
    texts_in_folder,
)
from deploy.setup.datasets import ROTTEN_TOMATOES
from tests.models import tiny_classifier

pytestmark = pytest.mark.usefixtures("torch_as_before")

OURS = "torch-fp32-t1-b1024"


def measured(name: str, number: int, cost_seconds: float, labels_agree: float) -> Measured:
    return Measured("m", "short", name, number, 1 / cost_seconds, cost_seconds, labels_agree, 1 - labels_agree)


def test_ratios_are_of_the_same_round_and_agreement_is_the_worst() -> None:
    peer = [measured(PEER, 1, 10, 1), measured(PEER, 2, 40, 1), measured(PEER, 3, 12, 1)]
    own = [measured(OURS, 1, 5, 1), measured(OURS, 2, 10, 0.9), measured(OURS, 3, 4, 1)]
    _, ours = summarise([*peer, *own], PEER)
    assert (ours.ratio, ours.cost_seconds, ours.labels_agree) == (3.0, 5, 0.9)
    assert ours.largest_difference == pytest.approx(0.1)


def test_the_picture_shows_of_each_precision_the_fastest_plan() -> None:
    names = [PEER, "torch-fp32-t1-b512", "torch-int8-t1-b512", "torch-int8-t1-b256"]
    found = summarise([measured(name, 1, 10 - place, 1) for place, name in enumerate(names)], PEER)
    assert [each.name for each in best_of_each_precision(found)] == [names[0], names[1], names[3]]


def test_packaged_texts_are_short_and_long() -> None:
    if not ROTTEN_TOMATOES.is_whole():
        pytest.skip("the packaged data set is not set up")
    texts = packaged_texts(40)
    assert [len(each) for each in texts.values()] == [40, 10]
    assert min(len(text.split()) for text in texts["long"]) >= LONG_WORDS


def test_reviews_of_a_folder_come_from_all_its_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = [{"text": " ".join([name] * words)} for words in (3, 5, 50, 120)]
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)
    texts = texts_in_folder(tmp_path, 8)
    assert {text[0] for text in texts["short"]} == {text[0] for text in texts["long"]} == {"a", "b"}
    assert max(len(text.split()) for text in texts["short"]) <= SHORT_WORDS


def test_every_contestant_answers_and_ours_as_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, picture = tmp_path / "report.json", tmp_path / "picture.png"
    folder = tiny_classifier(tmp_path / "tiny")
    monkeypatch.setattr(inference, "models", lambda *args: {"tiny": folder})
    monkeypatch.setattr(
        inference, "packaged_texts", lambda count: {"short": ["fine", "dull"] * 9, "long": ["good " * 90]}
    )
    monkeypatch.setattr("sys.argv", ["inference", "--quick", "--json", str(target), "--picture", str(picture)])
    inference.main()
    found = json.loads(target.read_text())["contestants"]
    assert found[0]["name"] == found[len(found) // 2]["name"] == PEER
    (short, long) = (each for each in found if each["name"] == OURS)
    assert max(short["largest_difference"], long["largest_difference"]) < 1e-4
    assert picture.stat().st_size > 0


def test_the_pipelines_process_is_set_up_by_nobody() -> None:
    """To import `services` is to say how threads wait."""
    code = "import sys, bench.piped; sys.exit('services' in sys.modules or 'torch' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
