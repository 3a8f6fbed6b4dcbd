"""What a challenger has done beside the champion, counted; and when that is too bad to go on."""

from dataclasses import dataclass, replace

from shared.canary_settings import CanarySettings
from shared.events import new_id


@dataclass(frozen=True, slots=True)
class Pair:
    """One text as both models answered it.

    Attributes:
        difference: Absolute difference of the two probabilities of the champion's label.
        seconds, champion_seconds: That each took for it alone.
        is_timed: Both computed by one plan, so that the seconds are comparable.
    """

    agrees: bool
    difference: float
    seconds: float
    champion_seconds: float
    is_timed: bool = True


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums so far.

    Attributes:
        asked: Requests that it was to answer and texts to compare, failed ones included.
        answers: Texts that it answered to callers.
        compared: Texts that both models answered.
        disagreements, score_difference: Of these.
        timed: Of these, by one plan; the seconds are over these.
    """

    asked: int = 0
    failures: int = 0
    answers: int = 0
    compared: int = 0
    disagreements: int = 0
    score_difference: float = 0.0
    timed: int = 0
    seconds: float = 0.0
    champion_seconds: float = 0.0

    def trouble(self, settings: CanarySettings) -> str | None:
        """Why it is too bad to go on; None while it is not, or too little is known."""
        if self.asked < settings.judged_after or self.failures <= settings.max_failure_share * self.asked:
            return None
        return f"failed {self.failures} times of {self.asked}, more than {settings.max_failure_share:.1%}"


class Tally:
    """The owner of one challenger's counts. Changed on the event loop only; any thread may read them whole."""

    def __init__(self) -> None:
        self.session_id = new_id()
        self._counts = Counts()

    @property
    def counts(self) -> Counts:
        """So far."""
        return self._counts

    def answered(self, texts: int) -> None:
        """It answered one request."""
        was = self._counts
        self._counts = replace(was, asked=was.asked + 1, answers=was.answers + texts)

    def failed(self) -> None:
        """It did not answer a request, or a copy that was to be compared."""
        was = self._counts
        self._counts = replace(was, asked=was.asked + 1, failures=was.failures + 1)

    def paired(self, pair: Pair) -> None:
        """A text was compared."""
        was = self._counts
        self._counts = replace(
            was,
            asked=was.asked + 1,
            compared=was.compared + 1,
            disagreements=was.disagreements + (not pair.agrees),
            score_difference=was.score_difference + pair.difference,
            timed=was.timed + pair.is_timed,
            seconds=was.seconds + pair.seconds * pair.is_timed,
            champion_seconds=was.champion_seconds + pair.champion_seconds * pair.is_timed,
        )
