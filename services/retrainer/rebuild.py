"""A version's history without some of its reviews: which windows it is, what stays of them, what speaks against it.

Pure. The history is every trainable window that nobody distrusts, up to the newest one that the version learned: what
it did not learn as new, it may have learned by replay.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.retrainer.history import History
from services.retrainer.replay import eligible
from shared.errors import RecordError
from shared.events import Candidate, ClosedWindow, Command, Side
from shared.rebuilds import LeftOut, parse_selector, rebuild_id

COLUMNS = ("offset", "label", "side", "source")
LEAST_LABELS = 2


@dataclass(frozen=True)
class Rebuild:
    """One order, made out.

    Attributes:
        name: Of the candidate that answers it, in place of a window's id.
        version: Whose history is trained again.
        ordered: What the order leaves out; `already`: what the version's line was rebuilt without before.
        windows: The history, oldest first.
        objection: Why it cannot be done; None if nothing is known against it.
    """

    name: str
    version: str | None
    ordered: str
    already: tuple[str, ...] = ()
    windows: tuple[ClosedWindow, ...] = ()
    objection: str | None = None

    @property
    def without(self) -> tuple[str, ...]:
        """Everything that is left out."""
        return tuple(dict.fromkeys((*self.already, self.ordered)))


@dataclass(frozen=True)
class Share:
    """What a window gives to a rebuild.

    Attributes:
        learned: Training rows that stay, by label.
        left_out: Rows that the order leaves out, by side.
    """

    window: ClosedWindow
    learned: Counter[int] = field(default_factory=Counter)
    left_out: Counter[Side] = field(default_factory=Counter)


def rebuild_of(order: Command, history: History) -> Rebuild:
    """Makes an order out. Whatever is wrong with it is its objection, so that every order has its answer."""
    version = order.against or history.champion
    rebuild = Rebuild(rebuild_id(order.command_id), version, order.target or "")
    if version is None:
        return replace(rebuild, objection="nothing was promoted yet, so there is no history to train again")
    try:
        parse_selector(rebuild.ordered)
    except RecordError as error:
        return replace(rebuild, objection=str(error))
    made = history.candidate_of(version)
    if made is None or made.window_ids[-1] not in history.windows:
        return replace(rebuild, objection=f"no candidate tells what version {version} learned")
    already = tuple(selector for selector in made.without if selector != rebuild.ordered)
    return replace(rebuild, already=already, windows=_windows(made, history))


def _windows(made: Candidate, history: History) -> tuple[ClosedWindow, ...]:
    newest = history.windows[made.window_ids[-1]]
    return tuple(eligible(history.windows.values(), newest.sequence + 1, history.quarantined()).values())


def share_of(rebuild: Rebuild, window: ClosedWindow, rows: Iterable[tuple[int, int, str, str | None]]) -> Share:
    """Counts a window's rows.

    Args: rows: offset, label, side and source of each, as in `COLUMNS`.
    """
    already, ordered = LeftOut.of(rebuild.already), LeftOut.of((rebuild.ordered,))
    share = Share(window)
    for offset, label, side, source in rows:
        if (offset, source) in already:
            continue
        if (offset, source) in ordered:
            share.left_out[Side(side)] += 1
        elif side == Side.TRAIN:
            share.learned[label] += 1
    return share


def objection_to(rebuild: Rebuild, shares: Sequence[Share]) -> str | None:
    """Why the rebuild would be none, or could not be trained; None if nothing speaks against it."""
    history = f"the {len(shares)} windows that version {rebuild.version} came from"
    if not any(share.left_out[side] for share in shares for side in Side if side is not Side.HOLDOUT):
        return f"nothing that was learned of {history} is {rebuild.ordered}"
    if len({label for share in shares for label, rows in share.learned.items() if rows}) < LEAST_LABELS:
        return f"without {rebuild.ordered}, {history} hold training reviews of fewer than {LEAST_LABELS} labels"
    return None
