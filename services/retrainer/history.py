"""What the topics say so far, as far as planning needs it: a pure fold of manifests, candidates, decisions, orders."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.retrainer.bases import Bases
from services.retrainer.start import WaitingChallenger
from shared.events import (
    Candidate,
    CandidateStatus,
    ClosedWindow,
    Command,
    CommandKind,
    Decision,
    Event,
    Verdict,
)
from shared.rebuilds import rebuild_id

MOVES_CHAMPION = (Verdict.PROMOTE, Verdict.ROLLBACK)


@dataclass
class History:
    """Folded state. Events may come twice; within a topic they come in order, between topics they need not."""

    windows: dict[str, ClosedWindow] = field(default_factory=dict)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    champion: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    promoted: list[str] = field(default_factory=list)
    bases: Bases = field(default_factory=Bases)
    _waiting: dict[str, WaitingChallenger] = field(default_factory=dict)
    _covered: set[str] = field(default_factory=set)
    _decided: set[str] = field(default_factory=set)
    _quarantined: dict[str, Decision] = field(default_factory=dict)
    _released: dict[str, Command] = field(default_factory=dict)
    _rebuilds: dict[str, Command] = field(default_factory=dict)

    def observe(self, event: Event) -> None:
        """Folds in one event; kinds that planning does not need are passed over."""
        self.bases.observe(event)
        match event:
            case ClosedWindow():
                self.windows[event.window_id] = event
            case Candidate():
                self._observe_candidate(event)
            case Decision():
                self._observe_decision(event)
            case Command(kind=CommandKind.RELEASE_WINDOW, target=str(window_id)):
                self._released[window_id] = event
            case Command(kind=CommandKind.REBUILD):
                self._rebuilds.setdefault(rebuild_id(event.command_id), event)

    def _observe_candidate(self, candidate: Candidate) -> None:
        self.candidates.setdefault(candidate.window_id, candidate)
        self._covered.update((candidate.window_id, *candidate.window_ids))
        if candidate.version is not None and candidate.model_digest is not None:
            self.digests[candidate.version] = candidate.model_digest

    def _observe_decision(self, decision: Decision) -> None:
        if decision.window_id is not None:
            self._decided.add(decision.window_id)
            if decision.quarantined:
                self._quarantined[decision.window_id] = decision
        if decision.verdict in MOVES_CHAMPION:
            self._move_champion(decision)
        elif decision.version is not None:
            self._observe_challenger(decision, decision.version)

    def _move_champion(self, decision: Decision) -> None:
        self.champion = decision.champion_after
        self._waiting.clear()
        fallen = decision.champion_before if decision.verdict is Verdict.ROLLBACK else None
        kept = [version for version in self.promoted if version not in (fallen, self.champion)]
        self.promoted = ([self.champion] if self.champion else []) + kept

    def _observe_challenger(self, decision: Decision, version: str) -> None:
        if decision.verdict is not Verdict.UNDECIDED:
            self._waiting.pop(version, None)
            return
        # A second look keeps the challenger's place: the newest is who came last, not who was looked at last.
        digest = decision.model_digest or self.digests.get(version)
        self._waiting[version] = WaitingChallenger(version, digest, decision.numbers.get("delta"))
        if digest is not None:
            self.digests.setdefault(version, digest)

    @property
    def waiting(self) -> tuple[WaitingChallenger, ...]:
        """The challengers that the gate has looked at and not settled, the newest last."""
        return tuple(self._waiting.values())

    def is_covered(self, window_id: str) -> bool:
        """Whether the window has its candidate already, alone or merged with later ones."""
        return window_id in self._covered

    def covered(self) -> frozenset[str]:
        """All windows that have their candidate."""
        return frozenset(self._covered)

    def next_rebuild(self) -> Command | None:
        """The oldest order to rebuild that has no candidate yet."""
        return next((order for name, order in self._rebuilds.items() if name not in self._covered), None)

    def candidate_of(self, version: str) -> Candidate | None:
        """The candidate that a version is."""
        return next((made for made in self.candidates.values() if made.version == version), None)

    def bases_of(self, versions: Iterable[str]) -> dict[str, str | None]:
        """Version -> the adapted base that its line began with; None: the configured one."""
        made = {version: self.candidate_of(version) for version in versions}
        return {version: candidate.base_version if candidate else None for version, candidate in made.items()}

    def begun_bases(self) -> frozenset[str]:
        """Adapted bases that some candidate's line began with."""
        return frozenset(filter(None, (candidate.base_version for candidate in self.candidates.values())))

    def left_out(self, versions: Iterable[str]) -> tuple[str, ...]:
        """What the lines of these versions were rebuilt without."""
        made = filter(None, map(self.candidate_of, versions))
        return tuple(dict.fromkeys(selector for candidate in made for selector in candidate.without))

    def undecided(self) -> str | None:
        """The window of the latest candidate that the gate has yet to decide on, if any; skipped ones are never."""
        asked = [candidate for candidate in self.candidates.values() if candidate.status != CandidateStatus.SKIPPED]
        if asked and asked[-1].window_id not in self._decided:
            return asked[-1].window_id
        return None

    def quarantined(self) -> frozenset[str]:
        """Windows that must not be replayed: distrusted by the gate and not released since."""
        return frozenset(window_id for window_id in self._quarantined if not self._is_released(window_id))

    def _is_released(self, window_id: str) -> bool:
        order = self._released.get(window_id)
        return order is not None and order.issued_at >= self._quarantined[window_id].decided_at
