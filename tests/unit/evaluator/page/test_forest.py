"""The picture of edges: every comparison that the decision counted, none that it did not."""

from services.evaluator.comparison import Flips
from services.evaluator.page.forest import edges, forest
from shared.events import Decision, Verdict
from tests.unit.evaluator.builders import decision

NUMBERS = {
    "wins": 25,
    "losses": 10,
    "ties": 465,
    "anchor/wins": 3,
    "anchor/losses": 1,
    "anchor/ties": 36,
    "era/0-9/wins": 0,
    "era/0-9/losses": 12,
    "era/0-9/ties": 28,
    "slice/label:positive/wins": 1,
    "slice/label:positive/losses": 0,
    "slice/label:positive/ties": 0,
    "slice/source:none/wins": 0,
    "slice/source:none/losses": 0,
    "slice/source:none/ties": 0,
    "anchor_wins": 9,
    "anchor_losses": 9,
}


def about(numbers: dict[str, float]) -> Decision:
    return decision(2, Verdict.REJECT, "2", "1", numbers=numbers)


def test_all_rows_come_first_and_parts_without_rows_not_at_all() -> None:
    found = edges(about(NUMBERS))
    assert [edge.name for edge in found] == [
        "over version 1 (the champion)",
        "over the anchor",
        "era 0-9",
        "label:positive",
    ]
    assert found[0].flips == Flips(25, 10, 465)


def test_without_counts_there_are_no_edges() -> None:
    assert edges(about({})) == ()


def test_each_edge_is_drawn_with_its_counts_and_in_the_colour_of_what_is_settled() -> None:
    picture = forest(edges(about(NUMBERS)))
    assert picture.count("<circle") == 4
    assert "+3.0  (25 : 10 of 500)" in picture
    assert picture.count('<g class="bad">') == 0  # 12 losses in 40 rows: the interval still holds zero
    assert forest(edges(about({"wins": 0, "losses": 60, "ties": 40}))).count('<g class="bad">') == 1


def test_nothing_is_drawn_beyond_the_border() -> None:
    few = {"slice/few/wins": 1, "slice/few/losses": 1, "slice/few/ties": 20}
    picture = forest(edges(about({"wins": 30, "losses": 10, "ties": 960} | few)))
    assert 'x1="270.0" x2="590.0"' in picture
