"""What the topics say of unlabelled text and of the bases adapted to it: a pure fold of manifests and decisions."""

from dataclasses import dataclass, field

from shared.events import BaseCandidate, BaseDecision, Event, UnlabeledWindow, Verdict


@dataclass(frozen=True)
class AdaptedBase:
    """A version of the registered base. `root` is the digest of the configured base that its line began with."""

    version: str
    digest: str
    root: str | None


@dataclass
class Bases:
    """Folded state. Events may come twice; within a topic they come in order, between topics they need not."""

    windows: dict[str, UnlabeledWindow] = field(default_factory=dict)
    _candidates: dict[str, BaseCandidate] = field(default_factory=dict)
    _covered: set[str] = field(default_factory=set)
    _made: dict[str, AdaptedBase] = field(default_factory=dict)
    _decided: set[str] = field(default_factory=set)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)
    _in_use: str | None = None

    def observe(self, event: Event) -> None:
        """Folds in one event; other kinds are passed over."""
        match event:
            case UnlabeledWindow():
                self.windows[event.window_id] = event
            case BaseCandidate():
                self._observe_candidate(event)
            case BaseDecision():
                self._decided.add(event.window_id)
                self._in_use = event.base_after
                if event.version is not None:
                    self._verdicts[event.version] = event.verdict

    def _observe_candidate(self, candidate: BaseCandidate) -> None:
        self._candidates.setdefault(candidate.window_id, candidate)
        self._covered.update((candidate.window_id, *candidate.window_ids))
        if candidate.version is not None and candidate.model_digest is not None:
            made = AdaptedBase(candidate.version, candidate.model_digest, candidate.base_digest)
            self._made.setdefault(candidate.version, made)

    def to_learn(self) -> tuple[UnlabeledWindow, ...]:
        """Windows that no candidate covers, oldest first."""
        left = (window for window in self.windows.values() if window.window_id not in self._covered)
        return tuple(sorted(left, key=lambda window: window.sequence))

    def covered(self) -> frozenset[str]:
        """All windows that have their candidate."""
        return frozenset(self._covered)

    def earlier_than(self, window: UnlabeledWindow) -> dict[str, UnlabeledWindow]:
        """Windows before it by id, oldest first."""
        earlier = (each for each in self.windows.values() if each.sequence < window.sequence)
        return {each.window_id: each for each in sorted(earlier, key=lambda each: each.sequence)}

    def undecided(self) -> str | None:
        """The window of the latest candidate that the gate has yet to decide on, if any."""
        newest = next(reversed(self._candidates), None)
        return newest if newest is not None and newest not in self._decided else None

    def unsettled(self, root: str) -> tuple[UnlabeledWindow, ...]:
        """Windows whose bases the gate left undecided since it accepted one, oldest first: the one in use lacks them.

        Only of the line that began with the configured base, whose digest is `root`. The text of rejected bases is not
        among them: it made a base worse.
        """
        found: dict[str, UnlabeledWindow] = {}
        for candidate in self._candidates.values():
            if candidate.base_digest != root:
                continue
            verdict = self._verdicts.get(candidate.version) if candidate.version is not None else None
            if verdict is Verdict.PROMOTE:
                found.clear()
            elif verdict is Verdict.UNDECIDED:
                ids = (candidate.window_id, *candidate.window_ids)
                found.update((id_, self.windows[id_]) for id_ in ids if id_ in self.windows)
        return tuple(sorted(found.values(), key=lambda window: window.sequence))

    def accepted(self, root: str) -> AdaptedBase | None:
        """The version in use in place of the configured base, whose digest is `root`; None if there is none.

        The next adaptation goes on from it: what the gate compares is then always with the base in use. A line that
        began with another configured base is left behind.
        """
        made = self._made.get(self._in_use) if self._in_use else None
        return made if made is not None and made.root == root else None
