"""Which challenger answers beside the champion, whatever order the topics are read in."""

import random
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.canary import SETTING, Canary, CanaryFold, objection_to_tags
from shared.canary_settings import CanarySettings
from shared.events import CanaryTerms, Command, CommandKind, Decision, ServingRole, Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY = CanarySettings()
TENTH = CanarySettings(share=0.1)


def entry(number: int, version: str | None, verdict: Verdict, after: str | None = "1") -> Decision:
    return Decision(
        number=number,
        version=version,
        window_id=None,
        verdict=verdict,
        reasons=("because",),
        champion_before=None,
        champion_after=version if verdict in (Verdict.PROMOTE, Verdict.ROLLBACK) else after,
        decided_at=NOW,
    )


def order(
    version: str | None, share: float = 0.25, decision: int = 1, role: ServingRole = ServingRole.CANARY, name: str = "c"
) -> Command:
    return Command(
        command_id=name,
        kind=CommandKind.CANARY,
        target=version,
        canary=CanaryTerms.model_validate({"role": role, "share": share, "decision": decision}),
        who="ann",
        why="to see",
        issued_at=NOW,
    )


FIRST = entry(1, "1", Verdict.PROMOTE)


def folded(*events: Decision | Command, settings: CanarySettings = NOBODY) -> CanaryFold:
    fold = CanaryFold(settings)
    for event in events:
        if isinstance(event, Decision):
            fold.decided(event)
        else:
            fold.ordered(event)
    return fold


def test_nobody_is_beside_the_champion_unless_somebody_says_so() -> None:
    assert folded(FIRST, entry(2, "2", Verdict.UNDECIDED)).canary is None


def test_an_order_puts_a_version_beside_the_champion_with_who_and_why() -> None:
    assert folded(FIRST, order("2")).canary == Canary("2", ServingRole.CANARY, 0.25, "ann", "to see", "c")


def test_without_a_champion_nobody_can_be_beside_it() -> None:
    assert folded(order("2", decision=0)).canary is None


def test_by_the_setting_the_newest_waiting_challenger_answers_the_share() -> None:
    ledger = (
        FIRST,
        entry(2, "2", Verdict.UNDECIDED),
        entry(3, "3", Verdict.UNDECIDED),
        entry(4, "2", Verdict.UNDECIDED),
    )
    assert folded(*ledger, settings=TENTH).canary == Canary("3", ServingRole.CANARY, 0.1)
    shadow = folded(*ledger, settings=CanarySettings(shadow_share=0.5)).canary
    assert shadow == Canary("3", ServingRole.SHADOW, 0.5)


def test_when_the_newest_is_rejected_the_one_before_it_answers() -> None:
    ledger = (FIRST, entry(2, "2", Verdict.UNDECIDED), entry(3, "3", Verdict.UNDECIDED), entry(4, "3", Verdict.REJECT))
    canary = folded(*ledger, settings=TENTH).canary
    assert canary is not None
    assert canary.version == "2"


@pytest.mark.parametrize("verdict", [Verdict.REJECT, Verdict.PROMOTE])
def test_a_canary_ends_when_its_version_is_settled(verdict: Verdict) -> None:
    fold = folded(FIRST, order("2"))
    canary = fold.canary
    assert canary is not None
    fold.decided(entry(2, "2", verdict))
    assert fold.canary is None
    assert f"{verdict.value} by entry 2" in fold.ended(canary)


@pytest.mark.parametrize("verdict", [Verdict.PROMOTE, Verdict.ROLLBACK])
def test_a_canary_ends_when_another_becomes_champion(verdict: Verdict) -> None:
    fold = folded(FIRST, order("2"))
    canary = fold.canary
    assert canary is not None
    fold.decided(entry(2, "3", verdict))
    assert fold.canary is None
    assert "champion has changed with entry 2" in fold.ended(canary)


def test_a_champion_that_comes_back_does_not_bring_its_old_canary_back() -> None:
    fold = folded(FIRST, order("2"), entry(2, "3", Verdict.PROMOTE), entry(3, "1", Verdict.ROLLBACK))
    assert fold.canary is None


