"""At most one wins a sitting, a promotion closes all other cases, and the waiting room is small."""

from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.comparison import Flips
from services.evaluator.gate import Ruling, decide
from services.evaluator.waiting import Settled, settle_sitting
from shared.events import Verdict
from tests.unit.evaluator.builders import CORE_POLICY, challenge

PROMOTE, REJECT, UNDECIDED = Verdict.PROMOTE, Verdict.REJECT, Verdict.UNDECIDED
BETTER, SURELY_BETTER, WORSE = Flips(300, 200, 1500), Flips(300, 100, 1600), Flips(100, 300, 1600)
EVEN, LITTLE, MORE = Flips(20, 20, 100), Flips(10, 9, 50), Flips(30, 20, 400)


def ruling(flips: Flips) -> Ruling:
    return decide(challenge(flips), CORE_POLICY)


def sitting(*flips: Flips, places: int = 2) -> list[Settled]:
    """What becomes of contenders in the order of arrival."""
    return list(settle_sitting({str(place): ruling(each) for place, each in enumerate(flips)}, places).values())


def verdicts(*flips: Flips, places: int = 2) -> list[Verdict]:
    return [settled.verdict for settled in sitting(*flips, places=places)]


def test_a_challenger_alone_gets_what_the_gate_says() -> None:
    assert [verdicts(flips) for flips in (BETTER, WORSE, LITTLE)] == [[PROMOTE], [REJECT], [UNDECIDED]]


def test_one_that_waited_may_win_and_the_others_cases_are_closed() -> None:
    settled = sitting(LITTLE, BETTER, MORE)
    assert [each.verdict for each in settled] == [REJECT, PROMOTE, REJECT]
    assert settled[0].reasons[0].startswith("superseded")
    assert settled[0].need_rows is None


def test_of_two_that_may_be_promoted_the_surer_one_is_and_of_equals_the_newest() -> None:
    assert verdicts(SURELY_BETTER, BETTER) == [PROMOTE, REJECT]
    assert verdicts(BETTER, BETTER) == [REJECT, PROMOTE]


def test_a_worse_one_is_told_its_own_reason_whoever_wins() -> None:
    assert sitting(WORSE, BETTER)[0].reasons[0].startswith("proven_worse")


def test_the_one_that_waited_with_the_least_evidence_makes_place() -> None:
    settled = sitting(MORE, EVEN, LITTLE)
    assert [each.verdict for each in settled] == [UNDECIDED, REJECT, UNDECIDED]
    assert settled[1].reasons[0].startswith("crowded out")


def test_a_newcomer_always_finds_a_place_if_there_is_one() -> None:
    assert verdicts(MORE, MORE, Flips(0, 0, 1)) == [REJECT, UNDECIDED, UNDECIDED]
    assert verdicts(LITTLE, places=0) == [REJECT]


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 1500)).map(lambda counts: Flips(*counts)),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 3),
)
def test_never_two_winners_nor_more_waiting_than_places(flips: list[Flips], places: int) -> None:
    found = verdicts(*flips, places=places)
    assert found.count(PROMOTE) <= 1
    assert found.count(UNDECIDED) <= (0 if PROMOTE in found else places)
    winners = [each for verdict, each in zip(found, flips, strict=True) if verdict is PROMOTE]
    assert all(ruling(each).verdict is PROMOTE for each in winners)
