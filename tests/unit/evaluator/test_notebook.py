"""The notebook keeps what was read with how far it was read, within bounds, whatever happens to the process or file."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from services.evaluator.notebook import Notebook
from shared.monitor_settings import MonitorSettings

TOPIC = "reviews.curated"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evaluator" / "monitor.sqlite"


def opened(path: Path, **settings: Any) -> Notebook:
    return Notebook(path, MonitorSettings(**settings))


def noted(notebook: Notebook, *offsets: int, text: str = "review") -> Notebook:
    with notebook.transaction():
        for offset in offsets:
            notebook.note(offset, float(offset), offset % 2, f"{text} {offset}")
        notebook.move(TOPIC, max(offsets) + 1)
    return notebook


def offsets(notebook: Notebook, beyond: int = -1, at: float = -1.0) -> list[int]:
    return [review.offset for review in notebook.after(beyond, at, 10_000)]


def test_a_new_notebook_has_read_nothing(path: Path) -> None:
    notebook = opened(path)
    assert notebook.position(TOPIC) is None
    assert notebook.mark("drift") == -1
    assert offsets(notebook) == []


def test_reviews_positions_answers_and_marks_outlive_the_process(path: Path) -> None:
    notebook = noted(opened(path), 3, 4)
    notebook.keep("model", [(3, 1)])
    notebook.set_mark("drift", 3)
    notebook.close()
    found = opened(path)
    assert (found.position(TOPIC), found.mark("drift")) == (5, 3)
    first, second = found.after(-1, -1.0, 10)
    assert (first.offset, first.label, first.text, first.answers) == (3, 1, "review 3", {"model": 1})
    assert (second.offset, second.answers) == (4, {})


def test_an_interrupted_transaction_leaves_neither_review_nor_position(path: Path) -> None:
    notebook = noted(opened(path), 0)
    with suppress(KeyboardInterrupt), notebook.transaction():
        notebook.note(1, 1.0, 0, "half done")
        notebook.move(TOPIC, 2)
        raise KeyboardInterrupt
    assert (offsets(notebook), notebook.position(TOPIC)) == ([0], 1)


def test_a_review_that_is_read_again_and_an_answer_given_again_are_one(path: Path) -> None:
    notebook = noted(noted(opened(path), 0, 1), 0, 1)
    notebook.keep("model", [(0, 1)])
    notebook.keep("model", [(0, 0)])
    assert offsets(notebook) == [0, 1]
    assert notebook.after(-1, -1.0, 1)[0].answers == {"model": 1}


def test_the_same_text_again_says_nothing_new(path: Path) -> None:
    notebook = opened(path)
    with notebook.transaction():
        for offset in range(3):
            notebook.note(offset, 0.0, 1, "copied and pasted")
    assert offsets(notebook) == [0]


def test_reviews_come_in_order_behind_an_offset_and_a_time(path: Path) -> None:
    notebook = noted(opened(path), *range(10))
    assert offsets(notebook, beyond=6) == [7, 8, 9]
    assert offsets(notebook, beyond=6, at=7.0) == [8, 9]
    assert [review.offset for review in notebook.after(2, -1.0, 2)] == [3, 4]


def test_texts_are_the_latest_on_each_side_of_an_offset(path: Path) -> None:
    notebook = noted(opened(path), *range(10))
    assert notebook.texts(2, up_to=5) == ["review 5", "review 4"]
    assert notebook.texts(100, beyond=7) == ["review 9", "review 8"]


def test_only_the_latest_reviews_are_kept_with_their_answers(path: Path) -> None:
    notebook = noted(opened(path, kept_rows=1000), *range(1500))
    notebook.keep("model", [(offset, 0) for offset in range(1500)])
    notebook.keep_sketches("model", [(offset, b"seen") for offset in range(1500)])
    notebook.prune()
    kept = notebook.after(-1, -1.0, 5000)
    assert [review.offset for review in kept] == list(range(500, 1500))
    assert all(review.answers for review in kept)
    assert len(notebook.sketches("model", 5000)) == 1000


def test_sketches_are_the_latest_on_each_side_of_an_offset_and_of_one_model(path: Path) -> None:
    notebook = noted(opened(path), *range(6))
    notebook.keep_sketches("model", [(offset, b"%d" % offset) for offset in range(6)])
    notebook.keep_sketches("model", [(5, b"again")])
    notebook.keep_sketches("other", [(0, b"x")])
    assert notebook.sketches("model", 2, up_to=3) == [b"3", b"2"]
    assert notebook.sketches("model", 100, beyond=3) == [b"5", b"4"]
    assert notebook.sketches("other", 100) == [b"x"]


def test_of_the_latest_texts_those_without_a_sketch_are_named(path: Path) -> None:
    notebook = noted(opened(path), *range(6))
    notebook.keep_sketches("model", [(3, b"3")])
    assert notebook.without_sketch("model", 3, up_to=4) == {4: "review 4", 2: "review 2"}
    assert notebook.without_sketch("other", 1, up_to=4) == {4: "review 4"}


def test_the_sample_is_a_share_of_the_texts_and_always_the_same(path: Path, tmp_path: Path) -> None:
    one = offsets(noted(opened(path, sample=0.3), *range(2000)))
    other = offsets(noted(opened(tmp_path / "other.sqlite", sample=0.3), *range(2000)))
    assert one == other
    assert 500 < len(one) < 700


def test_what_is_no_such_file_is_begun_anew(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 1000)
    notebook = opened(path)
    assert notebook.position(TOPIC) is None
    assert offsets(noted(notebook, 0)) == [0]


def test_starting_over_forgets_everything(path: Path) -> None:
    notebook = noted(opened(path), 0)
    notebook.start_over("told to")
    assert (offsets(notebook), notebook.position(TOPIC)) == ([], None)
