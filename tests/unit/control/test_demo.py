"""The demo's story parts the data sets without overlap, and its report tells what happened."""

from datetime import UTC, datetime, timedelta

import pytest

from deploy.setup.datasets import DATASETS
from services.control.demo import report
from services.control.demo.queries import Tally
from services.control.demo.story import WINDOW_ROWS, Review, Story, load_story
from services.control.demo.watch import Watch
from services.control.output import cell
from shared.events import Decision, Verdict, utc_now
from shared.text import canonical, prepare


@pytest.fixture(scope="module")
def story() -> Story:
    assert all(dataset.is_whole() for dataset in DATASETS), "run 'make setup'"
    return load_story()


def keys(reviews: tuple[Review, ...]) -> set[str]:
    return {canonical(prepare(review.text)) for review in reviews}


def test_no_text_stands_in_two_places(story: Story) -> None:
    parts = [*(chapter.rows + chapter.reserve for chapter in story.chapters), story.movies, story.products]
    assert sum(len(keys(part)) for part in parts) == len(set().union(*map(keys, parts)))
    assert sum(map(len, parts)) == sum(len(keys(part)) for part in parts)


def test_each_chapter_fills_a_window(story: Story) -> None:
    assert len(story.chapters) == 4
    assert all(len(chapter.rows) >= WINDOW_ROWS for chapter in story.chapters)


def test_the_flipped_chapter_says_the_opposite() -> None:
    review = Review("fine", "positive", "movies")
    assert review.flipped() == Review("fine", "negative", "movies")


def test_the_story_is_the_same_each_time(story: Story) -> None:
    assert load_story() == story


def test_freshness_runs_from_the_newest_label_to_the_first_answer() -> None:
    watch, tally, now = object.__new__(Watch), Tally(), datetime.now(UTC)
    window = type("Window", (), {"window_id": "w-1", "last_published_at": now})()
    decision = Decision(
        number=1,
        version="1",
        window_id="w-1",
        verdict=Verdict.PROMOTE,
        reasons=("safe", "ahead"),
        champion_before=None,
        champion_after="1",
        decided_at=utc_now(),
    )
    watch.windows, watch.decisions = [window], {"w-1": decision}
    tally.first_answer["1"] = now + timedelta(seconds=90)
    (fact,) = report.version_facts(watch, tally)
    assert fact.freshness_seconds == 90
    assert fact.reason == "safe; ahead"
    assert report.median_freshness((fact,)) == 90
    assert report.median_freshness(()) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (0.123456, "0.1235"),
        (("a", "b"), "a\nb"),
        ({"a": 1.0}, "a 1"),
        (Verdict.REJECT, "reject"),
        ("it is [/b] so [bold]bad", "it is \\[/b] so \\[bold]bad"),
    ],
)
def test_values_are_shown_for_people(value: object, shown: str) -> None:
    assert cell(value) == shown
