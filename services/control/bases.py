"""`tidemill bases`: what became of every adaptation of the base to the stream's unlabelled text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import typer

from services.control import history
from services.control.output import AsJson, print_json, show_rows
from services.control.session import Session
from shared.events import BaseCandidate, BaseDecision


@dataclass(frozen=True, slots=True)
class Row:
    """One adaptation. Figures are None where nothing was measured, all that was decided where nothing is yet."""

    version: str | None
    in_use: bool
    windows: tuple[str, ...]
    created: datetime
    texts: int | None
    perplexity_before: float | None
    perplexity_after: float | None
    rows: int | None
    accuracy_before: float | None
    accuracy_after: float | None
    verdict: str | None
    reasons: tuple[str, ...]


def bases(context: typer.Context, as_json: AsJson = False) -> None:
    """List adapted bases: how well they guess words and classify, beside their parents, and what was decided."""
    session: Session = context.obj
    settings = session.settings
    found = listing(history.base_candidates(settings), history.base_decisions(settings))
    if as_json:
        print_json([asdict(row) for row in found])
    else:
        show_rows("adapted bases", [_told(row) for row in found], as_json=False)


def listing(candidates: Sequence[BaseCandidate], ledger: Sequence[BaseDecision]) -> list[Row]:
    """A row an adaptation, oldest first; of several candidates of a window the first, which is the one decided on.

    Args: both topics, in order.
    """
    entries = {entry.window_id: entry for entry in ledger}
    in_use = ledger[-1].base_after if ledger else None
    first: dict[str, BaseCandidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.window_id, candidate)
    return [_row(candidate, entries.get(window_id), in_use) for window_id, candidate in first.items()]


def _row(candidate: BaseCandidate, entry: BaseDecision | None, in_use: str | None) -> Row:
    numbers: Mapping[str, float] = entry.numbers if entry else {}
    return Row(
        version=candidate.version,
        in_use=candidate.version is not None and candidate.version == in_use,
        windows=candidate.window_ids,
        created=candidate.created_at,
        texts=_whole(numbers.get("texts")),
        perplexity_before=numbers.get("perplexity_before"),
        perplexity_after=numbers.get("perplexity_after"),
        rows=_whole(numbers.get("rows")),
        accuracy_before=numbers.get("accuracy_before"),
        accuracy_after=numbers.get("accuracy_after"),
        verdict=entry.verdict.value if entry else None,
        reasons=entry.reasons if entry else (),
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _told(row: Row) -> dict[str, object]:
    return {
        "version": row.version,
        "in use": row.in_use,
        "windows": row.windows,
        "texts": row.texts,
        "perplexity": _change(row.perplexity_before, row.perplexity_after, ".4g"),
        "rows": row.rows,
        "accuracy once fine-tuned": _change(row.accuracy_before, row.accuracy_after, ".4f"),
        "verdict": row.verdict or "waits for its decision",
        "reasons": row.reasons,
    }


def _change(before: float | None, after: float | None, form: str) -> str | None:
    return None if before is None or after is None else f"{before:{form}} -> {after:{form}}"
