"""What the policies do, in a world whose rows are written down beforehand."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.gate.desk import GateDesk, GateRules, Lord, OneLook, Waiting, ahead, half_point_ahead, significantly_ahead
from services.evaluator.comparison import Flips
from services.evaluator.gate import Challenge, judge, settle, stage_of
from shared.events import Verdict
from shared.settings import GateSettings

GOOD, VAGUE, BAD = Flips(60, 10, 1_930), Flips(50, 49, 1_901), Flips(10, 80, 1_910)
TERMS = [term for term in GateSettings().terms if term.kind in ("proven_worse", "safe", "ahead")]


class ScriptedWorld:
    """Says of each model what it is told to, on the pool (`new`) and on fresh rows (`later`), whoever is paired."""

    def __init__(self, new: dict[int, Flips], later: dict[int, Flips] | None = None) -> None:
        self.new, self.later = new, later or {}
        self.starts: list[int] = []
        self.kept: list[set[int]] = []

    def advance(self) -> None:
        """The script goes by models, not by windows."""

    def train(self, start: int) -> int:
        self.starts.append(start)
        return len(self.starts)

    def flips(self, champion: int, challenger: int, *, pooled: bool) -> Flips:
        return self.new[challenger] if pooled else self.later.get(challenger, Flips())

    def keep(self, models: Collection[int]) -> None:
        self.kept.append(set(models))

    def accuracy(self, model: int) -> float:
        return 0.80 + model / 100


def decided(world: ScriptedWorld, windows: int, rules: GateRules | None = None) -> GateDesk:
    desk = GateDesk(world, rules or GateRules())
    for _ in range(windows):
        desk.window()
    return desk


counts = st.integers(0, 200)


@given(flips=st.builds(Flips, counts, counts, st.integers(0, 5_000)))
def test_a_verdict_is_the_gates_own(flips: Flips) -> None:
    challenge = Challenge(probe=None, flips=flips)  # type: ignore[arg-type]  # no term of these asks for it
    expected, _ = settle([(stage_of(term), judge(term, challenge)) for term in TERMS])
    desk = GateDesk(ScriptedWorld({}), GateRules())
    assert desk.verdict(Waiting(1, flips, flips)) is expected


def test_the_anchor_can_stop_what_the_champion_does_not() -> None:
    desk = GateDesk(ScriptedWorld({}), GateRules())
    assert desk.verdict(Waiting(1, GOOD, GOOD)) is Verdict.PROMOTE
    assert desk.verdict(Waiting(1, GOOD, VAGUE)) is Verdict.UNDECIDED


@pytest.mark.parametrize(("losses", "verdict"), [(55, Verdict.PROMOTE), (150, Verdict.REJECT)])
def test_a_flip_budget_stops_what_changes_too_many_right_answers(losses: int, verdict: Verdict) -> None:
    flips = Flips(2 * losses, losses, 2_000 - 3 * losses)
    desk = GateDesk(ScriptedWorld({}), GateRules(flip_budget=0.05))
    assert desk.verdict(Waiting(1, flips, flips)) is verdict


def test_one_look_promotes_or_forgets() -> None:
    world = ScriptedWorld({}, {1: Flips(1, 2, 97), 2: Flips(2, 1, 97)})
    desk = OneLook(world, ahead)
    desk.window()
    desk.window()
    assert (desk.champion, world.starts, world.kept) == (2, [0, 0], [{0}, {2}])
    assert desk.edges == [pytest.approx(0.02)]


def test_half_a_point_ahead_is_more_than_half_a_point() -> None:
    assert not half_point_ahead(Flips(6, 5, 189))
    assert half_point_ahead(Flips(7, 5, 188))


def test_significance_is_one_sided() -> None:
    assert significantly_ahead(Flips(5, 0, 95))
    assert not significantly_ahead(Flips(0, 5, 95))
    assert not significantly_ahead(Flips(4, 0, 96))


def test_a_waiting_challenger_gathers_evidence_until_it_is_promoted() -> None:
    world = ScriptedWorld({1: VAGUE, 2: VAGUE}, {1: GOOD})
    desk = decided(world, 1)
    assert (desk.champion, [each.model for each in desk.room]) == (0, [1])
    desk.window()
    assert desk.champion == 1


def test_a_promotion_clears_the_room_and_learning_goes_on_from_it() -> None:
    world = ScriptedWorld({1: VAGUE, 2: VAGUE, 3: BAD}, {1: GOOD})
    desk = decided(world, 1)
    world.later = {}
    desk.window()
    world.later = {1: GOOD}
    desk.window()
    assert (desk.champion, desk.room, world.starts) == (1, [], [0, 1, 1])


def test_the_waiting_one_with_the_least_evidence_is_crowded_out() -> None:
    worse, better = Flips(40, 45, 1_915), Flips(50, 45, 1_905)
    desk = decided(ScriptedWorld({1: better, 2: worse, 3: VAGUE}), 3)
    assert [each.model for each in desk.room] == [1, 3]


def test_nobody_waits_where_there_is_no_room() -> None:
    desk = decided(ScriptedWorld({}, {1: VAGUE, 2: VAGUE}), 2, GateRules(pooled=False, waiting=0))
    assert (desk.room, desk.champion) == ([], 0)


def test_learning_goes_on_from_the_newest_waiting_one_that_is_not_behind() -> None:
    behind = Flips(40, 65, 1_895)
    world = ScriptedWorld({1: VAGUE, 2: behind, 3: VAGUE})
    decided(world, 3)
    assert world.starts == [0, 1, 1]
    world = ScriptedWorld({1: behind, 2: VAGUE})
    decided(world, 2)
    assert world.starts == [0, 0]


def test_without_the_chain_learning_starts_from_the_champion() -> None:
    world = ScriptedWorld({1: VAGUE, 2: VAGUE})
    decided(world, 2, GateRules(chain_floor=None))
    assert world.starts == [0, 0]


def test_a_proven_worse_candidate_is_not_kept() -> None:
    world = ScriptedWorld({1: BAD})
    assert decided(world, 1).room == []
    assert world.kept == [{0}]


def test_the_anchor_follows_a_champion_that_is_proven_better_after_its_promotion() -> None:
    world = ScriptedWorld({1: GOOD, 2: VAGUE, 3: VAGUE})
    desk = decided(world, 2)
    assert (desk.champion, desk.anchor) == (1, 0)
    world.later = {1: GOOD}
    desk.window()
    assert desk.anchor == 1


def test_lord_spends_no_more_than_its_rate_until_it_promotes_and_earns_by_promoting() -> None:
    idle, lucky = Lord(), Lord()
    levels = []
    for _ in range(2_000):
        idle(Flips(0, 9, 91))
        levels.append(idle.level())
    assert sum(levels) < 0.025
    lucky(Flips(60, 0, 40))
    lucky(Flips(0, 9, 91))
    assert lucky.level() > levels[1]
