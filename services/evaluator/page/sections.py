"""The sections of the page, each from the decision alone; one that has nothing to say is left out."""

import json
from collections.abc import Iterable, Mapping, Sequence

from services.evaluator.exam import BASELINE, CHALLENGER, Answer, FlippedRow
from services.evaluator.page import words
from services.evaluator.page.eras import ERA_PREFIX
from services.evaluator.page.forest import edges, forest
from services.evaluator.page.markup import (
    NOTHING,
    Content,
    Markup,
    bullets,
    element,
    folded,
    foreign,
    joined,
    link,
    paragraph,
    table,
)
from services.evaluator.suites import FRESH, POOL
from shared.events import BaseDecision, Candidate, Decision, Score, TermResult

_ROWS = {FRESH: "fresh: the hold-out of its own window", POOL: "pool: all rows that decide"}


def verdict(decision: Decision, links: Mapping[str, str]) -> Markup:
    """Who won, in a sentence, and the reasons as the gate gave them."""
    when = f"decision {decision.number}, {decision.decided_at:%d %B %Y, %H:%M} UTC, by {decision.decided_by}"
    needed = words.need(decision)
    heading = element(
        "header",
        joined(words.badge(decision.verdict), " ", element("span", when, class_="soft small")),
        element("h1", words.headline(decision)),
        paragraph(lead) if (lead := words.lead(decision)) else None,
        paragraph("The gate's reasons:" if decision.terms else "Why, as the ledger holds it:", class_="soft small"),
        bullets(decision.reasons),
        paragraph(element("strong", needed)) if needed else None,
        class_=f"verdict {words.tone(decision.verdict)}",
    )
    followed = [link(address, name) for name, address in links.items()]
    return joined(heading, paragraph(*spaced(followed), class_="small") if followed else None)


def evidence(decision: Decision) -> Markup:
    """What it was compared with, row by row, and how sure the result is."""
    if not decision.numbers.get("rows"):
        return NOTHING
    rows = [_claim(*row) for row in words.evidence_rows(decision)]
    return joined(
        element("h2", "What was compared, and how sure it is"),
        paragraph(words.comparison(decision)),
        _wins_and_losses(decision),
        paragraph(words.evidence_explained(decision)),
        table(("claim", "evidence", "needed", "so it is"), rows),
        _forest(decision),
    )


def _claim(claim: str, found: float, needed: float | None) -> tuple[Content, ...]:
    counted = element("td", words.coins(found), class_="number", title=repr(found))
    if needed is None:
        return claim, counted, "reported only", None
    return claim, counted, element("td", f"{needed:g}", class_="number"), "proven" if found >= needed else "not proven"


def _wins_and_losses(decision: Decision) -> Markup:
    wins, losses, ties = (decision.numbers.get(name, 0.0) for name in ("wins", "losses", "ties"))
    parts = {"won": wins, "tied": ties, "lost": losses}
    bar = [element("span", class_=kind, style=f"flex: {count:.0f} 0 0") for kind, count in parts.items() if count]
    return joined(
        element("div", *bar, class_="flips", aria_hidden="true"),
        paragraph(
            element("strong", f"{words.whole(wins)} wins", class_="good"),
            " (only it is right), ",
            element("strong", f"{words.whole(losses)} losses", class_="bad"),
            f" (only {words.opponent(decision)} is right), {words.whole(ties)} ties (both right, or both wrong). "
            "Ties say nothing about who is better.",
        ),
    )


def _forest(decision: Decision) -> Markup | None:
    found = edges(decision)
    if not found:
        return None
    return joined(
        forest(found),
        paragraph(
            "The edge in points of accuracy, with its 95 % interval. A line that stays on one side of zero is settled "
            "there; one that reaches the border goes on beyond it. Of many parts some stray by luck: the gate's terms "
            "for slices and eras allow for that.",
            class_="soft small",
        ),
    )


def terms(found: Sequence[TermResult], introduction: str) -> Markup:
    """Every term of a gate."""
    if not found:
        return NOTHING
    heads = ("term", "outcome", "value", "threshold", "interval", "rows", "reviews needed", "in words")
    return joined(
        element("h2", "What the gate asked"),
        paragraph(introduction),
        table(heads, map(_term, found), class_="terms"),
    )


def _term(term: TermResult) -> list[Content]:
    meaning = words.MEANINGS.get(term.name)
    told = [element("strong", term.name.replace("_", " "))]
    if meaning:
        told += [element("br"), element("span", meaning, class_="soft small")]
    figures = (term.value, term.threshold, term.low, term.rows or None, term.need_rows)
    value, threshold, low, rows, needed = (words.figure(number) for number in figures)
    interval = joined(low, element("br"), f"to {words.figure(term.high)}") if term.high is not None else None
    cells = [element("td", cell, class_="number") for cell in (value, threshold, interval, rows, needed)]
    kind = element("span", "guard" if term.guard else "watch", class_="soft small")
    outcome = joined(words.badge(term.outcome), element("br"), kind)
    return [element("td", *told, class_="named"), outcome, *cells, term.detail]


