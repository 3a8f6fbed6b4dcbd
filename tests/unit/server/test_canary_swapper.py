"""The challenger beside the champion: brought there as a champion is, let go when it is over."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.server.champion import Champion
from services.server.tally import Tally
from shared.canary import Canary
from shared.events import ServerPhase, ServingRole
from tests.unit.server.test_follower import Story
from tests.unit.server.test_swapper import Bench


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Version 1 is the champion; version 2 is in the registry."""
    story = Story(tmp_path)
    story.promote("1", "positive")
    story.follower.step()
    story.bench.registry.add("2", "negative")
    return story


def canary(version: str = "2", share: float = 0.5, order: str = "c") -> Canary:
    return Canary(version, ServingRole.CANARY, share, "ann", "to see", order)


def ordered(story: Story, wanted: Canary | None) -> None:
    story.ledger.canary = wanted
    story.follower.step()


def beside(bench: Bench) -> tuple[str, str] | None:
    challenger = bench.stage.slots.challenger
    if challenger is None:
        return None
    return challenger.slot.card.version, challenger.slot.model.predict(["a film"]).predicted_labels[0]


def phases(story: Story) -> list[ServerPhase | None]:
    """Of the challenger, as announced; each once."""
    found = [state.canary.phase if state.canary else None for state in story.bench.states]
    return [phase for place, phase in enumerate(found) if place == 0 or found[place - 1] != phase]


def test_a_challenger_goes_through_every_phase_and_stands_beside_the_champion(story: Story) -> None:
    ordered(story, canary())
    assert beside(story.bench) == ("2", "negative")
    assert story.bench.answer() == ("1", "positive")
    assert phases(story) == [
        None,
        ServerPhase.DOWNLOADING,
        ServerPhase.VERIFYING,
        ServerPhase.LOADING,
        ServerPhase.WARMING,
        ServerPhase.SERVING,
    ]
    assert story.bench.collector.get_sample_value("tidemill_canary_share_ratio", {"role": "canary"}) == 0.5


def test_another_share_needs_no_second_load(story: Story) -> None:
    ordered(story, canary())
    tally = story.bench.stage.slots.challenger.tally  # type: ignore[union-attr]
    ordered(story, canary(share=0.9, order="d"))
    challenger = story.bench.stage.slots.challenger
    assert challenger is not None
    assert (challenger.canary.share, challenger.tally) == (0.9, tally)
    assert story.bench.registry.downloads == ["1", "2"]


def test_when_it_is_over_its_model_is_let_go_and_what_was_counted_is_reported(story: Story) -> None:
    ordered(story, canary())
    challenger = story.bench.stage.slots.challenger
    assert challenger is not None
    challenger.tally.answered(3)
    ordered(story, None)
    assert beside(story.bench) is None
    assert challenger.slot._model is None
    assert story.bench.status.now.canary is None
    (report,) = story.bench.reports
    assert (report.version, report.champion, report.answers) == ("2", "1", 3)


def tally(story: Story) -> Tally:
    challenger = story.bench.stage.slots.challenger
    assert challenger is not None
    return challenger.tally


def test_what_was_counted_of_a_promoted_challenger_is_reported_beside_the_champion_before_it(story: Story) -> None:
    ordered(story, canary())
    tally(story).answered(3)
    story.ledger.champion, story.ledger.canary = champion_of(story, "2"), None
    story.follower.step()
    story.follower.step()
    (report,) = story.bench.reports
    assert (report.version, report.champion, report.answers) == ("2", "1", 3)


