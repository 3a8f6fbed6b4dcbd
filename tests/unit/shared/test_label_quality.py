"""What a ledger keeps of a look at labels can be read back, and says how sure a share is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.label_quality import LIMIT, MOST_SOURCES, LabelQuality, QualityReport, Suspects, report_of

WINDOW = Suspects(suspicious=9, rows=10)


def quality(sources: dict[str, Suspects], **more: Any) -> LabelQuality:
    return LabelQuality(report=QualityReport(window=WINDOW, sources=sources), **more)


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=MOST_SOURCES))
def test_a_report_is_read_back_whatever_its_sources_are_called(counts: dict[str, tuple[int, int]]) -> None:
    sources = {name: Suspects(suspicious=some, rows=some + more) for name, (some, more) in counts.items()}
    found = report_of(quality(sources).numbers())
    assert found is not None
    assert (found.window, found.sources) == (WINDOW, sources)


def test_of_many_sources_the_most_suspicious_are_kept() -> None:
    sources = {f"source {number}": Suspects(suspicious=number, rows=100) for number in range(30)}
    found = report_of(quality(sources).numbers())
    assert found is not None
    assert set(found.sources) == {f"source {number}" for number in range(20, 30)}


def test_the_limit_stands_beside_the_shares() -> None:
    assert quality({}, limit=0.4).numbers()[LIMIT] == 0.4


def test_where_no_labels_were_looked_at_there_is_no_report() -> None:
    assert report_of({"wins": 3.0, "labels/rows": 2.0}) is None


@pytest.mark.parametrize(("suspicious", "rows", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.31), (5, 10, 0.19, 0.81)])
def test_a_share_of_few_rows_is_unsure(suspicious: int, rows: int, low: float, high: float) -> None:
    assert Suspects(suspicious=suspicious, rows=rows).interval == pytest.approx((low, high), abs=0.005)