def test_the_last_order_counts() -> None:
    fold = folded(FIRST, order("2"), order("3", role=ServingRole.SHADOW, share=1.0, name="d"))
    assert fold.canary == Canary("3", ServingRole.SHADOW, 1.0, "ann", "to see", "d")


def test_switched_off_nobody_answers_whatever_the_setting_until_the_champion_changes() -> None:
    fold = folded(FIRST, entry(2, "2", Verdict.UNDECIDED), order(None, 0.0, decision=2), settings=TENTH)
    assert fold.canary is None
    fold.decided(entry(3, "3", Verdict.PROMOTE))
    fold.decided(entry(4, "4", Verdict.UNDECIDED))
    assert fold.canary == Canary("4", ServingRole.CANARY, 0.1)


def test_who_ordered_otherwise_is_named() -> None:
    fold = folded(FIRST, order("2"))
    canary = fold.canary
    assert canary is not None
    fold.ordered(order(None, 0.0, name="off"))
    assert fold.ended(canary) == "ann ordered otherwise: to see"


def test_after_an_ordered_canary_is_rejected_the_setting_counts_again() -> None:
    fold = folded(FIRST, entry(2, "2", Verdict.UNDECIDED), order("3"), entry(3, "3", Verdict.REJECT), settings=TENTH)
    canary = fold.canary
    assert canary is not None
    assert (canary.version, canary.by) == ("2", SETTING)


VERSIONS = st.sampled_from(["1", "2", "3", "4"])


@st.composite
def ledgers(draw: st.DrawFn) -> list[Decision]:
    numbers = count(1)
    verdicts = draw(st.lists(st.tuples(VERSIONS, st.sampled_from(Verdict)), max_size=12))
    return [entry(next(numbers), version, verdict) for version, verdict in verdicts]


@st.composite
def orders(draw: st.DrawFn) -> list[Command]:
    made = draw(
        st.lists(st.tuples(st.none() | VERSIONS, st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 12)), max_size=4)
    )
    return [order(version, share, decision, name=str(place)) for place, (version, share, decision) in enumerate(made)]


@given(ledgers(), orders(), st.randoms(use_true_random=False), st.sampled_from([NOBODY, TENTH]))
def test_every_replica_comes_to_the_same_however_the_two_topics_mix_and_repeat(
    ledger: list[Decision], commands: list[Command], chance: random.Random, settings: CanarySettings
) -> None:
    events: list[Decision | Command] = []
    left: list[list[Decision] | list[Command]] = [list(ledger), list(commands)]
    while any(left):
        side = chance.choice([side for side in left if side])
        events.append(side.pop(0))
    again = [*events, *ledger]
    wanted = folded(*ledger, *commands, settings=settings).canary
    assert folded(*again, settings=settings).canary == wanted


@given(ledgers(), orders())
def test_nobody_answers_beside_the_champion_to_whom_the_ledger_objects(
    ledger: list[Decision], commands: list[Command]
) -> None:
    fold = folded(*ledger, *commands, settings=TENTH)
    if (canary := fold.canary) is not None:
        assert fold.objection(canary.version) is None
        assert 0 < canary.share <= 1


@pytest.mark.parametrize(
    ("version", "says"),
    [("1", "champion before; it comes back with"), ("2", "rejected by entry 2"), ("3", "is the champion"), ("4", None)],
)
def test_the_ledger_says_who_may_not(version: str, says: str | None) -> None:
    fold = folded(FIRST, entry(2, "2", Verdict.REJECT), entry(3, "3", Verdict.PROMOTE))
    objection = fold.objection(version)
    assert (objection is None) == (says is None)
    assert (says or "") in (objection or "")


def test_before_the_first_promotion_nobody_may() -> None:
    assert "nothing was promoted" in (folded().objection("1") or "")


def test_only_a_complete_version_can_be_loaded() -> None:
    assert "not in the registry" in (objection_to_tags("9", None, True) or "")
    assert "deleted" in (objection_to_tags("9", {}, False) or "")
    assert "no complete lineage" in (objection_to_tags("9", {"tidemill.seed": "1"}, True) or "")
