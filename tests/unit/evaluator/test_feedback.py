"""Labels find the answers that they are about, whenever and however often they come."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.feedback import Answered, Feedback
from services.evaluator.quarantine import Tally
from shared.events import ServedPrediction
from shared.metrics import FeedbackOutcome
from shared.monitor_settings import MonitorSettings
from tests.unit.evaluator.builders import DIGEST, NOW

HOUR = 3600.0
DAY = 24 * HOUR


def answer(name: str, label: str = "positive", version: str = "1", score: float = 0.9) -> ServedPrediction:
    return ServedPrediction(
        prediction_id=name,
        version=version,
        text_sha256=DIGEST,
        label=label,
        score=score,
        scores={label: score},
        replica_id="r",
        served_at=NOW,
    )


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as database:
        yield database


def joiner(database: sqlite3.Connection, **settings: Any) -> Feedback:
    return Feedback(database, MonitorSettings(**settings))


def test_a_label_minutes_later_is_joined_and_one_after_hours_is_late(database: sqlite3.Connection) -> None:
    feedback = joiner(database)
    feedback.answered(answer("a"), 0.0)
    feedback.answered(answer("b"), 0.0)
    assert feedback.labelled("a", "positive", 600.0) is FeedbackOutcome.JOINED
    assert feedback.labelled("b", "negative", 5 * HOUR) is FeedbackOutcome.LATE
    assert feedback.accuracy() == {"1": Tally(1, 2)}


def test_a_label_before_its_answer_waits_for_it(database: sqlite3.Connection) -> None:
    feedback = joiner(database)
    assert feedback.labelled("a", "positive", 0.0) is None
    assert feedback.accuracy() == {}
    assert feedback.answered(answer("a"), 5.0) is FeedbackOutcome.JOINED
    assert feedback.accuracy() == {"1": Tally(1, 1)}


def test_the_first_label_counts_and_others_are_repetitions(database: sqlite3.Connection) -> None:
    feedback = joiner(database)
    feedback.labelled("early", "positive", 0.0)
    assert feedback.labelled("early", "negative", 1.0) is FeedbackOutcome.REPEATED
    feedback.answered(answer("early"), 2.0)
    assert feedback.labelled("early", "negative", 3.0) is FeedbackOutcome.REPEATED
    assert feedback.accuracy() == {"1": Tally(1, 1)}


def test_an_answer_that_is_delivered_twice_is_one(database: sqlite3.Connection) -> None:
    feedback = joiner(database)
    feedback.answered(answer("a"), 0.0)
    feedback.labelled("a", "positive", 1.0)
    assert feedback.answered(answer("a"), 2.0) is None
    assert feedback.accuracy() == {"1": Tally(1, 1)}


def test_accuracy_is_told_by_version(database: sqlite3.Connection) -> None:
    feedback = joiner(database)
    for name, version, truth in (("a", "1", "positive"), ("b", "2", "negative"), ("c", "2", "positive")):
        feedback.answered(answer(name, version=version), 0.0)
        feedback.labelled(name, truth, 1.0)
    assert feedback.accuracy() == {"1": Tally(1, 1), "2": Tally(1, 2)}


def test_what_waited_too_long_is_counted_and_let_go(database: sqlite3.Connection) -> None:
    feedback = joiner(database, feedback_seconds=DAY)
    feedback.labelled("nobody's", "positive", 0.0)
    feedback.answered(answer("never labelled"), 0.0)
    feedback.answered(answer("labelled"), 0.0)
    feedback.labelled("labelled", "positive", 1.0)
    assert feedback.expire(DAY - 1) == Counter()
    assert feedback.expire(DAY + 2) == Counter({FeedbackOutcome.UNMATCHED: 1, FeedbackOutcome.UNANSWERED: 1})
    assert feedback.labelled("never labelled", "positive", DAY + 3) is None
    assert feedback.accuracy() == {}


def test_no_more_than_the_bound_is_kept(database: sqlite3.Connection) -> None:
    feedback = joiner(database, served_rows=10)
    for number in range(25):
        feedback.answered(answer(f"a{number}"), 0.0)
        feedback.labelled(f"x{number}", "positive", 0.0)
    assert feedback.expire(0.0) == Counter({FeedbackOutcome.UNMATCHED: 15, FeedbackOutcome.UNANSWERED: 15})
    assert len(feedback.latest(100)) == 10


def test_the_latest_answers_come_with_their_scores_newest_first(database: sqlite3.Connection) -> None:
    feedback = joiner(database)
    for name, score in (("a", 0.6), ("b", 0.7), ("c", 0.8)):
        feedback.answered(answer(name, score=score), 0.0)
    assert feedback.latest(2) == [Answered("positive", 0.8), Answered("positive", 0.7)]


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_the_order_of_arrival_does_not_change_what_is_joined(seed: int, number: int) -> None:
    """Answers and first labels in any order, repeated at will, give the same accuracy."""
    chance = Random(seed)
    truths = {f"p{each}": chance.choice(["positive", "negative"]) for each in range(number)}
    events = [("answer", name) for name in truths] + [("label", name) for name in truths]
    events += chance.choices(events, k=number)
    chance.shuffle(events)
    with closing(sqlite3.connect(":memory:")) as database:
        feedback = joiner(database)
        outcomes = Counter(
            feedback.answered(answer(name), 0.0) if kind == "answer" else feedback.labelled(name, truths[name], 0.0)
            for kind, name in events
        )
        assert feedback.accuracy() == {"1": Tally(list(truths.values()).count("positive"), number)}
        assert outcomes[FeedbackOutcome.JOINED] == number
