"""The challenger's edge over every opponent and in every part, with its interval: one line each, drawn as SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.evaluator.comparison import Flips, interval
from services.evaluator.page.markup import Markup, element
from services.evaluator.page.words import opponent, points, short, whole
from shared.events import Decision

# Geometry in SVG units.
_WIDTH, _LEFT, _RIGHT, _COUNTS, _STEP, _HEAD = 840, 270, 590, 632, 26, 34
_LONGEST_NAME = 38
# The smallest edge that fills the picture, so that a hair's breadth does not look like a mile.
_SMALLEST_REACH = 0.02


@dataclass(frozen=True, slots=True)
class Edge:
    """Wins and losses of the challenger over somebody, on some rows."""

    name: str
    flips: Flips


def edges(decision: Decision) -> tuple[Edge, ...]:
    """All comparisons whose counts the decision holds: over all rows first, then by anchor, baseline, era, slice."""
    numbers = decision.numbers
    prefixes = sorted({name.removesuffix("wins") for name in numbers if name == "wins" or name.endswith("/wins")})
    found = ((prefix, _counts(numbers, prefix)) for prefix in prefixes)
    return tuple(Edge(_name(decision, prefix), flips) for prefix, flips in found if flips is not None and flips.rows)


def _counts(numbers: dict[str, float], prefix: str) -> Flips | None:
    counts = [numbers.get(f"{prefix}{side}") for side in ("wins", "losses", "ties")]
    known = [int(count) for count in counts if count is not None]
    return Flips(*known) if len(known) == len(counts) else None


def _name(decision: Decision, prefix: str) -> str:
    kind, _, rest = prefix.rstrip("/").partition("/")
    match kind:
        case "":
            return f"over {opponent(decision)}"
        case "anchor" | "baseline":
            return f"over the {kind}"
        case _:
            return f"{kind} {rest}" if kind == "era" else rest


def forest(found: Sequence[Edge]) -> Markup:
    """One line an edge. Args: found: at least one; the first sets the scale."""
    reach = _reach(found)
    height = _HEAD + _STEP * len(found) + 8
    parts = [*_axes(reach, height)]
    for place, edge in enumerate(found):
        parts += _line(edge, _HEAD + _STEP * place + _STEP // 2, reach)
    label = "Edge of the challenger with its 95 % interval, in points of accuracy"
    chart = element("svg", *parts, viewBox=f"0 0 {_WIDTH} {height}", class_="chart", role="img", aria_label=label)
    return element("div", chart, class_="wide")


def _reach(found: Sequence[Edge]) -> float:
    """The largest edge shown; intervals of small parts go beyond it, and would make all others points."""
    whole_rows = max(map(abs, interval(found[0].flips)))
    return min(1.0, 1.1 * max(whole_rows, *(abs(edge.flips.delta) for edge in found), _SMALLEST_REACH))


def _axes(reach: float, height: int) -> Iterator[Markup]:
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x = f"{_place(share * reach, reach):.1f}"
        kind = "axis" if share else "zero"
        yield element("line", x1=x, x2=x, y1=str(_HEAD - 8), y2=str(height - 4), class_=kind)
        yield _text(f"{100 * share * reach:+.1f}" if share else "0", x, 16, "middle", "soft")
    yield _text("edge (wins : losses of rows)", str(_COUNTS), 16, "start", "soft")


def _line(edge: Edge, y: int, reach: float) -> Iterator[Markup]:
    low, high = interval(edge.flips)
    tone = "good" if low > 0 else "bad" if high < 0 else "mute"
    ends = {"x1": f"{_place(low, reach):.1f}", "x2": f"{_place(high, reach):.1f}", "y1": str(y), "y2": str(y)}
    dot = element("circle", cx=f"{_place(edge.flips.delta, reach):.1f}", cy=str(y), r="5", class_="mark")
    yield _text(short(edge.name, _LONGEST_NAME), "0", y + 4, "start")
    yield element("g", element("line", class_="mark", stroke_width="2", **ends), dot, class_=tone)
    counts = f"{points(edge.flips.delta)}  ({edge.flips.wins} : {edge.flips.losses} of {whole(edge.flips.rows)})"
    yield _text(counts, str(_COUNTS), y + 4, "start", "soft")


def _place(edge: float, reach: float) -> float:
    share = max(-1.0, min(1.0, edge / reach))
    return (_LEFT + _RIGHT) / 2 + share * (_RIGHT - _LEFT) / 2


def _text(content: str, x: str, y: int, anchor: str, kind: str = "ink") -> Markup:
    return element("text", content, x=x, y=str(y), text_anchor=anchor, class_=kind)
