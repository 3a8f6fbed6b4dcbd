"""Suspicious labels as people see them: how many by source, which label is taken for which, and the worst rows."""

from collections.abc import Iterator, Sequence

from services.evaluator.page.markup import NOTHING, Content, Markup, element, folded, foreign, joined, paragraph, table
from services.evaluator.page.words import short, whole
from shared.events import Decision
from shared.label_quality import LIMIT, LabelQuality, QualityReport, Suspects, report_of

MOST_SOURCES, ROWS_SHOWN = 15, 12
# Geometry in SVG units.
_WIDTH, _LEFT, _RIGHT, _COUNTS, _STEP, _HEAD = 840, 230, 610, 652, 26, 34
_PALE, _DEEP = (255, 245, 240), (179, 38, 30)
_DARK_ENOUGH_FOR_WHITE = 0.5


def labels_looked_at(decision: Decision, quality: LabelQuality | None) -> Markup:
    """How many are suspicious and what they are taken for; only the former, where the decision alone is at hand."""
    report = quality.report if quality else report_of(decision.numbers)
    if report is None:
        return NOTHING
    return joined(
        element("h2", "How suspicious its labels are, by source"),
        paragraph(
            f"Before anything is learned, {_looker(quality)} reads the window's training reviews, none of which it has "
            "ever seen. A label is suspicious if it is as sure of another label as it usually is where that other "
            "label is given (confident learning). It is wrong about some reviews, so that a few suspicious labels mean "
            "nothing; it is not wrong about most reviews of a source."
        ),
        _shares(report, decision.numbers.get(LIMIT)),
        _confusion(quality) if quality else None,
    )


def _looker(quality: LabelQuality | None) -> str:
    known = quality is not None and quality.version is not None
    return f"version {quality.version}" if quality and known else "the model that training would have started from"


# The shares


