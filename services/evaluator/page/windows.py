"""A window's manifest as people read it."""

from services.evaluator.page.markup import NOTHING, Content, Markup, element, joined, table
from services.evaluator.page.words import moment, whole
from shared.events import ClosedWindow

MOST_SOURCES = 10


def window_facts(window: ClosedWindow | None) -> Markup:
    """What the window holds and where it came from; nothing where its manifest is not at hand."""
    if window is None:
        return NOTHING
    facts: list[tuple[str, Content]] = [
        ("reviews", f"{whole(window.reviews)}, of which {whole(window.kept)} were kept"),
        ("kept by side", _counts({side.value: count for side, count in window.sides.items()})),
        ("kept by label", _counts(window.labels)),
        ("kept by source", _counts(window.sources) or "no source was given"),
        ("published", f"{moment(window.first_published_at)} to {moment(window.last_published_at)}"),
        ("offsets in reviews.curated", f"{window.first_offset} to {window.last_offset}"),
        ("closed", f"{moment(window.closed_at)}, by {window.trigger.value}: {window.trigger_detail}"),
        ("snapshot", element("code", window.snapshot.path)),
    ]
    return joined(element("h2", "The window"), table(("fact", "value"), facts))


def _counts(counts: dict[str, int]) -> str:
    largest = sorted(counts.items(), key=lambda item: -item[1])
    told = [f"{name} {whole(count)}" for name, count in largest[:MOST_SOURCES]]
    return ", ".join(told) + (", …" if len(largest) > MOST_SOURCES else "")
