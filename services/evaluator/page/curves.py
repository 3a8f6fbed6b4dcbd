"""Lines over the rows of a stream, drawn as SVG."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from services.evaluator.page.markup import Markup, element
from services.evaluator.page.words import whole

# Geometry in SVG units.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 840, 308, 64, 640, 22, 266
_STEPS = 5
# Beyond so many points a dot each would hide the line.
_MOST_DOTS = 40
_GAP = 16


@dataclass(frozen=True, slots=True)
class Scale:
    """The upright axis: `height` of a value between 0 (bottom) and 1 (top), and the values that are written there."""

    height: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Points (x, y), x rising; `kind` is the class that colours it."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str


@dataclass(frozen=True, slots=True)
class Level:
    """A value that lines are held against."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A place on the axis of rows at which something happened."""

    name: str
    x: float


def log_scale(low: float, high: float) -> Scale:
    """Powers of ten from below `low` to beyond `high`. Args: 0 < low < high; what lies outside is drawn at the edge."""
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((top - bottom) / 8))
    ticks = tuple((10.0**power, f"{10.0**power:,g}") for power in range(bottom, top + 1, step))

    def height(value: float) -> float:
        return (math.log10(max(value, 10.0**bottom)) - bottom) / (top - bottom)

    return Scale(_within(height), ticks)


def share_scale(shares: Sequence[float]) -> Scale:
    """Tenths around the shares. Args: at least one share."""
    bottom, top = math.floor(10 * min(shares)) / 10, math.ceil(10 * max(shares)) / 10
    if top - bottom < 0.1:
        bottom, top = max(0.0, bottom - 0.1), min(1.0, top + 0.1)
    tenths = round(10 * (top - bottom))
    ticks = tuple((bottom + tenth / 10, f"{bottom + tenth / 10:.0%}") for tenth in range(tenths + 1))
    return Scale(_within(lambda share: (share - bottom) / (top - bottom)), ticks)


def _within(height: Callable[[float], float]) -> Callable[[float], float]:
    return lambda value: max(0.0, min(1.0, height(value)))


def curves(
    lines: Sequence[Line],
    scale: Scale,
    label: str,
    x_name: str,
    level: Level | None = None,
    moment: Moment | None = None,
) -> Markup:
    """The lines above one axis that begins at 0. Args: at least one line with a point."""
    most = max(line.points[-1][0] for line in lines)
    parts = [*_axes(scale, most, x_name)]
    if level is not None:
        parts += _level(level, scale)
    if moment is not None:
        parts += _moment(moment, most)
    for line in lines:
        parts.append(_drawn(line, scale, most))
    parts += _names(lines, scale)
    chart = element("svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", class_="chart", role="img", aria_label=label)
    return element("div", chart, class_="wide")


def _axes(scale: Scale, most: float, x_name: str) -> Iterator[Markup]:
    for value, name in scale.ticks:
        y = _up(scale.height(value))
        yield element("line", x1=str(_LEFT), x2=str(_RIGHT), y1=y, y2=y, class_="axis")
        yield _text(name, str(_LEFT - 8), f"{float(y) + 4:.1f}", "end", "soft")
    step = _round_step(most)
    for place in range(int(most / step) + 1):
        yield _text(whole(place * step), _along(place * step, most), str(_BOTTOM + 20), "middle", "soft")
    yield _text(x_name, f"{(_LEFT + _RIGHT) / 2:.1f}", str(_BOTTOM + 38), "middle", "soft")


def _round_step(most: float) -> float:
    """1, 2 or 5 times a power of ten, so that it fits in a few times; at least 1."""
    power = 10.0 ** math.floor(math.log10(max(most / _STEPS, 1.0)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most / _STEPS)


def _moment(moment: Moment, most: float) -> Iterator[Markup]:
    x = _along(min(moment.x, most), most)
    yield element("line", x1=x, x2=x, y1=str(_TOP), y2=str(_BOTTOM), class_="zero")
    yield _text(moment.name, x, str(_TOP - 8), "middle", "soft")


def _level(level: Level, scale: Scale) -> Iterator[Markup]:
    y = _up(scale.height(level.value))
    yield element("line", x1=str(_LEFT), x2=str(_RIGHT), y1=y, y2=y, class_="limit")
    yield _text(level.name, str(_RIGHT + 8), f"{float(y) + 4:.1f}", "start", "bad")


def _drawn(line: Line, scale: Scale, most: float) -> Markup:
    places = [(_along(x, most), _up(scale.height(y))) for x, y in line.points]
    path = element("polyline", points=" ".join(f"{x},{y}" for x, y in places), class_="path")
    shown = places if len(places) <= _MOST_DOTS else places[-1:]
    return element(
        "g", path, *(element("circle", cx=x, cy=y, r="3.5", class_="mark") for x, y in shown), class_=line.kind
    )


def _names(lines: Sequence[Line], scale: Scale) -> Iterator[Markup]:
    """Beside the lines' ends, and apart from each other."""
    taken = -math.inf
    for line in sorted(lines, key=lambda line: -line.points[-1][1]):
        y = max(float(_up(scale.height(line.points[-1][1]))) + 4, taken + _GAP)
        taken = y
        yield _text(line.name, str(_RIGHT + 8), f"{y:.1f}", "start", line.kind)


def _along(x: float, most: float) -> str:
    return f"{_LEFT + (x / most if most else 0.0) * (_RIGHT - _LEFT):.1f}"


def _up(height: float) -> str:
    return f"{_BOTTOM - height * (_BOTTOM - _TOP):.1f}"


def _text(content: str, x: str, y: str, anchor: str, kind: str) -> Markup:
    return element("text", content, x=x, y=y, text_anchor=anchor, class_=kind)
