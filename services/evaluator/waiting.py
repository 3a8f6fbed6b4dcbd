"""Who stays, who goes, and who wins when several challengers are looked at in one sitting. Pure.

At most one is promoted, and a promotion closes all other cases: they were compared with a champion that is no more.
Undecided ones wait for the hold-outs of later windows, a few at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.evaluator.gate import Ruling
from shared.events import Verdict


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of one contender."""

    verdict: Verdict
    reasons: tuple[str, ...]
    need_rows: int | None = None


def settle_sitting(rulings: Mapping[str, Ruling], places: int) -> dict[str, Settled]:
    """What follows from all rulings together, by role.

    Args:
        rulings: Role -> ruling, in the order of arrival, the new candidate last.
        places: Undecided challengers that may wait.
    """
    winner = _winner(rulings)
    if winner is not None:
        return {role: _after_promotion(role, ruling, winner) for role, ruling in rulings.items()}
    settled = {role: Settled(ruling.verdict, ruling.reasons, ruling.need_rows) for role, ruling in rulings.items()}
    return settled | {role: _crowded_out(rulings[role], places) for role in _too_many(rulings, places)}


def _winner(rulings: Mapping[str, Ruling]) -> str | None:
    """Of those that may be promoted, the one that is most surely better; of equals, the newest."""
    ready = [role for role, ruling in rulings.items() if ruling.verdict is Verdict.PROMOTE]
    return max(reversed(ready), key=lambda role: rulings[role].numbers["evidence_ahead"], default=None)


def _after_promotion(role: str, ruling: Ruling, winner: str) -> Settled:
    if role == winner or ruling.verdict is Verdict.REJECT:
        return Settled(ruling.verdict, ruling.reasons)
    return Settled(Verdict.REJECT, ("superseded: the champion that it was compared with is replaced", *ruling.reasons))


def _too_many(rulings: Mapping[str, Ruling], places: int) -> list[str]:
    """The undecided that find no place: of those that waited, the ones with the least evidence; then the new one."""
    *waiting, newest = rulings
    undecided = [role for role in waiting if rulings[role].verdict is Verdict.UNDECIDED]
    undecided.sort(key=lambda role: rulings[role].numbers["evidence_safe"])
    if rulings[newest].verdict is Verdict.UNDECIDED:
        undecided.append(newest)
    return undecided[: max(0, len(undecided) - places)]


def _crowded_out(ruling: Ruling, places: int) -> Settled:
    return Settled(Verdict.REJECT, (f"crowded out: {places} others wait, with more evidence or newer", *ruling.reasons))