def _shares(report: QualityReport, limit: float | None) -> Markup:
    surest_first = sorted(report.sources.items(), key=lambda item: (-item[1].interval[0], -item[1].rows))
    shown = [("the whole window", report.window), *surest_first[:MOST_SOURCES]]
    height = _HEAD + _STEP * len(shown) + 8
    parts = [*_axes(limit, height)]
    for place, (name, found) in enumerate(shown):
        parts += _line(name, found, limit, _HEAD + _STEP * place + _STEP // 2, strong=not place)
    label = "Share of suspicious labels by source, with its 95 % interval"
    chart = element("svg", *parts, viewBox=f"0 0 {_WIDTH} {height}", class_="chart", role="img", aria_label=label)
    left_out = len(surest_first) - MOST_SOURCES
    also = f" {left_out} more sources, less suspicious, are not shown." if left_out > 0 else ""
    beyond = f" Beyond the dashed line, {limit:.0%}, labels are not learned." if limit is not None else ""
    return joined(
        element("div", chart, class_="wide"),
        paragraph(
            "Share of suspicious labels, and between which values it may truly lie (95 % interval); beside it, the "
            f"suspicious labels of all labels.{beyond}{also}",
            class_="soft small",
        ),
    )


def _axes(limit: float | None, height: int) -> Iterator[Markup]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield _upright(share, height, "axis")
        yield _text(f"{share:.0%}", f"{_place(share):.1f}", 16, "middle", "soft")
    yield _text("suspicious : labels", str(_COUNTS), 16, "start", "soft")
    if limit is not None:
        yield _upright(limit, height, "limit")


def _upright(share: float, height: int, kind: str) -> Markup:
    x = f"{_place(share):.1f}"
    return element("line", x1=x, x2=x, y1=str(_HEAD - 8), y2=str(height - 4), class_=kind)


def _line(name: str, found: Suspects, limit: float | None, y: int, strong: bool) -> Iterator[Markup]:
    low, high = found.interval
    tone = "mute" if limit is None else "bad" if low > limit else "good" if high < limit else "open"
    ends = {"x1": f"{_place(low):.1f}", "x2": f"{_place(high):.1f}", "y1": str(y), "y2": str(y)}
    dot = element("circle", cx=f"{_place(found.share):.1f}", cy=str(y), r="6" if strong else "5", class_="mark")
    yield _text(short(name, 30), "0", y + 4, "start", "ink strong" if strong else "ink")
    yield element("g", element("line", class_="mark", stroke_width="3" if strong else "2", **ends), dot, class_=tone)
    counts = f"{found.share:.0%}  ({whole(found.suspicious)} : {whole(found.rows)})"
    yield _text(counts, str(_COUNTS), y + 4, "start", "soft")


def _place(share: float) -> float:
    return _LEFT + share * (_RIGHT - _LEFT)


def _text(content: str, x: str, y: int, anchor: str, kind: str) -> Markup:
    return element("text", content, x=x, y=str(y), text_anchor=anchor, class_=kind)


# Which label is taken for which


def _confusion(quality: LabelQuality) -> Markup:
    if not quality.labels:
        return NOTHING
    names = list(dict.fromkeys([*quality.labels, *(said for found in quality.confusion.values() for said in found)]))
    heads = ("given label", "labels", "believed", *(f"suspected to be {name}" for name in names))
    rows = [_given(name, quality, names) for name in quality.labels]
    return joined(
        element("h2", "Which label is taken for which"),
        paragraph(
            f"One row for each label that was given; on the right, what {_looker(quality)} is sure of instead. Labels "
            "that are flipped or mixed up by an importer fill one cell; a tired annotator leaves a little everywhere."
        ),
        table(heads, rows, class_="heat"),
    )


def _given(name: str, quality: LabelQuality, names: Sequence[str]) -> list[Content]:
    all_rows, suspected = quality.labels[name], quality.confusion.get(name, {})
    believed = all_rows - sum(suspected.values())
    cells = [_cell(suspected.get(said, 0), all_rows, own=said == name) for said in names]
    return [element("strong", name), all_rows, _of(believed, all_rows), *cells]


def _cell(rows: int, of: int, own: bool) -> Markup:
    if own:
        return element("td", "–", class_="number mute")
    share = rows / of if of else 0.0
    colour = ", ".join(str(round(pale + share * (deep - pale))) for pale, deep in zip(_PALE, _DEEP, strict=True))
    ink = "#ffffff" if share > _DARK_ENOUGH_FOR_WHITE else "#101418"
    return element("td", _told(rows, of), class_="number", style=f"background: rgb({colour}); color: {ink}")


def _of(rows: int, of: int) -> Markup:
    return element("td", _told(rows, of), class_="number")


def _told(rows: int, of: int) -> str:
    return f"{whole(rows)} ({rows / of:.0%})" if of else "0"


# The worst rows


def worst_labels(quality: LabelQuality | None) -> Markup:
    """The most suspicious reviews; nothing where they are not at hand."""
    if quality is None or not quality.worst:
        return NOTHING
    looker = _looker(quality)
    heads = ("review", "given label", f"{looker} says", "how sure", "source", "offset")
    rows = [
        (
            element("td", foreign(row.text), class_="review"),
            element("td", row.given, class_="bad"),
            element("strong", row.said),
            element("td", f"{row.confidence:.1%}", class_="number"),
            row.source,
            element("td", str(row.offset), class_="number soft small"),
        )
        for row in quality.worst
    ]
    return joined(
        element("h2", "The worst of them"),
        paragraph(
            f"Reviews whose label is suspicious, first those that {looker} is surest of; long ones are cut. Read a "
            "few: are the labels wrong, or is the model?"
        ),
        table(heads, rows[:ROWS_SHOWN]),
        folded(f"{len(rows) - ROWS_SHOWN} more", table(heads, rows[ROWS_SHOWN:])) if len(rows) > ROWS_SHOWN else None,
    )
