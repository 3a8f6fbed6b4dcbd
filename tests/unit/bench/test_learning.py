"""The bench as it is called: a table, claims, a JSON object, a picture."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import learning
from bench.gate.reviews import Labelled
from bench.loop.policies import POLICIES
from tests.unit.bench.loop.builders import reviews

PNG = b"\x89PNG"


def small(folder: Path | None) -> dict[str, list[Labelled]]:
    return {name: reviews(name, 160) for name in ("films", "news")}


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("bench")
    target = folder / "report.json"
    streams = ("--seeds", "2", "--first-seed", "5")
    outputs = ("--json", str(target), "--picture", str(folder / "picture.png"), "--processes", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "load", small)
        patch.setattr("sys.argv", ["learning", *streams, "--window-rows", "40", "--segment", "2", *outputs])
        learning.main()
    return folder, json.loads(target.read_text())


def test_every_policy_is_reported_with_its_interval(called: tuple[Path, dict[str, Any]]) -> None:
    _, report = called
    assert [entry["policy"] for entry in report["policies"]] == [policy.name for policy in POLICIES]
    assert all(len(entry["accuracy"]) == len(entry["backward_transfer"]) == 2 for entry in report["policies"])
    assert (report["streams"], report["first_seed"], report["windows"]) == (2, 5, 6)


def test_every_claim_is_answered_with_its_numbers(called: tuple[Path, dict[str, Any]]) -> None:
    _, report = called
    assert len(report["claims"]) == 5
    assert report["claims_hold"] is all(claim["holds"] for claim in report["claims"])
    entries = {entry["policy"]: entry for entry in report["policies"]}
    compute = report["claims"][3]["numbers"]
    assert compute["share"] == pytest.approx(entries["ours"]["row_passes"][0] / entries["everything"]["row_passes"][0])


def test_the_picture_is_drawn(called: tuple[Path, dict[str, Any]]) -> None:
    assert (called[0] / "picture.png").read_bytes().startswith(PNG)