def accuracies(decision: Decision) -> Markup:
    """Every model on every set of rows."""
    if not decision.scores:
        return NOTHING
    metrics = list(dict.fromkeys(name for score in decision.scores for name in score.metrics))
    heads = ("rows", "", "model", *(name.replace("_", " ") for name in metrics))
    whole, eras = ([s for s in decision.scores if s.rows_name.startswith(ERA_PREFIX) is side] for side in (False, True))
    tables = [table(heads, [_score(decision, score, metrics) for score in scores]) for scores in (whole, eras)]
    return joined(
        element("h2", "Quality of every model"),
        paragraph(
            "To quote an accuracy, take it from the fresh rows: the champion was chosen on the pool, which flatters "
            "it. Lower is better for negative log likelihood, Brier and calibration error."
        ),
        tables[0],
        folded("The same by era", tables[1]) if eras else None,
    )


def _score(decision: Decision, score: Score, metrics: Iterable[str]) -> list[Content]:
    rows = element("td", words.whole(score.rows), class_="number")
    values = [element("td", _rounded(score.metrics.get(name)), class_="number") for name in metrics]
    return [_ROWS.get(score.rows_name, score.rows_name), rows, _model(decision, score.model), *values]


def _rounded(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4f}"


def _model(decision: Decision, model: str) -> str:
    match model:
        case _ if model == BASELINE:
            return "generic baseline"
        case _ if model == CHALLENGER:
            return f"version {decision.version} (challenger)"
        case "champion":
            return f"version {decision.champion_before} (champion)"
        case _:
            return model


def flips(decision: Decision, flipped: Iterable[FlippedRow]) -> Markup:
    """The reviews on which the two part."""
    rows = list(flipped)
    lost, won = ([row for row in rows if row.won is side] for side in (False, True))
    if not rows:
        return NOTHING
    return joined(
        element("h2", "Reviews on which the two part"),
        paragraph(
            "Worst first: those on which the one that is wrong was surest of itself. At most 50 of each; long texts "
            "are cut. They were held out, and no model is ever trained on them."
        ),
        _flipped(decision, f"Lost: {words.opponent(decision)} is right, the challenger wrong", lost, True),
        _flipped(decision, "Won: the challenger is right, the other wrong", won, False),
    )


def _flipped(decision: Decision, title: str, rows: list[FlippedRow], opened: bool) -> Markup:
    if not rows:
        return paragraph(f"{title}: none.")
    heads = ("review", "true label", _model(decision, CHALLENGER), "the other", "where")
    told = [
        (
            element("td", foreign(row.text), class_="review"),
            row.label,
            _answer(row.challenger),
            _answer(row.opponent),
            element("td", row.window_id, element("br"), f"offset {row.offset}", class_="where soft small"),
        )
        for row in rows
    ]
    return folded(f"{title} ({len(rows)} shown)", table(heads, told), opened=opened)


def _answer(answer: Answer) -> str:
    return answer.label if answer.confidence is None else f"{answer.label} ({answer.confidence:.0%} sure)"


def origin(decision: Decision, candidate: Candidate | None) -> Markup:
    """Where the model came from, as far as the decision and its candidate say."""
    facts: dict[str, Content] = {
        "version": decision.version,
        "window": decision.window_id,
        "newest window looked at": decision.looked_window_id,
        "champion before, after": f"{decision.champion_before or 'none'}, {decision.champion_after or 'none'}",
        "anchor": decision.anchor,
        "run": decision.run_id,
        "files' digest": decision.model_digest,
        "quarantined": "yes: its held-out rows leave the pool, and it is not replayed"
        if decision.quarantined
        else None,
        "left out": ", ".join(decision.without) or None,
        "command": decision.command_id,
    }
    facts |= _training(candidate) if candidate else {}
    known = [(name, fact) for name, fact in facts.items() if fact is not None]
    return joined(
        element("h2", "Where it came from"),
        paragraph(
            "A window's name holds the offset of its first review in reviews.curated; ",
            element("code", f"tidemill explain {decision.version or decision.window_id}"),
            " lists every offset, and the reviews behind them.",
        ),
        table(("fact", "value"), known),
    )


def _training(candidate: Candidate) -> dict[str, Content]:
    facts: dict[str, Content] = {
        "learned from": ", ".join(candidate.window_ids),
        "replayed": ", ".join(candidate.replay_window_ids) or None,
        "rebuilt": f"the history of version {candidate.rebuild_of}" if candidate.rebuild_of else None,
        "started from": f"version {candidate.parent_version}" if candidate.parent_version else "the base model",
        "training ended": f"{candidate.status.value} {candidate.reason or ''}".strip(),
    }
    measured = candidate.metrics.model_dump() if candidate.metrics else {}
    return facts | {name.replace("_", " "): words.figure(value) for name, value in measured.items()}


def records(decision: Decision | BaseDecision, ledger: str) -> Markup:
    """All numbers and the policy, for those who recompute. Args: ledger: the topic that the decision lies in."""
    numbers = [(name, element("td", repr(value), class_="number")) for name, value in decision.numbers.items()]
    policy = json.dumps(decision.policy, indent=2, ensure_ascii=False)
    return joined(
        element("h2", "For the record"),
        folded("All numbers of the decision", table(("number", "value"), numbers)) if numbers else None,
        folded("The gate's policy as used", element("pre", policy)) if decision.policy else None,
        paragraph(f"The same facts lie in the ledger, the topic {ledger}.", class_="soft small"),
    )


def spaced(items: list[Markup]) -> list[Markup | str]:
    """Items with dots between them."""
    return [part for item in items for part in (item, " · ")][:-1]
