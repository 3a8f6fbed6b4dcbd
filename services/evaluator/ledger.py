"""The ledger, folded: who is champion, who waits, what was decided, which windows are locked away.

Pure: entries of `models.decisions` and releases of `control.commands` in, state out. Every entry must continue the one
before it; a ledger that contradicts itself is never guessed at.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from shared.errors import LedgerCorruptError
from shared.events import Command, CommandKind, Decision, Verdict

_SETTLING = (Verdict.PROMOTE, Verdict.REJECT)
# Who rolls back when nobody does; what people order bears their names.
WATCH = "watch"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What all entries up to `number` add up to.

    Attributes:
        reign: Versions from which a rollback steps down, the champion last; a rollback takes the deposed ones off it.
        promotions: Every version that was ever promoted, with the entry that did it.
        waiting: The latest entry of every undecided challenger, in the order of their arrival.
        births: Version -> the newest window that the gate looked at when it first judged it.
        anchors: Versions that were proven better than the anchor before them, the one in force last.
        decided_versions: Versions with an entry; `settled_versions`: those that no further entry may be about.
        moves: Every entry that moved the champion.
    """

    number: int = 0
    reign: tuple[str, ...] = ()
    promotions: dict[str, Decision] = field(default_factory=dict)
    waiting: tuple[Decision, ...] = ()
    births: dict[str, str] = field(default_factory=dict)
    anchors: tuple[str, ...] = ()
    decided_versions: frozenset[str] = frozenset()
    settled_versions: frozenset[str] = frozenset()
    decided_windows: frozenset[str] = frozenset()
    answered_commands: frozenset[str] = frozenset()
    distrusted: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    moves: tuple[Decision, ...] = ()

    @classmethod
    def of(cls, decisions: Iterable[Decision], commands: Iterable[Command] = ()) -> Self:
        """Folds all entries in order, then the releases among the commands.

        Raises: LedgerCorruptError if an entry does not continue those before it.
        """
        ledger = cls().after_all(decisions)
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
    def anchor(self) -> str | None:
        """The version that stops a slow slide through many "not worse" promotions."""
        return self.anchors[-1] if self.anchors else None

    @property
    def quarantined(self) -> frozenset[str]:
        """Windows that are locked away. A release counts whenever it was ordered: somebody vouches for the window."""
        return self.distrusted - self.released

    @property
    def needed_versions(self) -> frozenset[str]:
        """Versions that serve or may serve again: champion, the one before, anchor."""
        return _given(self.champion) | _given(self.previous_champion) | _given(self.anchor)

    @property
    def waiting_versions(self) -> tuple[str, ...]:
        """Undecided challengers, in the order of their arrival."""
        return tuple(entry.version for entry in self.waiting if entry.version is not None)

    def has_decided(self, window_id: str, version: str | None) -> bool:
        """Whether the window or the version already has an entry; a second candidate of a window is ignored."""
        return window_id in self.decided_windows or version in self.decided_versions

    def digest_of(self, version: str) -> str | None:
        """Digest of a version's files, if it was ever promoted."""
        promotion = self.promotions.get(version)
        return promotion.model_digest if promotion else None

    @property
    def promoted_with(self) -> str | None:
        """The newest window that the gate had looked at when it promoted the champion."""
        if self.champion is None:
            return None
        promotion = self.promotions[self.champion]
        return promotion.looked_window_id or promotion.window_id

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the champion, or one that waits, was rebuilt without: it decides about nobody meanwhile."""
        line = (*([self.promotions[self.champion]] if self.champion else ()), *self.waiting)
        return tuple(dict.fromkeys(selector for entry in line for selector in entry.without))

    def anchor_after_rollback(self, target: str) -> str:
        """The latest anchor that is still in the line of champions; the restored champion itself if none is."""
        reign = _reign_after_rollback(self.reign, target)
        return next((anchor for anchor in reversed(self.anchors) if anchor in reign), target)

    def after_all(self, decisions: Iterable[Decision]) -> Self:
        """The ledger with more entries, in their order; raises as `after` does."""
        ledger = self
        for decision in decisions:
            ledger = ledger.after(decision)
        return ledger

    @property
    def rollbacks(self) -> tuple[Decision, ...]:
        """Every entry that put an earlier champion back in service."""
        return tuple(entry for entry in self.moves if entry.verdict is Verdict.ROLLBACK)

    def moves_until(self, rollback: Decision) -> tuple[Decision, ...]:
        """The entries that moved the champion, up to this one."""
        return tuple(entry for entry in self.moves if entry.number <= rollback.number)

    def rollbacks_by_watch(self, since: datetime) -> int:
        """How many rollbacks nobody ordered, after a moment."""
        by_watch = (entry for entry in self.rollbacks if entry.decided_by == WATCH)
        return sum(entry.decided_at > since for entry in by_watch)

    def after(self, decision: Decision) -> Self:
        """The ledger with one more entry.

        Raises: LedgerCorruptError if the entry does not continue this ledger.
        """
        _check(self, decision)
        added = replace(
            self,
            number=decision.number,
            reign=_reign(self.reign, decision),
            waiting=_waiting(self.waiting, decision),
            anchors=_anchors(self.anchors, decision),
            decided_windows=self.decided_windows | _given(decision.window_id),
            answered_commands=self.answered_commands | _given(decision.command_id),
            distrusted=self.distrusted | (_given(decision.window_id) if decision.quarantined else frozenset()),
            moves=(*self.moves, decision) if decision.champion_after != decision.champion_before else self.moves,
        )
        if decision.verdict is Verdict.ROLLBACK or decision.version is None:
            return added
        promotions = {decision.version: decision} if decision.verdict is Verdict.PROMOTE else {}
        settled = {decision.version} if decision.verdict in _SETTLING else set()
        return replace(
            added,
            births={decision.version: decision.looked_window_id or decision.window_id or ""} | added.births,
            decided_versions=added.decided_versions | {decision.version},
            settled_versions=added.settled_versions | settled,
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
    return _reign_after_rollback(reign, after) if decision.verdict is Verdict.ROLLBACK else (*reign, after)


def _reign_after_rollback(reign: tuple[str, ...], target: str) -> tuple[str, ...]:
    return reign[: reign.index(target) + 1] if target in reign else (*reign, target)


def _waiting(waiting: tuple[Decision, ...], decision: Decision) -> tuple[Decision, ...]:
    """An undecided challenger keeps its place; whatever is said of another champion, the room is empty."""
    if decision.verdict in (Verdict.PROMOTE, Verdict.ROLLBACK):
        return ()
    if decision.verdict is not Verdict.UNDECIDED:
        return tuple(entry for entry in waiting if entry.version != decision.version)
    if any(entry.version == decision.version for entry in waiting):
        return tuple(decision if entry.version == decision.version else entry for entry in waiting)
    return (*waiting, decision)


def _anchors(anchors: tuple[str, ...], decision: Decision) -> tuple[str, ...]:
    if decision.anchor is None or (anchors and anchors[-1] == decision.anchor):
        return anchors
    if decision.anchor in anchors:
        return anchors[: anchors.index(decision.anchor) + 1]
    return (*anchors, decision.anchor)


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
    if verdict is not Verdict.ROLLBACK and decision.version in ledger.settled_versions:
        yield "decides on its version again"
    if decision.window_id in ledger.decided_windows and decision.version not in ledger.decided_versions:
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
