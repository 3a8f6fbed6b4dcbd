from pathlib import Path

import pytest

from deploy.setup import datasets


def test_only_the_expected_content_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_CACHE", str(tmp_path))
    path = datasets.HUTTO_ICWSM.path
    assert path.is_relative_to(tmp_path)
    assert not datasets.HUTTO_ICWSM.is_whole()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    assert not datasets.HUTTO_ICWSM.is_whole()
