from datetime import timedelta

from services.retrainer.history import History
from shared.events import CandidateStatus, Command, CommandKind, Event, Verdict
from tests.unit.retrainer.builders import NOW, candidate, closed_window, decision, window_id


def history(*events: Event) -> History:
    made = History()
    for event in events:
        made.observe(event)
    return made


def release(sequence: int, seconds_later: float) -> Command:
    return Command(
        command_id="c",
        kind=CommandKind.RELEASE_WINDOW,
        target=window_id(sequence),
        who="ana",
        why="labels were right",
        issued_at=NOW + timedelta(seconds=seconds_later),
    )


def test_the_champion_is_what_the_last_promotion_or_rollback_left() -> None:
    promoted = decision(0, Verdict.PROMOTE, "1")
    assert history().champion is None
    assert history(promoted, decision(1, Verdict.REJECT, "1")).champion == "1"
    assert history(promoted, decision(1, Verdict.PROMOTE, "2"), decision(2, Verdict.ROLLBACK, "1")).champion == "1"
    assert history(promoted, decision(2, Verdict.ROLLBACK, None)).champion is None


def test_the_latest_candidate_is_undecided_until_the_gate_has_spoken() -> None:
    first, second = candidate(0, version="1"), candidate(1, CandidateStatus.FAILED)
    assert history(first).undecided() == window_id(0)
    assert history(first, decision(0, Verdict.REJECT, None)).undecided() is None
    assert history(first, decision(0, Verdict.REJECT, None), second).undecided() == window_id(1)


def test_a_skipped_window_is_never_waited_for() -> None:
    assert history(candidate(0, CandidateStatus.SKIPPED)).undecided() is None


def test_merged_windows_are_all_covered() -> None:
    merged = candidate(2, version="1").model_copy(update={"window_ids": (window_id(1), window_id(2))})
    assert [history(merged).is_covered(window_id(place)) for place in range(4)] == [False, True, True, False]


def test_a_second_candidate_of_a_window_changes_nothing() -> None:
    first, second = candidate(0, version="1"), candidate(0, CandidateStatus.FAILED)
    assert history(first, second).candidates[window_id(0)] == first


def test_a_quarantined_window_comes_back_when_released_afterwards() -> None:
    bad = decision(1, Verdict.REJECT, None, quarantined=True)
    assert history(bad).quarantined() == {window_id(1)}
    assert history(bad, release(1, 60)).quarantined() == frozenset()
    assert history(release(1, 60), bad).quarantined() == frozenset()
    assert history(bad, release(1, -60)).quarantined() == {window_id(1)}


def test_events_that_come_twice_count_once() -> None:
    events = [closed_window(0), candidate(0, version="7"), decision(0, Verdict.PROMOTE, "7")]
    once, twice = history(*events), history(*events, *events)
    assert (once.windows, once.champion, once.digests) == (twice.windows, twice.champion, twice.digests)
