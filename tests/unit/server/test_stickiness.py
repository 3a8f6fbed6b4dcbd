from hypothesis import given
from hypothesis import strategies as st

from services.server.stickiness import PLACES, is_in_share, place_of

callers = st.text(max_size=20)
versions = st.text(st.characters(codec="ascii", categories=["Nd"]), min_size=1, max_size=4)
shares = st.floats(0, 1)
MANY = [f"caller-{number}" for number in range(20_000)]


@given(versions, callers, shares, shares)
def test_a_larger_share_only_adds_callers(version: str, caller: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert is_in_share(version, caller, small) <= is_in_share(version, caller, large)


@given(versions, callers)
def test_nobody_is_in_none_and_everybody_in_all(version: str, caller: str) -> None:
    assert not is_in_share(version, caller, 0.0)
    assert is_in_share(version, caller, 1.0)
    assert 0 <= place_of(version, caller) < PLACES


@given(versions, st.sampled_from([0.01, 0.1, 0.5, 0.9]))
def test_of_many_callers_about_the_share_is_answered(version: str, share: float) -> None:
    found = sum(is_in_share(version, caller, share) for caller in MANY)
    deviation = (share * (1 - share) * len(MANY)) ** 0.5
    assert abs(found - share * len(MANY)) < 6 * deviation


def test_another_version_has_other_callers() -> None:
    first = {caller for caller in MANY if is_in_share("1", caller, 0.1)}
    second = {caller for caller in MANY if is_in_share("2", caller, 0.1)}
    assert len(first & second) < 0.2 * len(first)
