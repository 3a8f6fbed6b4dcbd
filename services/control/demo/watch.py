"""What has happened so far, read from the topics like anybody could."""

from shared.envelope import decode
from shared.events import Candidate, ClosedWindow, Decision, Verdict
from shared.kafka import Follower, Record
from shared.settings import Settings
from shared.topics import MODELS_CANDIDATES, MODELS_DECISIONS, WINDOWS_CLOSED


class Watch:
    """Windows, candidates and decisions in the order of their arrival."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.stream.prefix
        self._follower = Follower(settings, "demo", [WINDOWS_CLOSED, MODELS_CANDIDATES, MODELS_DECISIONS])
        self.windows: list[ClosedWindow] = []
        self.candidates: dict[str, Candidate] = {}
        self.decisions: dict[str, Decision] = {}

    def look(self) -> None:
        """Takes in what is new."""
        for record in self._follower.poll():
            self._take(record)

    def _take(self, record: Record) -> None:
        if record.topic == WINDOWS_CLOSED.full_name(self._prefix):
            self.windows.append(decode(ClosedWindow, record.value, record.where()))
        elif record.topic == MODELS_CANDIDATES.full_name(self._prefix):
            candidate = decode(Candidate, record.value, record.where())
            self.candidates[candidate.window_id] = candidate
        else:
            decision = decode(Decision, record.value, record.where())
            self.decisions[decision.window_id or decision.version or ""] = decision

    @property
    def champions(self) -> list[str]:
        """Versions that were promoted, in order; one that waited may be promoted after younger ones were decided."""
        promoted = [entry for entry in self.decisions.values() if entry.verdict is Verdict.PROMOTE]
        promoted.sort(key=lambda entry: entry.number)
        return [entry.version for entry in promoted if entry.version]

    def close(self) -> None:
        """Lets go of Kafka."""
        self._follower.close()