def test_nobody_makes_other_models_while_it_is_brought_or_let_go(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does looks again afterwards, and finds it standing there, or gone."""
    seen: list[tuple[str, str] | None] = []

    @contextmanager
    def alone() -> Iterator[None]:
        seen.append(beside(story.bench))
        yield
        seen.append(beside(story.bench))

    monkeypatch.setattr(story.bench.swapper, "_alone", alone)
    ordered(story, canary())
    ordered(story, None)
    assert seen == [None, ("2", "negative"), ("2", "negative"), None]


def test_requests_that_were_under_way_when_it_left_are_in_its_last_report(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered(story, canary())
    counted = tally(story)
    monkeypatch.setattr(story.bench.stage, "drain", lambda retired: counted.answered(1))
    ordered(story, None)
    assert story.bench.reports[-1].answers == 1


def test_what_was_counted_is_reported_when_the_server_stops(story: Story) -> None:
    ordered(story, canary())
    tally(story).answered(3)
    story.follower._stopping.set()
    story.follower.run()
    (report,) = story.bench.reports
    assert report.answers == 3


def test_a_canary_that_becomes_a_shadow_is_counted_anew(story: Story) -> None:
    ordered(story, canary())
    before = tally(story)
    before.answered(3)
    ordered(story, replace(canary(order="d"), role=ServingRole.SHADOW))
    (report,) = story.bench.reports
    assert (report.role, report.session_id, report.answers) == (ServingRole.CANARY, before.session_id, 3)
    assert tally(story).counts.asked == 0
    assert tally(story).session_id != before.session_id
    assert story.bench.registry.downloads == ["1", "2"]


def test_a_promoted_challenger_is_not_loaded_again(story: Story) -> None:
    ordered(story, canary())
    loaded = story.bench.stage.slots.challenger.slot  # type: ignore[union-attr]
    story.ledger.champion, story.ledger.canary = champion_of(story, "2"), None
    story.follower.step()
    assert story.bench.stage.slots.current is loaded
    assert story.bench.answer() == ("2", "negative")
    assert beside(story.bench) is None
    assert story.bench.registry.downloads == ["1", "2"]
    assert [card.version for card in story.bench.shelf.last()] == ["2", "1"]
    assert story.bench.status.now.canary is None
    assert story.bench.freshness_count() == 2


def champion_of(story: Story, version: str) -> Champion:
    found = story.bench.registry.version(version)
    assert found is not None
    return Champion(version, found.tags["tidemill.model_digest"])


def test_another_promotion_ends_it(story: Story) -> None:
    ordered(story, canary())
    story.promote("3", "positive")
    story.ledger.canary = None
    story.follower.step()
    assert story.bench.answer() == ("3", "positive")
    assert beside(story.bench) is None


def test_a_promotion_that_comes_while_it_is_being_loaded_goes_first(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = story.bench.registry.add("3", "positive")

    def news(seconds: float) -> None:
        story.ledger.champion, story.ledger.canary = third, None

    monkeypatch.setattr(story.ledger, "poll", news)
    ordered(story, canary())
    assert beside(story.bench) is None
    assert story.bench.registry.downloads == ["1"]
    story.follower.step()
    assert story.bench.answer() == ("3", "positive")


def test_a_challenger_that_cannot_be_used_leaves_the_champion_and_is_not_tried_again(story: Story) -> None:
    story.bench.registry.add("3", "good", labels=("bad", "good"))
    for _ in range(3):
        ordered(story, canary("3"))
    state = story.bench.status.now.canary
    assert state is not None
    assert state.phase is ServerPhase.FAILED
    assert "labels" in (state.reason or "")
    assert story.bench.registry.downloads == ["1", "3"]
    assert (story.bench.status.now.phase, story.bench.answer()) == (ServerPhase.SERVING, ("1", "positive"))
    ordered(story, canary("2"))
    assert beside(story.bench) == ("2", "negative")


def test_a_version_that_is_not_in_the_registry_is_refused_again_here(story: Story) -> None:
    ordered(story, canary("9"))
    state = story.bench.status.now.canary
    assert state is not None
    assert state.reason == "version 9 is not in the registry"


def test_one_that_fails_too_often_is_switched_off_until_it_is_ordered_anew(story: Story) -> None:
    ordered(story, canary())
    for _ in range(20):
        story.bench.stage.slots.challenger.tally.failed()  # type: ignore[union-attr]
    for _ in range(2):
        story.follower.step()
    state = story.bench.status.now.canary
    assert state is not None
    assert state.phase is ServerPhase.FAILED
    assert state.reason == "switched off here: failed 20 times of 20, more than 5.0%"
    assert beside(story.bench) is None
    assert story.bench.reports[-1].failures == 20
    assert story.bench.collector.get_sample_value("tidemill_canaries_switched_off_total") == 1
    ordered(story, canary(order="once more"))
    assert beside(story.bench) == ("2", "negative")


def test_a_restart_finds_it_again_without_the_registry(story: Story) -> None:
    ordered(story, canary())
    story.bench.registry.gone = True
    story.restart()
    story.follower._begin()
    story.follower.step()
    assert story.bench.answer() == ("1", "positive")
    assert beside(story.bench) == ("2", "negative")


def test_its_files_are_spared_when_the_champion_changes_and_swept_when_it_is_over(story: Story) -> None:
    ordered(story, canary())
    folder = story.bench.shelf.folder(story.bench.stage.slots.challenger.slot.card)  # type: ignore[union-attr]
    story.bench.shelf.keep(story.bench.shelf.last()[0])
    assert folder.is_dir()
    ordered(story, None)
    assert not folder.is_dir()


def test_with_kafka_gone_and_another_alias_nobody_is_beside_the_champion(story: Story) -> None:
    ordered(story, canary())
    story.bench.registry.add("3", "positive")
    story.ledger.gone, story.alias = True, "3"
    story.follower.step()
    assert story.bench.answer() == ("3", "positive")
    assert beside(story.bench) is None
