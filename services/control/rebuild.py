"""`tidemill rebuild`: orders the champion's history to be trained again without some reviews, after a look at it."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from services.control import history, orders
from services.control.options import Who, Why
from services.control.output import AsJson, console, print_json, show_rows
from services.control.session import RefusedError, Session
from services.retrainer.history import History
from services.retrainer.rebuild import COLUMNS, Rebuild, Share, objection_to, rebuild_of, share_of
from shared.errors import RecordError
from shared.events import CommandKind, Event, Side
from shared.rebuilds import parse_selector
from shared.settings import Settings


def _selector(text: str) -> str:
    try:
        return str(parse_selector(text))
    except RecordError as error:
        raise typer.BadParameter(str(error)) from error


Without = Annotated[
    str, typer.Option(help="source=NAME, or offsets=FIRST-LAST of reviews.curated.", callback=_selector)
]


def rebuild(context: typer.Context, without: Without, why: Why, who: Who = None, as_json: AsJson = False) -> None:
    """Train the champion's history again without some reviews, as a new challenger for the gate."""
    session: Session = context.obj
    settings = session.settings
    past = _past(settings)
    order = orders.written(CommandKind.REBUILD, without, who, why, against=past.champion)
    made_out = rebuild_of(order, past)
    shares = _shares(settings, made_out)
    check(made_out, shares)
    orders.send(settings, order)
    _show(made_out, shares, as_json)


def check(made_out: Rebuild, shares: Sequence[Share]) -> None:
    """Refuses what the retrainer would refuse.

    Raises:
        RefusedError: There is no champion, nothing would be left out, or too little would stay.
    """
    objection = made_out.objection or objection_to(made_out, shares)
    if objection is not None:
        raise RefusedError(objection)


def _show(made_out: Rebuild, shares: Sequence[Share], as_json: bool) -> None:
    name, rows = made_out.name, [counts(share) for share in shares]
    if as_json:
        print_json({"rebuild": name, "of": made_out.version, "without": made_out.without, "windows": rows})
        return
    show_rows(f"version {made_out.version}'s history without {' and '.join(made_out.without)}", rows, as_json=False)
    console.print(
        f"Ordered as {name}: {_total(shares)}. The retrainer trains it next, from the base; 'tidemill decisions' shows "
        f"what the gate says, with {name} in place of a window.",
        markup=False,
        soft_wrap=True,
    )


def counts(share: Share) -> dict[str, object]:
    """A window's line: training rows that stay, and rows left out by side."""
    return {
        "window": share.window.window_id,
        "learned": share.learned.total(),
        "left_out": share.left_out.total(),
        "of_these": {side.value: share.left_out[side] for side in Side if share.left_out[side]},
    }


def _total(shares: Sequence[Share]) -> str:
    learned = sum(share.learned.total() for share in shares)
    left_out = sum(share.left_out.total() for share in shares)
    windows = sum(bool(share.left_out) for share in shares)
    return f"{left_out:,} reviews of {windows} windows left out, {learned:,} to learn"


def _past(settings: Settings) -> History:
    """As the retrainer sees it."""
    past = History()
    read: tuple[Iterable[Event], ...] = (
        history.windows(settings),
        history.candidates(settings),
        history.decisions(settings),
        history.commands(settings),
    )
    for events in read:
        for event in events:
            past.observe(event)
    return past


def _shares(settings: Settings, made_out: Rebuild) -> list[Share]:
    from shared.archive import Archive  # loads Arrow, which takes a moment

    archive = Archive(settings)
    found: list[Share] = []
    for window in made_out.windows:
        columns = archive.columns(window.snapshot, COLUMNS).to_pydict()
        found.append(share_of(made_out, window, zip(*(columns[name] for name in COLUMNS), strict=True)))
    return found
