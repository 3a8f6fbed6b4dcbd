"""What is proven and what a promotion is for, term by term."""

from services.evaluator.comparison import Flips, evidence, harm
from services.evaluator.terms import judge
from shared.events import Outcome
from shared.gate_settings import AnchorTermSettings, BaselineTermSettings, SafeTermSettings
from tests.unit.evaluator.builders import challenge

BETTER, WORSE, SLID = Flips(25, 10, 465), Flips(10, 25, 465), Flips(30, 45, 925)


def test_the_anchor_is_asked_as_the_champion_is() -> None:
    """The same counts give the same evidence, whoever they are against."""
    against_anchor = judge(AnchorTermSettings(), challenge(BETTER, anchor=SLID))
    against_champion = judge(SafeTermSettings(), challenge(SLID))
    assert (against_anchor.outcome, against_anchor.value) == (Outcome.UNDECIDED, evidence(SLID, above=-0.01))
    assert against_anchor.model_copy(update={"name": "safe"}) == against_champion
    assert judge(AnchorTermSettings(), challenge(SLID, anchor=BETTER)).outcome is Outcome.PASS


def test_an_anchor_that_could_not_be_scored_never_passes() -> None:
    result = judge(AnchorTermSettings(), challenge(BETTER, anchor=Flips()))
    assert result.outcome is Outcome.UNDECIDED
    assert (result.need_rows or 0) > 0


def test_without_an_anchor_or_against_itself_there_is_nothing_to_ask() -> None:
    for asked in (
        challenge(BETTER, anchor=SLID, is_anchor=True),
        challenge(BETTER, anchor=None),
        challenge(BETTER, anchor=SLID, against_baseline=True),
    ):
        assert judge(AnchorTermSettings(), asked).outcome is Outcome.NOT_APPLICABLE


def test_the_baseline_may_not_be_proven_better() -> None:
    result = judge(BaselineTermSettings(), challenge(BETTER, baseline=WORSE))
    assert (result.outcome, result.value, result.threshold) == (Outcome.FAIL, harm(WORSE), 10.0)
    assert judge(BaselineTermSettings(), challenge(BETTER, baseline=SLID)).outcome is Outcome.PASS
    assert judge(BaselineTermSettings(), challenge(BETTER, baseline=Flips())).outcome is Outcome.UNDECIDED
    assert judge(BaselineTermSettings(), challenge(BETTER, baseline=None)).outcome is Outcome.UNDECIDED


def test_the_baseline_as_the_opponent_is_judged_by_safe_and_ahead() -> None:
    opponent = challenge(BETTER, baseline=WORSE, against_baseline=True)
    assert judge(BaselineTermSettings(), opponent).outcome is Outcome.NOT_APPLICABLE
