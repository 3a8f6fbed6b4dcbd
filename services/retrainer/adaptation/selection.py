"""When an adaptation begins, and on which labelled rows its two bases are compared. Pure."""

from collections.abc import Iterable

from services.retrainer.history import History
from services.retrainer.replay import eligible
from shared.events import ClosedWindow, Side
from shared.settings import Settings


def obstacle(history: History, settings: Settings) -> str | None:
    """Why no adaptation begins now; None if one may."""
    adaptation = settings.adaptation
    if not adaptation.enabled:
        return "adaptation.enabled is false"
    texts = sum(window.sides.get(Side.TRAIN, 0) for window in history.bases.to_learn())
    if texts < adaptation.min_rows:
        return f"{texts} texts to learn, adaptation.min_rows is {adaptation.min_rows}"
    labelled = sum(window.sides.get(Side.TRAIN, 0) for window in probe_windows(history))
    if labelled < adaptation.probe_rows:
        return f"{labelled} labelled rows to compare bases with, adaptation.probe_rows is {adaptation.probe_rows}"
    return None


def probe_windows(history: History) -> list[ClosedWindow]:
    """Labelled windows that the bases may be fine-tuned on, newest first."""
    return list(eligible(history.windows.values(), None, history.quarantined()).values())[::-1]


def newest_offsets(rows: Iterable[tuple[int, Side]], most: int) -> tuple[int, ...]:
    """Offsets of the newest training rows, rising.

    >>> newest_offsets([(1, Side.TRAIN), (2, Side.HOLDOUT), (3, Side.TRAIN), (4, Side.TRAIN)], most=2)
    (3, 4)
    """
    offsets = sorted(offset for offset, side in rows if side is Side.TRAIN)
    return tuple(offsets[-most:]) if most > 0 else ()
