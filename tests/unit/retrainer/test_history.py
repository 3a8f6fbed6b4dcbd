from datetime import timedelta

import pytest

from services.retrainer.history import History
from services.retrainer.start import WaitingChallenger
from shared.events import CandidateStatus, Command, CommandKind, Decision, Event, Verdict
from tests.unit.retrainer.builders import NOW, SHA, candidate, closed_window, decision, window_id


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


def look(version: str, verdict: Verdict, delta: float | None = None, champion: str | None = None) -> Decision:
    made = decision(int(version), verdict, champion)
    numbers = {} if delta is None else {"delta": delta}
    return made.model_copy(update={"version": version, "numbers": numbers, "model_digest": SHA})


def test_challengers_still_undecided_wait_with_what_was_last_measured() -> None:
    first, second = look("1", Verdict.UNDECIDED, 0.01), look("2", Verdict.UNDECIDED, -0.02)
    one, two = WaitingChallenger("1", SHA, 0.01), WaitingChallenger("2", SHA, -0.02)
    assert history().waiting == ()
    assert history(first).waiting == (one,)
    assert history(first, second).waiting == (one, two)
    assert history(second, look("2", Verdict.UNDECIDED)).waiting == (WaitingChallenger("2", SHA, None),)


def test_a_second_look_at_an_older_challenger_does_not_make_it_the_newest() -> None:
    looks = [look("1", Verdict.UNDECIDED, 0.01), look("2", Verdict.UNDECIDED, 0.02), look("1", Verdict.UNDECIDED, 0.03)]
    one, two = WaitingChallenger("1", SHA, 0.03), WaitingChallenger("2", SHA, 0.02)
    assert history(*looks).waiting == (one, two)
    assert history(*looks, look("2", Verdict.REJECT)).waiting == (one,)


@pytest.mark.parametrize("verdict", [Verdict.PROMOTE, Verdict.ROLLBACK])
def test_whoever_waits_waits_no_longer_when_the_champion_moves(verdict: Verdict) -> None:
    looks = [look("1", Verdict.UNDECIDED, 0.01), look("2", Verdict.UNDECIDED, 0.02)]
    assert history(*looks, look("2", verdict, champion="2")).waiting == ()


def test_a_waiting_version_can_be_started_from_though_its_candidate_was_not_seen() -> None:
    assert history(look("1", Verdict.UNDECIDED)).digests == {"1": SHA}


def test_promoted_versions_are_known_newest_first_without_those_rolled_back() -> None:
    promotions = [look(version, Verdict.PROMOTE, champion=version) for version in ("1", "2", "3")]
    assert history(*promotions).promoted == ["3", "2", "1"]
    back = look("3", Verdict.ROLLBACK, champion="1").model_copy(update={"champion_before": "3"})
    assert history(*promotions, back).promoted == ["1", "2"]
    nobody = back.model_copy(update={"champion_after": None})
    assert history(*promotions, nobody).promoted == ["2", "1"]


def test_events_that_come_twice_count_once() -> None:
    events = [closed_window(0), candidate(0, version="7"), decision(0, Verdict.PROMOTE, "7")]
    once, twice = history(*events), history(*events, *events)
    assert (once.windows, once.champion, once.digests) == (twice.windows, twice.champion, twice.digests)


def test_versions_are_known_by_the_base_that_their_line_began_with() -> None:
    grown = candidate(1, version="2").model_copy(update={"base_version": "7"})
    known = history(candidate(0, version="1"), grown, candidate(2, CandidateStatus.FAILED))
    assert known.bases_of(["1", "2", "9"]) == {"1": None, "2": "7", "9": None}
    assert known.begun_bases() == {"7"}
