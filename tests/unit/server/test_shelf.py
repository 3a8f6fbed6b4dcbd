from pathlib import Path

from services.server.shelf import Shelf
from tests.unit.server.fakes import card


def put(shelf: Shelf, version: str) -> None:
    shelf.folder(card(version)).mkdir()
    shelf.keep(card(version))


def folders(path: Path) -> set[str]:
    return {folder.name.partition("-")[0] for folder in path.iterdir() if folder.is_dir()}


def test_an_empty_shelf_knows_nobody(tmp_path: Path) -> None:
    assert Shelf(tmp_path / "models").last() == []


def test_the_latest_and_the_one_before_are_kept_and_the_rest_is_deleted(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for version in "123":
        put(shelf, version)
    assert [known.version for known in Shelf(tmp_path).last()] == ["3", "2"]
    assert folders(tmp_path) == {"3", "2"}


def test_keeping_the_same_model_again_does_not_forget_the_one_before(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for version in "1", "2", "2":
        shelf.folder(card(version)).mkdir(exist_ok=True)
        shelf.keep(card(version))
    assert [known.version for known in shelf.last()] == ["2", "1"]


def test_going_back_keeps_both(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    put(shelf, "1")
    put(shelf, "2")
    shelf.keep(card("1"))
    assert [known.version for known in shelf.last()] == ["1", "2"]
    assert folders(tmp_path) == {"1", "2"}


def test_a_damaged_record_is_an_empty_shelf(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    put(shelf, "1")
    (tmp_path / "current.json").write_text('{"current":')
    assert shelf.last() == []
    put(shelf, "2")
    assert [known.version for known in shelf.last()] == ["2"]
