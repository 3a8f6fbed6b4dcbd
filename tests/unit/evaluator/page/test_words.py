"""Numbers as people read them."""

import pytest

from services.evaluator.page.words import MEANINGS, coins, duration, figure, points, short
from shared.settings import GateSettings


def test_every_term_that_the_gate_knows_is_explained() -> None:
    assert {term.kind for term in GateSettings().terms} <= MEANINGS.keys()


@pytest.mark.parametrize(
    ("share", "written"), [(0.0123, "+1.2"), (-0.0123, "-1.2"), (0.0, "0.0"), (-0.0001, "0.0"), (1.0, "+100.0")]
)
def test_an_edge_is_written_in_points_with_its_sign(share: float, written: str) -> None:
    assert points(share) == written


@pytest.mark.parametrize(
    ("evidence", "written"),
    [(0.00544, "0.00544"), (3.141, "3.14"), (175_390.2, "175,390"), (2e12, "more than a million")],
)
def test_evidence_loses_the_digits_that_mean_nothing(evidence: float, written: str) -> None:
    assert coins(evidence) == written


@pytest.mark.parametrize(
    ("number", "written"), [(None, None), (1331, "1,331"), (0.054637, "0.05464"), (2.048e12, "2.048e+12")]
)
def test_figures_keep_four_digits_and_counts_all(number: float | None, written: str | None) -> None:
    assert figure(number) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (25_920, "7 h 12 min"), (90_061, "1 d 1 h")],
)
def test_a_time_span_is_told_by_its_two_largest_units(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_a_name_is_cut_to_the_room_that_there_is() -> None:
    assert (short("importer", 8), short("importers", 8)) == ("importer", "importe…")
