"""The bench as it is called: a table, a JSON object, a picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from bench import gate_policies
from bench.gate.policies import POLICIES, REPLAYED
from bench.gate.replay import Reviews

PNG = b"\x89PNG"


def called(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> dict[str, list[dict[str, object]]]:
    target = folder / "report.json"
    outputs = ("--json", str(target), "--picture", str(folder / "picture.png"), "--processes", "1")
    monkeypatch.setattr("sys.argv", ["gate_policies", *arguments, *outputs])
    gate_policies.main()
    report: dict[str, list[dict[str, object]]] = json.loads(target.read_text())
    return report


def test_the_simulation_reports_every_policy_and_judges_every_claim(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = called(monkeypatch, tmp_path, "--runs", "1", "--rows", "1000")
    assert [entry["policy"] for entry in report["policies"]] == [policy.name for policy in POLICIES]
    assert [claim["claimed"] for claim in report["claims"]] == [False] * 3
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == report
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)


def test_the_replay_reports_every_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 2, 2_500)
    features = csr_matrix(np.column_stack([labels, 1 - labels]).astype(np.float32))
    monkeypatch.setattr(gate_policies, "load", lambda folder: Reviews(features, labels))
    report = called(monkeypatch, tmp_path, "--replay", "--runs", "1")
    assert [entry["policy"] for entry in report["policies"]] == [policy.name for policy in REPLAYED]
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)
