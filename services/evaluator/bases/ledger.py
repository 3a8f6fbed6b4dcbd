"""The ledger of bases, folded: which adapted base is in use, and what was decided. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from shared.errors import LedgerCorruptError
from shared.events import BaseDecision, Verdict


@dataclass(frozen=True, slots=True)
class BaseLedger:
    """What all entries up to `number` add up to.

    Attributes:
        base: The adapted base that later trainings may start from; None: the configured base.
        settled_versions: All versions with an entry: a base is judged once.
        latest: The latest entry.
    """

    number: int = 0
    base: str | None = None
    settled_versions: frozenset[str] = frozenset()
    decided_windows: frozenset[str] = frozenset()
    latest: BaseDecision | None = None

    @classmethod
    def of(cls, decisions: Iterable[BaseDecision]) -> Self:
        """Folds all entries in order.

        Raises: LedgerCorruptError if an entry does not continue those before it.
        """
        ledger = cls()
        for decision in decisions:
            ledger = ledger.after(decision)
        return ledger

    @property
    def needed_versions(self) -> frozenset[str]:
        """The base in use: trainings may start from it, and the next adaptation goes on from it."""
        return frozenset() if self.base is None else frozenset([self.base])

    def has_decided(self, window_id: str, version: str | None) -> bool:
        """Whether the window or the version already has an entry; a second candidate of a window is ignored."""
        return window_id in self.decided_windows or version in self.settled_versions

    def after(self, decision: BaseDecision) -> Self:
        """The ledger with one more entry.

        Raises: LedgerCorruptError if the entry does not continue this ledger.
        """
        contradiction = next(_contradictions(self, decision), None)
        if contradiction is not None:
            raise LedgerCorruptError(
                f"entry {decision.number} of bases.decisions (version {decision.version}, window {decision.window_id}) "
                f"{contradiction}; somebody else wrote to the ledger, or entries are lost"
            )
        version = decision.version
        return type(self)(
            number=decision.number,
            base=decision.base_after,
            settled_versions=self.settled_versions | (frozenset() if version is None else {version}),
            decided_windows=self.decided_windows | {decision.window_id},
            latest=decision,
        )


def _contradictions(ledger: BaseLedger, decision: BaseDecision) -> Iterator[str]:
    """Everything that keeps an entry from following this ledger."""
    before, after = decision.base_before, decision.base_after
    promoted = decision.verdict is Verdict.PROMOTE
    if decision.number != ledger.number + 1:
        yield f"comes after entry {ledger.number}"
    if before != ledger.base:
        yield f"takes {before} for the base in use, which was {ledger.base}"
    if after != (decision.version if promoted else before) or (promoted and after is None):
        yield f"puts {after} in use after {before} by the verdict {decision.verdict.value}"
    if decision.version in ledger.settled_versions:
        yield "decides on its version again"
    if decision.window_id in ledger.decided_windows:
        yield "decides on its window again"
