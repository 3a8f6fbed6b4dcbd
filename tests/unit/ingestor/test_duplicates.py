"""Which rows stand, which are set aside, and that nothing but rows and their order decides it."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestor.duplicates import DuplicateIndex, Observation, Signatures
from shared.events import SetAside
from shared.settings import DuplicateSettings

SETTINGS = DuplicateSettings()
KEPT = Observation(None)
WORDS = [f"word{number}" for number in range(400)]

LONG = " ".join(WORDS[:60])
LONG_EDITED = " ".join([*WORDS[:59], "another"])
UNLIKE = " ".join(WORDS[100:160])

row = st.tuples(st.sampled_from(["good", "bad", "so so", LONG, LONG_EDITED, UNLIKE]), st.integers(0, 1), st.booleans())


@pytest.fixture
def index() -> DuplicateIndex:
    return DuplicateIndex(SETTINGS)


def observe_all(index: DuplicateIndex, rows: list[tuple[str, int, bool]]) -> list[Observation]:
    return [index.observe(*each) for each in rows]


def restored(*windows: Signatures, options: DuplicateSettings = SETTINGS) -> DuplicateIndex:
    return DuplicateIndex(options, (Signatures.from_bytes(signatures.to_bytes()) for signatures in windows))


def test_the_first_of_several_copies_stands(index: DuplicateIndex) -> None:
    assert index.observe("good film", 1) == KEPT
    assert index.observe("good film", 1) == Observation(SetAside.DUPLICATE)
    assert index.observe("bad film", 0) == KEPT


@pytest.mark.parametrize("label", [0, 1])
def test_the_first_of_several_like_texts_stands_whatever_the_label(index: DuplicateIndex, label: int) -> None:
    assert index.observe(LONG, 1) == KEPT
    assert index.observe(LONG_EDITED, label) == Observation(SetAside.NEAR_DUPLICATE)
    assert index.observe(UNLIKE, label) == KEPT


def test_short_texts_are_compared_exactly_only(index: DuplicateIndex) -> None:
    assert index.observe("i really liked this one", 1) == KEPT
    assert index.observe("i really liked this two", 0) == KEPT


def test_contradicting_rows_of_the_open_window_are_both_set_aside_and_so_is_what_follows(index: DuplicateIndex) -> None:
    index.observe("unrelated", 0)
    index.observe("good film", 1)
    assert index.observe("good film", 0) == Observation(SetAside.CONFLICT, overturned=1)
    assert index.observe("good film", 1) == Observation(SetAside.CONFLICT)


def test_a_row_of_a_closed_window_stands_against_a_later_contradiction(index: DuplicateIndex) -> None:
    index.observe("good film", 1)
    index.next_window()
    assert index.observe("good film", 0) == Observation(SetAside.CONFLICT)
    assert index.observe("good film", 1) == Observation(SetAside.CONFLICT)


def test_a_text_that_must_not_be_trained_on_bars_its_copies(index: DuplicateIndex) -> None:
    assert index.observe("good film", 1) == KEPT
    assert index.observe("good film", 1, split_conflict=True) == Observation(SetAside.SPLIT_CONFLICT, overturned=0)
    assert index.observe("bad film", 0, split_conflict=True) == Observation(SetAside.SPLIT_CONFLICT)
    assert index.observe("bad film", 0) == Observation(SetAside.SPLIT_CONFLICT)


@pytest.mark.parametrize(
    ("text", "label", "outcome"),
    [
        ("good", 1, SetAside.DUPLICATE),
        ("bad", 1, SetAside.CONFLICT),
        ("so so", 1, SetAside.CONFLICT),
        (LONG_EDITED, 1, SetAside.NEAR_DUPLICATE),
        (UNLIKE, 1, None),
    ],
)
def test_signatures_carry_what_the_next_window_must_know(text: str, label: int, outcome: SetAside | None) -> None:
    index = DuplicateIndex(SETTINGS)
    observe_all(
        index, [("good", 1, False), ("bad", 0, False), ("so so", 0, False), ("so so", 1, False), (LONG, 1, False)]
    )
    assert restored(index.signatures()).observe(text, label) == Observation(outcome)


def test_signatures_are_compact() -> None:
    index = DuplicateIndex(SETTINGS)
    rng = random.Random(3)
    observe_all(index, [(" ".join(rng.choices(WORDS, k=50)), 1, False) for _ in range(100)])
    signatures = index.signatures()
    assert signatures.digests.shape == (100, 16)
    assert signatures.sketches.shape == (100, SETTINGS.permutations)
    assert signatures.sketches.dtype == np.uint32
    assert len(signatures.to_bytes()) < 100 * (16 + 4 * SETTINGS.permutations + 6) + 2000


def test_an_empty_window_has_signatures_too(index: DuplicateIndex) -> None:
    assert restored(index.signatures()).observe("good", 1) == KEPT


@given(st.lists(row, max_size=12), st.lists(row, max_size=12), st.lists(row, max_size=12))
@settings(deadline=None)
def test_a_restart_judges_the_open_window_as_before(
    first: list[tuple[str, int, bool]], second: list[tuple[str, int, bool]], third: list[tuple[str, int, bool]]
) -> None:
    index = DuplicateIndex(SETTINGS)
    kept = []
    for window in (first, second):
        observe_all(index, window)
        kept.append(index.signatures())
        index.next_window()
    assert observe_all(index, third) == observe_all(restored(*kept), third)


@given(st.lists(row, max_size=30))
@settings(deadline=None)
def test_no_text_is_kept_twice_and_none_that_was_contradicted(rows: list[tuple[str, int, bool]]) -> None:
    index = DuplicateIndex(SETTINGS)
    kept: dict[int, str] = {}
    for number, each in enumerate(rows):
        observation = index.observe(*each)
        if observation.set_aside is None:
            kept[number] = each[0]
        if observation.overturned is not None:
            del kept[observation.overturned]
    texts = list(kept.values())
    assert len(texts) == len(set(texts))
    assert not {LONG, LONG_EDITED} <= set(texts)
    for text in texts:
        before = [each for each in rows if each[0] == text]
        assert not any(marked for _, _, marked in before)
        if text not in (LONG, LONG_EDITED):
            assert len({label for _, label, _ in before}) == 1


def test_windows_beyond_the_memory_are_forgotten() -> None:
    index = DuplicateIndex(DuplicateSettings(remembered_windows=1))
    for text in (LONG, UNLIKE):
        assert index.observe(text, 1) == KEPT
        index.next_window()
    assert index.observe(UNLIKE, 1) == Observation(SetAside.DUPLICATE)
    assert index.observe(LONG_EDITED, 1) == KEPT


def test_rows_beyond_the_memory_are_forgotten_a_window_at_a_time() -> None:
    index = DuplicateIndex(DuplicateSettings(remembered_rows=3))
    for texts in (["a", "b"], ["c", "d"]):
        observe_all(index, [(text, 1, False) for text in texts])
        index.next_window()
    assert index.observe("a", 1) == KEPT
    assert index.observe("c", 1) == Observation(SetAside.DUPLICATE)


def test_sketches_of_another_size_leave_exact_comparison() -> None:
    index = DuplicateIndex(SETTINGS)
    index.observe(LONG, 1)
    other = restored(index.signatures(), options=DuplicateSettings(permutations=32))
    assert other.observe(LONG, 1) == Observation(SetAside.DUPLICATE)
    assert other.observe(LONG_EDITED, 1) == KEPT


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.95, 1.0])
def test_every_threshold_that_settings_allow_works(threshold: float) -> None:
    index = DuplicateIndex(DuplicateSettings(near_threshold=threshold, permutations=16))
    assert index.observe(LONG, 1) == KEPT
    assert index.observe(UNLIKE, 1) == KEPT


def test_most_texts_above_the_threshold_are_found_and_few_below_it() -> None:
    """Seeded: of 200 pairs at similarity 0.85 most, of 200 at 0.52 nearly none."""
    rng = random.Random(7)
    found = {1: 0, 4: 0}
    for edits in found:
        for _ in range(200):
            words = rng.sample(WORDS, 40)
            edited = [*words]
            for place in rng.sample([5, 14, 23, 32], edits):
                edited[place] = "edited"
            index = DuplicateIndex(SETTINGS)
            index.observe(" ".join(words), 1)
            found[edits] += index.observe(" ".join(edited), 1).set_aside is SetAside.NEAR_DUPLICATE
    assert found[1] >= 160
    assert found[4] <= 10
