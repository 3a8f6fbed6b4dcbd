"""Puts the page together: what was decided, why, on which numbers, and what it looks like row by row."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.evaluator.exam import FlippedRow
from services.evaluator.page.afterwards import after_no_model, after_rollback, after_skip
from services.evaluator.page.eras import EraTable, era_heat_map, era_table
from services.evaluator.page.markup import Content, Markup, element, joined
from services.evaluator.page.reversal import Reversal, models, served, watched
from services.evaluator.page.sections import accuracies, evidence, flips, origin, records, terms, verdict
from services.evaluator.page.style import STYLE
from services.evaluator.page.suspects import labels_looked_at, worst_labels
from services.evaluator.page.windows import window_facts
from services.evaluator.page.words import headline
from shared.events import Candidate, ClosedWindow, Decision
from shared.label_quality import LabelQuality
from shared.topics import MODELS_DECISIONS

# Even if something got past the escaping, a browser runs nothing and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_TERMS = (
    "A guard must pass before anything is promoted; a watch is only reported. The value is held against the "
    "threshold; the interval (95 %, as a share of the rows) says how sure the comparison behind it is."
)

_CAPTIONS = {
    "difference": "How many points of accuracy the challenger is ahead of each opponent, by set of rows. A line is a "
    "95 % interval; one that does not cross zero is settled.",
    "accuracy": "Share of right answers of every model, by set of rows.",
    "reliability": "Of the answers given with 80 % confidence, about 80 % should be right: before (the champion) and "
    "after (the challenger). Closer to the diagonal is better calibrated.",
    "confusion": "True labels against answers, before and after: what is off the diagonal is wrong.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Dossier:
    """All that a page tells.

    Attributes:
        candidate: What the retrainer said of the version, where it is at hand.
        pictures: Name -> PNG.
        flipped: Losses and wins, worst first.
        links: What it leads to -> address.
        quality: Of a window that was not learned, what was found wrong with its labels, where it is at hand.
        window: The same: its manifest.
    """

    decision: Decision
    candidate: Candidate | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    flipped: tuple[FlippedRow, ...] = ()
    eras: EraTable = field(default_factory=lambda: era_table(()))
    links: Mapping[str, str] = field(default_factory=dict)
    quality: LabelQuality | None = None
    window: ClosedWindow | None = None


def decision_page(dossier: Dossier) -> str:
    """A whole HTML document, self-contained."""
    decision = dossier.decision
    return document(
        headline(decision),
        verdict(decision, dossier.links),
        labels_looked_at(decision, dossier.quality),
        after_no_model(decision, dossier.quality),
        worst_labels(dossier.quality),
        window_facts(dossier.window),
        evidence(decision),
        terms(decision.terms, _TERMS),
        _pictures(dossier.pictures),
        era_heat_map(dossier.eras),
        accuracies(decision),
        flips(decision, dossier.flipped),
        origin(decision, dossier.candidate),
        records(decision, MODELS_DECISIONS.name),
    )


def rollback_page(found: Reversal) -> str:
    """The same of a rollback."""
    entry = found.entry
    return document(
        headline(entry),
        verdict(entry, found.links),
        watched(found),
        models(found),
        served(found),
        after_rollback(entry),
        records(entry, MODELS_DECISIONS.name),
    )


def skipped_page(candidate: Candidate, window: ClosedWindow | None) -> str:
    """The same of a window that was passed over, of which the ledger knows nothing."""
    reason = candidate.reason or "no reason was given"
    title = f"Window {candidate.window_id} was passed over: {reason}."
    heading = element(
        "header", element("span", "skipped", class_="badge mute"), element("h1", title), class_="verdict mute"
    )
    return document(title, heading, after_skip(), window_facts(window))


def document(title: str, *sections: Content) -> str:
    """A whole page of ours."""
    return f"<!DOCTYPE html>\n{element('html', _head(title), element('body', *sections), lang='en')}\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE)),
    )


def _pictures(pictures: Mapping[str, bytes]) -> Markup | None:
    if not pictures:
        return None
    figures = (_figure(name, png) for name, png in pictures.items())
    return joined(element("h2", "Pictures"), element("div", *figures, class_="pictures"))


def _figure(name: str, png: bytes) -> Markup:
    image = element("img", src=f"data:image/png;base64,{b64encode(png).decode()}", alt=f"Picture: {name}")
    return element("figure", image, element("figcaption", _CAPTIONS.get(name, name)))
