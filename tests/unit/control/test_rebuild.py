"""What a rebuild would leave out is counted before it is ordered; what the retrainer would refuse is never sent."""

from collections import Counter

import pytest
from typer.testing import CliRunner

from services.control.app import app
from services.control.rebuild import check, counts
from services.control.session import RefusedError
from services.retrainer.rebuild import Rebuild, Share
from shared.events import Side
from tests.unit.retrainer.builders import closed_window, window_id

REBUILD = Rebuild("rebuild-1", "3", "source=spam", windows=(closed_window(0),))


def share(learned: int = 5, left_out: int = 2) -> Share:
    return Share(closed_window(0), Counter({0: learned, 1: learned}), Counter({Side.TRAIN: left_out, Side.HOLDOUT: 1}))


def test_a_windows_line_says_what_stays_and_what_goes() -> None:
    line = counts(share())
    assert line == {"window": window_id(0), "learned": 10, "left_out": 3, "of_these": {"train": 2, "holdout": 1}}


def test_a_sound_rebuild_is_not_refused() -> None:
    check(REBUILD, [share()])


@pytest.mark.parametrize(
    ("rebuild", "found", "message"),
    [
        (Rebuild("r", None, "source=spam", objection="nothing was promoted yet"), [], "nothing was promoted yet"),
        (REBUILD, [share(left_out=0)], "nothing that was learned"),
        (REBUILD, [share(learned=0)], "fewer than 2 labels"),
    ],
)
def test_what_the_retrainer_would_refuse_is_not_ordered(rebuild: Rebuild, found: list[Share], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        check(rebuild, found)


@pytest.mark.parametrize("arguments", [("--without", "spam", "--why", "x"), ("--without", "source=a", "--why", " ")])
def test_an_order_that_says_too_little_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, ["rebuild", *arguments]).exit_code == 2
