from pathlib import Path

from services.server.engine import Answer, Prediction
from services.server.store import PredictionStore, Remembered


def prediction(name: str, text: str = "a text") -> Prediction:
    return Prediction(name, "7", Answer(text, "positive", {"negative": 0.1, "positive": 0.9}, truncated=False))


def test_an_answer_is_found_at_once_and_after_a_restart(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path / "store.sqlite", rows=10)
    store.keep([prediction("a", "ünïcode\x00 text")])
    expected = Remembered("ünïcode\x00 text", "7", "positive")
    assert store.find("a") == expected
    store.close()
    again = PredictionStore(tmp_path / "store.sqlite", rows=10)
    assert again.find("a") == expected
    assert again.find("b") is None
    again.close()


def test_only_the_latest_rows_are_kept(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path / "store.sqlite", rows=3)
    for number in range(10):
        store.keep([prediction(str(number))])
    store.close()
    kept = [number for number in range(10) if store.find(str(number)) is not None]
    assert kept == [7, 8, 9]


def test_a_damaged_file_is_set_aside_with_its_journal(tmp_path: Path) -> None:
    for name in ("store.sqlite", "store.sqlite-wal"):
        (tmp_path / name).write_bytes(b"no database" * 1000)
    store = PredictionStore(tmp_path / "store.sqlite", rows=3)
    store.keep([prediction("a")])
    store.close()
    assert store.find("a") is not None
    assert {path.name for path in tmp_path.glob("*.damaged")} >= {"store.sqlite.damaged"}
    assert (tmp_path / "store.sqlite.damaged").read_bytes() == b"no database" * 1000


def test_where_nothing_can_be_kept_nothing_is_found_and_nobody_fails(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file where the folder should be")
    store = PredictionStore(tmp_path / "folder" / "store.sqlite", rows=3)
    store.keep([prediction("a")])
    assert store.find("a") is None
    store.close()


def test_a_file_damaged_later_finds_nothing(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path / "store.sqlite", rows=3)
    store.close()
    (tmp_path / "store.sqlite").write_bytes(b"no database" * 1000)
    assert store.find("a") is None


def test_a_table_that_cannot_be_written_fails_nobody(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path / "store.sqlite", rows=3)
    with store._connect() as connection:
        connection.execute("DROP TABLE predictions")
    store.keep([prediction("a")])
    store.close()
    PredictionStore(tmp_path / "store.sqlite", rows=3).close()
    assert PredictionStore(tmp_path / "store.sqlite", rows=3).find("a") is None
