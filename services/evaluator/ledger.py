"""The ledger, folded: who is champion, what was decided, which windows are locked away.

Pure: entries of `models.decisions` and releases of `control.commands` in, state out. Every entry must continue the one
before it; a ledger that contradicts itself is never guessed at.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from shared.errors import LedgerCorruptError
from shared.events import Command, CommandKind, Decision, Verdict


@dataclass(frozen=True, slots=True)
class Ledger:
    """What all entries up to `number` add up to.

    Attributes:
        reign: Versions from which a rollback steps down, the champion last; a rollback takes the deposed ones off it.
        promotions: Every version that was ever promoted, with the entry that did it.
    """

    number: int = 0
    reign: tuple[str, ...] = ()
    promotions: dict[str, Decision] = field(default_factory=dict)
    decided_versions: frozenset[str] = frozenset()
    decided_windows: frozenset[str] = frozenset()
    answered_commands: frozenset[str] = frozenset()
    distrusted: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()

    @classmethod
    def of(cls, decisions: Iterable[Decision], commands: Iterable[Command] = ()) -> Self:
        """Folds all entries in order, then the releases among the commands.

        Raises: LedgerCorruptError if an entry does not continue those before it.
        """
        ledger = cls()
        for decision in decisions:
            ledger = ledger.after(decision)
        for command in commands:
            ledger = ledger.heeding(command)
        return ledger

    @property
    def champion(self) -> str | None:
        """The version in service."""
        return self.reign[-1] if self.reign else None

    @property
    def previous_champion(self) -> str | None:
        """The version that a rollback without target returns to."""
        return self.reign[-2] if len(self.reign) > 1 else None

    @property
    def quarantined(self) -> frozenset[str]:
        """Windows that are locked away. A release counts whenever it was ordered: somebody vouches for the window."""
        return self.distrusted - self.released

    def has_decided(self, window_id: str, version: str | None) -> bool:
        """Whether the window or the version already has an entry; a second candidate of a window is ignored."""
        return window_id in self.decided_windows or version in self.decided_versions

    def digest_of(self, version: str) -> str | None:
        """Digest of a version's files, if it was ever promoted."""
        promotion = self.promotions.get(version)
        return promotion.model_digest if promotion else None

    def after(self, decision: Decision) -> Self:
        """The ledger with one more entry.

        Raises: LedgerCorruptError if the entry does not continue this ledger.
        """
        _check(self, decision)
        added = replace(
            self,
            number=decision.number,
            reign=_reign(self.reign, decision),
            decided_windows=self.decided_windows | _given(decision.window_id),
            answered_commands=self.answered_commands | _given(decision.command_id),
            distrusted=self.distrusted | (_given(decision.window_id) if decision.quarantined else frozenset()),
        )
        if decision.verdict is Verdict.ROLLBACK or decision.version is None:
            return added
        promotions = {decision.version: decision} if decision.verdict is Verdict.PROMOTE else {}
        return replace(
            added,
            decided_versions=added.decided_versions | {decision.version},
            promotions=added.promotions | promotions,
        )

    def heeding(self, command: Command) -> Self:
        """The ledger with a window released, if that is what the command orders; else the same."""
        if command.kind is not CommandKind.RELEASE_WINDOW or command.target is None:
            return self
        return replace(self, released=self.released | {command.target})


def _given(name: str | None) -> frozenset[str]:
    return frozenset() if name is None else frozenset({name})


def _reign(reign: tuple[str, ...], decision: Decision) -> tuple[str, ...]:
    after = decision.champion_after
    if after is None or (reign and reign[-1] == after):
        return reign
    if decision.verdict is Verdict.ROLLBACK and after in reign:
        return reign[: reign.index(after) + 1]
    return (*reign, after)


def _check(ledger: Ledger, decision: Decision) -> None:
    contradiction = next(_contradictions(ledger, decision), None)
    if contradiction is not None:
        raise LedgerCorruptError(
            f"entry {decision.number} of models.decisions (version {decision.version}, window {decision.window_id}) "
            f"{contradiction}; somebody else wrote to the ledger, or entries are lost"
        )


def _contradictions(ledger: Ledger, decision: Decision) -> Iterator[str]:
    """Everything that keeps an entry from following this ledger."""
    verdict, before, after = decision.verdict, decision.champion_before, decision.champion_after
    if decision.number != ledger.number + 1:
        yield f"comes after entry {ledger.number}"
    if before != ledger.champion:
        yield f"takes {before} for the champion, which was {ledger.champion}"
    if not _moves_as_it_says(ledger, decision):
        yield f"makes {after} champion after {before} by the verdict {verdict.value}"
    if verdict is not Verdict.ROLLBACK and decision.version in ledger.decided_versions:
        yield "decides on its version again"
    if decision.window_id in ledger.decided_windows:
        yield "decides on its window again"
    if decision.command_id in ledger.answered_commands:
        yield f"answers command {decision.command_id} again"


def _moves_as_it_says(ledger: Ledger, decision: Decision) -> bool:
    before, after = decision.champion_before, decision.champion_after
    match decision.verdict:
        case Verdict.PROMOTE:
            return after is not None and after == decision.version
        case Verdict.ROLLBACK:
            return after in ledger.promotions and after == decision.version and after != before
        case _:
            return after == before
