from pathlib import Path
from typing import cast

import pytest

from services.retrainer.parents import Parents
from services.retrainer.plan import ParentVersion
from shared.classifier.digest import model_digest
from shared.errors import ModelError
from shared.registry import Registry


class Shelf:
    """A registry that holds these versions only."""

    def __init__(self, **contents: bytes) -> None:
        self._contents = contents
        self.downloads: list[str] = []

    def download(self, version: str, folder: Path) -> Path:
        if version not in self._contents:
            raise ModelError(f"version {version}: its weights are gone")
        if not folder.exists():
            self.downloads.append(version)
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(self._contents[version])
        return folder


def digest(folder: Path, content: bytes) -> str:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(content)
    return model_digest(folder)


@pytest.fixture
def digests(tmp_path: Path) -> dict[str, str]:
    return {"v1": digest(tmp_path / "1", b"one"), "v2": digest(tmp_path / "2", b"two"), "v3": "0" * 64}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(v1=b"one", v2=b"two", v3=b"not what it was")


@pytest.fixture
def parents(shelf: Shelf, tmp_path: Path) -> Parents:
    return Parents(cast(Registry, shelf), tmp_path / "home")


def test_versions_are_fetched_once_and_only_the_last_ones_kept(
    parents: Parents, shelf: Shelf, digests: dict[str, str]
) -> None:
    both = parents.known(["v1", "v2"], digests)
    assert [(folder / "model.safetensors").read_bytes() for folder in parents.folders(both)] == [b"one", b"two"]
    parents.folders(both)
    assert shelf.downloads == ["v1", "v2"]
    (second,) = parents.folders(both[1:])
    assert [*second.parent.iterdir()] == [second]


def test_a_version_that_is_not_what_it_was_is_an_error_and_not_kept(
    parents: Parents, tmp_path: Path, digests: dict[str, str]
) -> None:
    with pytest.raises(ModelError, match="digest"):
        parents.folders(parents.known(["v3"], digests))
    assert [*(tmp_path / "home" / "parents").iterdir()] == []


def test_a_soup_goes_without_what_cannot_be_had(parents: Parents, digests: dict[str, str]) -> None:
    wanted = parents.known(["v1", "v3", "v4"], digests | {"v4": "1" * 64})
    assert parents.at_hand(wanted) == (ParentVersion(version="v1", digest=digests["v1"]),)


def test_a_version_of_unknown_digest_is_refused(parents: Parents) -> None:
    with pytest.raises(ModelError, match="digest of version 9; set training.start to 'base'"):
        parents.known(["9"], {})
