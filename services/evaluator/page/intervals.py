"""Differences with their intervals, one line each on a scale of its own, drawn as SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.evaluator.page.markup import Markup, element

# Geometry in SVG units.
_WIDTH, _LEFT, _RIGHT, _SAID, _STEP, _HEAD = 840, 250, 590, 610, 64, 12
_HALF_LINE, _HALF_AXIS = 4, 16
# What is shown of a scale beyond the farthest end of the interval.
_ROOM = 1.15


@dataclass(frozen=True, slots=True)
class Difference:
    """One line.

    Attributes:
        name: What differs.
        value: By how much; above 0 is better.
        low: The interval's ends; None where it has none.
        floor: Where better begins: what the interval must clear.
        said: Beside the line.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    floor: float
    said: str


def intervals(found: Sequence[Difference], label: str) -> Markup:
    """The picture. Args: label: for those who do not see it."""
    height = _HEAD + _STEP * len(found)
    parts = [part for place, each in enumerate(found) for part in _line(each, _HEAD + _STEP * place + _STEP // 2)]
    chart = element("svg", *parts, viewBox=f"0 0 {_WIDTH} {height}", class_="chart", role="img", aria_label=label)
    return element("div", chart, class_="wide")


def _line(found: Difference, y: int) -> Iterator[Markup]:
    reach = _reach(found)
    yield _text(found.name, 0, y + _HALF_LINE, "start")
    yield _axis(0.0, reach, y, "zero")
    yield _text("0", _place(0.0, reach), y + _HALF_AXIS + 14, "middle", "soft")
    if found.floor:
        yield _axis(found.floor, reach, y, "axis")
        yield _text("margin", _place(found.floor, reach), y - _HALF_AXIS - 4, "end", "soft")
    dot = element("circle", cx=f"{_place(found.value, reach):.1f}", cy=str(y), r="5", class_="mark")
    yield element("g", _span(found, reach, y), dot, class_=_tone(found))
    yield _text(found.said, _SAID, y + _HALF_LINE, "start", "soft")


def _span(found: Difference, reach: float, y: int) -> Markup | None:
    if found.low is None or found.high is None:
        return None
    ends = {"x1": f"{_place(found.low, reach):.1f}", "x2": f"{_place(found.high, reach):.1f}"}
    return element("line", class_="mark", stroke_width="2", y1=str(y), y2=str(y), **ends)


def _tone(found: Difference) -> str:
    if found.low is not None and found.low > found.floor:
        return "good"
    return "bad" if found.high is not None and found.high < 0.0 else "mute"


def _reach(found: Difference) -> float:
    ends = (found.value, found.floor, *(end for end in (found.low, found.high) if end is not None))
    return _ROOM * max(map(abs, ends)) or 1.0


def _axis(value: float, reach: float, y: int, kind: str) -> Markup:
    x = f"{_place(value, reach):.1f}"
    return element("line", x1=x, x2=x, y1=str(y - _HALF_AXIS), y2=str(y + _HALF_AXIS), class_=kind)


def _place(value: float, reach: float) -> float:
    return (_LEFT + _RIGHT) / 2 + value / reach * (_RIGHT - _LEFT) / 2


def _text(content: str, x: float, y: int, anchor: str, kind: str = "ink") -> Markup:
    return element("text", content, x=f"{x:.1f}", y=str(y), text_anchor=anchor, class_=kind)
