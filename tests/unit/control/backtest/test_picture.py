"""The picture is drawn, and its line is the mean over the last windows."""

from pathlib import Path

from services.control.backtest.picture import SMOOTHED_WINDOWS, draw, smoothed
from services.control.backtest.result import Grid, PolicyResult
from tests.unit.control.backtest.test_result import era

ERAS = tuple(era(place, 10 * place) for place in range(8))
GRID = Grid(
    models=("baseline", "a" * 64),
    windows=tuple(each.window_id for each in ERAS),
    accuracy=((0.5,) * 7 + (None,), (0.9,) * 8),
    serving=(0, 0, 0, 1, 1, 1, 1, 1),
)


def test_each_point_is_the_mean_over_the_windows_before_it() -> None:
    line = smoothed(ERAS)
    assert line[:2] == [0.0, 0.05]
    assert line[-1] == sum(each.accuracy for each in ERAS[-SMOOTHED_WINDOWS:]) / SMOOTHED_WINDOWS


def test_it_is_a_png(tmp_path: Path) -> None:
    draw([PolicyResult(policy="p", eras=ERAS, promotions=(), grid=GRID)], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
