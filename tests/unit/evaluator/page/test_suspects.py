"""The page of a window whose labels were not learned: how many, from whom, taken for what, and what to do about it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator.page.document import Dossier, decision_page
from services.evaluator.page.suspects import MOST_SOURCES, ROWS_SHOWN
from shared.events import Decision, Verdict
from shared.label_quality import LabelQuality, QualityReport, Suspects, SuspiciousRow
from tests.unit.evaluator.builders import decision
from tests.unit.evaluator.page.test_document import HOSTILE, TAGS
from tests.unit.evaluator.page.test_markup import Reader, read

WINDOW = "w-0000002406"
SOURCES = {
    "importer": Suspects(suspicious=402, rows=430),
    "shop": Suspects(suspicious=22, rows=190),
    "rare": Suspects(suspicious=3, rows=4),
}


def suspicious(number: int, text: str = "dull") -> SuspiciousRow:
    return SuspiciousRow(
        offset=2406 + number,
        text=f"{text} {number}",
        source="importer",
        given="positive",
        said="negative",
        confidence=0.9,
    )


def quality(rows: int = 3, sources: dict[str, Suspects] = SOURCES, **more: Any) -> LabelQuality:
    fields: dict[str, Any] = {
        "report": QualityReport(window=Suspects(suspicious=425, rows=621), sources=sources),
        "distrust": "too many",
        "version": "2",
        "limit": 0.4,
        "labels": {"negative": 300, "positive": 321},
        "confusion": {"negative": {"positive": 200}, "positive": {"negative": 225}},
        "worst": tuple(map(suspicious, range(rows))),
    }
    return LabelQuality(**(fields | more))


def distrusted(found: LabelQuality, reason: str = "window quarantined: too many") -> Decision:
    fields = {"window_id": WINDOW, "reasons": (reason,), "numbers": found.numbers(), "quarantined": True}
    return decision(4, Verdict.REJECT, None, "2", **fields)


def page(found: LabelQuality, at_hand: bool = True) -> Reader:
    return read(decision_page(Dossier(distrusted(found), quality=found if at_hand else None)))


def test_it_begins_with_what_happened_and_why() -> None:
    text = page(quality()).text
    assert f"Window {WINDOW} was not learned: its labels look wrong; version 2 stays in service." in text
    assert "425 of its 621 training labels (68%) contradict a model that had never seen these reviews" in text
    assert "beyond 40% nothing is learned from them" in text
    assert "window quarantined: too many" in text


def test_sources_are_drawn_with_their_counts_those_first_that_are_surely_bad() -> None:
    """Three rows of four prove little."""
    found = page(quality())
    places = [found.text.index(name) for name in ("the whole window", "importer93%  (402 : 430)", "rare75%", "shop12%")]
    assert places == sorted(places)
    assert ("class", "limit") in found.attributes
    tones = [value for name, value in found.attributes if name == "class" and value in ("bad", "good", "open")]
    assert tones[:4] == ["bad", "bad", "open", "good"]


def test_of_many_sources_the_rest_is_counted() -> None:
    sources = {f"source {number}": Suspects(suspicious=9, rows=10) for number in range(MOST_SOURCES + 4)}
    assert "4 more sources, less suspicious, are not shown" in page(quality(sources=sources)).text


def test_given_and_suspected_labels_stand_in_one_table() -> None:
    text = page(quality()).text
    assert "negative300100 (33%)–200 (67%)" in text
    assert "positive32196 (30%)225 (70%)–" in text


def test_the_worst_reviews_are_shown_and_the_rest_of_them_on_demand() -> None:
    text = page(quality(rows=ROWS_SHOWN + 2)).text
    assert "dull 0positivenegative90.0%importer2406" in text
    assert text.index("dull 11") < text.index("2 more") < text.index("dull 12")


def test_what_happens_next_says_how_to_release_and_how_to_learn_without_the_source() -> None:
    text = page(quality()).text
    assert "no later training replays its reviews" in text
    assert "its held-out reviews leave the pool" in text
    assert f'tidemill window release {WINDOW} --why "…"' in text
    assert 'tidemill rebuild --without source=importer --why "…"' in text


def test_a_source_that_no_command_line_could_hold_is_not_put_into_one() -> None:
    sources = {"a b; rm": Suspects(suspicious=9, rows=10)}
    assert "source=NAME --why" in page(quality(sources=sources)).text


def test_without_the_look_itself_the_ledger_still_gives_the_shares() -> None:
    text = page(quality(), at_hand=False).text
    assert "importer93%  (402 : 430)" in text
    assert "Which label is taken for which" not in text
    assert "The worst of them" not in text


def test_a_look_of_an_older_kind_is_shown_as_far_as_it_goes() -> None:
    old = LabelQuality(report=quality().report, distrust="too many")
    text = page(old).text
    assert "the model that training would have started from" in text
    assert "Which label is taken for which" not in text


def test_a_review_never_becomes_part_of_the_page() -> None:
    sources = {HOSTILE: Suspects(suspicious=9, rows=10)}
    labels = {"labels": {HOSTILE: 10}, "confusion": {HOSTILE: {HOSTILE + "2": 9}}}
    written = decision_page(
        Dossier(distrusted(found := quality(sources=sources, worst=(suspicious(1, HOSTILE),), **labels)), quality=found)
    )
    assert HOSTILE not in written
    assert "<script" not in written


@given(st.text(min_size=1), st.integers(0, 20), st.integers(0, 20))
@settings(max_examples=25)
def test_whatever_was_counted_there_is_a_page_and_nothing_runs(name: str, bad: int, good: int) -> None:
    found = Suspects(suspicious=bad, rows=bad + good)
    report = QualityReport(window=found, sources={name: found})
    reader = page(quality(report=report, labels={name: bad + good}, confusion={}, worst=(suspicious(1, name),)))
    assert set(reader.tags) <= TAGS
    assert not [attribute for attribute, _ in reader.attributes if attribute.startswith("on")]
