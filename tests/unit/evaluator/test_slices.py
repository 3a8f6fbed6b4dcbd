"""Every row is in one slice of each kind, under a name that says what the slice is."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator.pool import HeldOutRow, text_key
from services.evaluator.slices import slices_of
from shared.gate_settings import (
    GateSettings,
    LabelSlicesSettings,
    LanguageSlicesSettings,
    LengthSlicesSettings,
    PatternSliceSettings,
    SliceKindSettings,
    SliceSettings,
    SlicesTermSettings,
    SourceSlicesSettings,
)
from tests.unit.evaluator.builders import LABELS

ENGLISH = "The acting was wonderful, and the story kept us all in our seats until the very end of the film."
GERMAN = "Die Schauspieler waren wunderbar, und die Geschichte hat uns bis zum Ende des Films gefesselt."


def row(text: str = "fine", label: int = 0, source: str | None = None) -> HeldOutRow:
    return HeldOutRow("w", 0, text_key(text), text, label, source)


def members(rows: Sequence[HeldOutRow], *kinds: SliceKindSettings) -> dict[str, list[int]]:
    found = slices_of(rows, LABELS, SliceSettings(kinds=kinds))
    return {name: np.flatnonzero(mask).tolist() for name, mask in found.items()}


def test_a_slice_per_label() -> None:
    rows = [row(label=1), row(label=0), row(label=1)]
    assert members(rows, LabelSlicesSettings()) == {"label:negative": [1], "label:positive": [0, 2]}


def test_a_slice_per_source_and_one_for_those_without() -> None:
    rows = [row(source="imdb"), row(), row(source="imdb"), row(source="yelp")]
    found = members(rows, SourceSlicesSettings())
    assert found == {"source:imdb": [0, 2], "source:unknown": [1], "source:yelp": [3]}


def test_small_sources_share_a_slice() -> None:
    rows = [row(source=source) for source in ("d", "b", "a", "a", "c")]
    found = members(rows, SourceSlicesSettings(largest=2))
    assert found == {"source:a": [2, 3], "source:b": [1], "source:other": [0, 4]}


def test_a_slice_per_length_in_words() -> None:
    rows = [row("word " * count) for count in (1, 9, 10, 24, 25, 400)]
    found = members(rows, LengthSlicesSettings(edges=(10, 25)))
    assert found == {"length:0-9": [0, 1], "length:10-24": [2, 3], "length:25-more": [4, 5]}


def test_a_slice_per_language_and_one_for_what_cannot_be_told() -> None:
    found = members([row(ENGLISH), row(GERMAN), row("Bon!")], LanguageSlicesSettings())
    assert found == {"language:de": [1], "language:en": [0], "language:unknown": [2]}


def test_a_pattern_has_the_rows_that_match() -> None:
    refund = PatternSliceSettings(name="refund", regex=r"(?i)\brefund")
    french = PatternSliceSettings(name="french", regex="é")
    rows = [row("I want a REFUND"), row("fine"), row("refunded, cliché")]
    assert members(rows, refund, french) == {"pattern:french": [2], "pattern:refund": [0, 2]}


def test_a_pattern_that_is_no_regular_expression_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        PatternSliceSettings(name="broken", regex="(")


@pytest.mark.parametrize("edges", [(), (0, 5), (10, 10), (20, 10)])
def test_edges_must_rise(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="edges"):
        LengthSlicesSettings(edges=edges)


def test_a_required_slice_must_be_of_a_kind_that_is_looked_at() -> None:
    terms = tuple(
        SlicesTermSettings(required=("color:red",)) if term.kind == "slices" else term for term in GateSettings().terms
    )
    with pytest.raises(ValueError, match="color:red"):
        GateSettings(terms=terms)


def test_no_rows_have_no_slices() -> None:
    assert members([], *SliceSettings().kinds) == {}


sources = st.none() | st.text(max_size=100)


@settings(max_examples=20)
@given(st.lists(st.builds(row, st.text(max_size=50), st.integers(0, 1), sources), max_size=20))
def test_every_row_is_in_one_slice_of_each_kind_under_a_name_fit_for_a_metric(rows: list[HeldOutRow]) -> None:
    found = slices_of(rows, LABELS, SliceSettings())
    for kind in ("source", "length", "label", "language"):
        masks = [mask for name, mask in found.items() if name.startswith(f"{kind}:")]
        assert sum(mask.astype(int) for mask in masks) == pytest.approx(np.ones(len(rows))) if rows else not masks
    assert all(re.fullmatch(r"[\w.\- :]{1,100}", name) for name in found)
    assert all(mask.any() for mask in found.values())
