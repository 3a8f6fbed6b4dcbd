"""Eras: held-out rows of the past, frozen, to see whether a challenger forgot what earlier ones knew.

Eras may veto and never promote, and their accuracy is quoted to nobody: rows that are frozen and decide would, over
many gates, choose the models that happen to do well on them.
"""

from collections.abc import Collection, Iterable

from services.evaluator.pool import HeldOutRow
from shared.events import ClosedWindow
from shared.gate_settings import EraSettings


def eras_of(
    windows: Iterable[ClosedWindow], newest_window_id: str, quarantined: Collection[str], settings: EraSettings
) -> dict[str, tuple[ClosedWindow, ...]]:
    """Era, as FIRST-LAST sequence -> its windows in the order of the stream; the latest eras, the oldest first.

    An era is complete once all its windows are closed, and counts for candidates of later windows only. Quarantined
    windows are left out of their era; an era without any other is none. Empty if the newest window is not known.
    """
    by_sequence = {window.sequence: window for window in windows}
    newest = next((sequence for sequence, window in by_sequence.items() if window.window_id == newest_window_id), 0)
    found: dict[str, tuple[ClosedWindow, ...]] = {}
    for first in range(0, newest - settings.windows + 1, settings.windows):
        sequences = range(first, first + settings.windows)
        trusted = [
            by_sequence[sequence]
            for sequence in sequences
            if sequence in by_sequence and by_sequence[sequence].window_id not in quarantined
        ]
        if trusted and all(sequence in by_sequence for sequence in sequences):
            found[f"{sequences[0]}-{sequences[-1]}"] = tuple(trusted)
    latest = list(found)[max(len(found) - settings.keep, 0) :]
    return {name: found[name] for name in latest}


def era_rows(hold_outs: Iterable[Iterable[HeldOutRow]], size: int) -> tuple[HeldOutRow, ...]:
    """An era's rows in the order of the stream: the `size` lowest text keys, so that it is always the same ones.

    Args: hold_outs: of the era's windows, in the order of the stream. Of the same text only the latest counts.
    """
    latest = {row.key: row for rows in hold_outs for row in rows}
    chosen = sorted(latest.values(), key=lambda row: row.key)[:size]
    return tuple(sorted(chosen, key=lambda row: row.offset))
