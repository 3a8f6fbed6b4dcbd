import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retrainer.start import WaitingChallenger, choose_start, of_one_base, restarts
from shared.training_settings import AdaptationSettings, TrainingSettings

CHAIN = TrainingSettings()
VERSIONS = st.none() | st.sampled_from(["1", "2", "3", "4"])
KINDS = st.sampled_from(["chain", "champion", "base", "soup"])


def waiting(version: str = "5", delta: float | None = 0.0) -> list[WaitingChallenger]:
    return [WaitingChallenger(version, "d" * 64, delta)]


def test_learning_goes_on_from_the_newest_waiting_challenger_by_default() -> None:
    assert choose_start(CHAIN, "3", waiting()) == ("5",)
    assert choose_start(CHAIN, None, waiting()) == ("5",)


@pytest.mark.parametrize(("delta", "chosen"), [(-0.0101, "3"), (-0.01, "5"), (0.2, "5"), (None, "5")])
def test_a_challenger_below_the_floor_is_passed_over(delta: float | None, chosen: str) -> None:
    assert choose_start(CHAIN, "3", waiting(delta=delta)) == (chosen,)


def test_what_an_older_challenger_learned_is_not_lost_for_a_newer_one_below_the_floor() -> None:
    assert choose_start(CHAIN, "3", [*waiting("4"), *waiting("5")]) == ("5",)
    assert choose_start(CHAIN, "3", [*waiting("4"), *waiting("5", delta=-0.5)]) == ("4",)
    assert choose_start(CHAIN, None, [*waiting("4"), *waiting("5", delta=-0.5)]) == ("4",)
    assert choose_start(CHAIN, "3", [*waiting("4", delta=-0.5), *waiting("5", delta=-0.5)]) == ("3",)


def test_without_a_waiting_challenger_the_champion_is_the_start_and_without_that_the_base() -> None:
    assert choose_start(CHAIN, "3", []) == ("3",)
    assert choose_start(CHAIN, None, []) == ()


def test_champion_and_base_look_at_no_challenger() -> None:
    assert choose_start(TrainingSettings(start="champion"), "3", waiting()) == ("3",)
    assert choose_start(TrainingSettings(start="champion"), None, waiting()) == ()
    assert choose_start(TrainingSettings(start="base"), "3", waiting(), ["3", "2"]) == ()


def test_a_soup_is_champion_challenger_and_earlier_champions() -> None:
    soup = TrainingSettings(start="soup", soup_versions=3)
    assert choose_start(soup, "3", waiting(), ["3", "2", "1"]) == ("3", "5", "2")
    assert choose_start(soup, "3", waiting(delta=-0.5), ["3", "2", "1"]) == ("3", "2", "1")
    assert choose_start(soup, "3", [*waiting("4"), *waiting("5", delta=-0.5)], ["3"]) == ("3", "4")
    assert choose_start(soup, "3", [], ["3"]) == ("3",)
    assert choose_start(soup, None, []) == ()


@given(KINDS, VERSIONS, VERSIONS, st.lists(st.sampled_from(["1", "2", "3", "4"])), st.integers(2, 10))
def test_no_version_is_taken_twice_nor_more_than_allowed(
    kind: str, champion: str | None, newest: str | None, promoted: list[str], most: int
) -> None:
    training = TrainingSettings.model_validate({"start": kind, "soup_versions": most})
    chosen = choose_start(training, champion, waiting(newest) if newest else [], promoted)
    assert len(chosen) == len(set(chosen)) <= most
    assert set(chosen) <= {champion, newest, *promoted}


RESTART = AdaptationSettings()


def test_the_first_training_after_an_acceptance_starts_from_the_new_base() -> None:
    assert restarts(CHAIN, RESTART, accepted="2", begun=[])
    assert restarts(CHAIN, RESTART, accepted="2", begun=["1"])
    assert not restarts(CHAIN, RESTART, accepted=None, begun=["1"])


def test_a_base_that_a_line_began_with_is_not_started_from_again() -> None:
    assert not restarts(CHAIN, RESTART, accepted="2", begun=["1", "2"])


def test_restarting_can_be_switched_off() -> None:
    assert not restarts(CHAIN, AdaptationSettings(restart=False), accepted="2", begun=[])


def test_who_starts_from_the_base_every_time_needs_no_restart() -> None:
    assert not restarts(TrainingSettings(start="base"), RESTART, accepted="2", begun=[])


def test_only_lines_of_one_base_are_averaged() -> None:
    bases = {"3": "1", "5": None, "2": "1"}
    assert of_one_base(("3", "5", "2"), bases) == ("3", "2")
    assert of_one_base(("5", "3"), bases) == ("5",)
    assert of_one_base(("8", "5"), bases) == ("8", "5")
    assert of_one_base((), bases) == ()
