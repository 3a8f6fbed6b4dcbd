"""A page tells all that its decision holds, to people who were not there, and runs nothing that a stranger wrote."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator.comparison import Flips
from services.evaluator.exam import BASELINE, CHALLENGER, CHAMPION, Answer, FlippedRow
from services.evaluator.gate import REQUIRED_METRICS, Challenge, ProbeResult, decide
from services.evaluator.guards import BrierLosses
from services.evaluator.page.document import Dossier, decision_page, skipped_page
from services.evaluator.page.words import figure
from services.evaluator.suites import POOL
from shared.events import CandidateStatus, Decision, Outcome, Score, TermResult, Verdict
from shared.settings import GateSettings
from tests.unit.evaluator.builders import candidate, decision, window
from tests.unit.evaluator.page.test_markup import Reader, read

PNG = b"\x89PNG picture"
HOSTILE = "</td><script>alert(\"1\")</script><img src=x onerror='alert(2)'>"
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "section",
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "span",
        "div",
    ),
    *("strong", "code", "pre", "br", "a", "bdi", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("figure", "figcaption", "img", "svg", "g", "line", "circle", "polyline", "text", "h3"),
}


def judged(flips: Flips, **more: Any) -> Decision:
    """What the real gate says, as an entry of the ledger."""
    metrics = {name: 0.123456 + place for place, name in enumerate(REQUIRED_METRICS)}
    same = np.full(flips.rows, 0.1)
    challenge = Challenge(
        ProbeResult(True, 6, 6),
        flips,
        metrics,
        is_anchor=True,
        baseline=Flips(200, 50, 750),
        slices={"label:positive": flips, "source:tiny": Flips(1, 0, 3)},
        eras={"0-9": Flips(30, 20, 450)},
        losses=BrierLosses(same, same),
        size_ratio=1.0,
        latency_ratio=1.25,
    )
    ruling = decide(challenge, GateSettings())
    scores = tuple(
        Score(model=m, rows_name=POOL, rows=flips.rows, metrics=metrics) for m in (CHALLENGER, CHAMPION, BASELINE)
    )
    fields = {
        "reasons": ruling.reasons,
        "need_rows": ruling.need_rows,
        "terms": ruling.terms,
        "numbers": ruling.numbers,
        "scores": scores,
        "policy": GateSettings().model_dump(mode="json"),
    }
    return decision(3, ruling.verdict, "3", "2", **(fields | more))


def page(found: Decision, **more: Any) -> Reader:
    return read(decision_page(Dossier(found, **more)))


def flipped(text: str, won: bool = False) -> FlippedRow:
    return FlippedRow("w-0000000000", 17, text, "positive", Answer("negative", 0.97), Answer("positive", None), won)


@pytest.mark.parametrize(
    ("flips", "sentence"),
    [
        (Flips(130, 60, 1810), "Version 3 was promoted: it replaces version 2."),
        (Flips(10, 90, 900), "Version 3 was rejected: version 2 stays in service."),
        (Flips(14, 8, 238), "Version 3 waits: the held-out reviews cannot tell yet"),
    ],
)
def test_the_page_begins_with_the_verdict_and_holds_every_term_and_number(flips: Flips, sentence: str) -> None:
    found = judged(flips)
    text = page(found).text
    assert sentence in text
    for term in found.terms:
        assert term.detail in text
        for number in (term.value, term.low, term.high, term.threshold, term.need_rows):
            assert number is None or str(figure(number)) in text
    assert all(f"{name}{value!r}" in text for name, value in found.numbers.items())
    assert all(f"{value:.4f}" in text for score in found.scores for value in score.metrics.values())
    assert all(reason in text for reason in found.reasons)


def test_an_undecided_challenger_is_told_how_many_labels_it_needs() -> None:
    found = judged(Flips(14, 8, 238))
    assert f"About {found.need_rows:,} more labelled reviews" in page(found).text


def test_who_is_not_ahead_is_not_promised_an_end() -> None:
    text = page(judged(Flips(0, 0, 200))).text
    assert "it is right and wrong where version 2 (the champion) is" in text
    assert "but it is not ahead so far, and must be" in text


def test_being_behind_no_number_of_labels_is_promised() -> None:
    assert "cannot be said" in page(judged(Flips(8, 14, 238), need_rows=None)).text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_decision_without_terms_has_a_page_too(verdict: Verdict) -> None:
    text = page(decision(2, verdict, "1", "2")).text
    assert "because" in text
    assert "What was compared" not in text


def test_a_window_without_a_model_has_a_page() -> None:
    failed = decision(1, Verdict.REJECT, None, None, reasons=("training failed: disk full",))
    text = page(failed, window=window(1)).text
    assert "Window w-0000001000 gave no model: its training failed; no model is in service yet." in text
    assert "training failed: disk full" in text
    assert "HOME/runs/STREAM/w-0000001000/job.log" in text
    assert "1,000, of which 1,000 were kept" in text


def test_an_order_to_rebuild_that_failed_is_no_window() -> None:
    failed = decision(4, Verdict.REJECT, None, "2", window_id="rebuild-abc", reasons=("training failed: gone",))
    text = page(failed).text
    assert "The order rebuild-abc gave no model: its training failed; version 2 stays in service." in text
    assert "Nothing speaks against its reviews" not in text


def test_a_window_that_was_passed_over_says_why() -> None:
    skipped = candidate(1, None, status=CandidateStatus.SKIPPED, reason="one class only", model_digest=None)
    text = read(skipped_page(skipped, window(1))).text
    assert "Window w-0000001000 was passed over: one class only." in text
    assert "offsets in reviews.curated1000 to 1999" in text
    assert "What happens next" in read(skipped_page(skipped, None)).text


def test_the_first_champion_is_compared_with_the_baseline() -> None:
    text = page(judged(Flips(130, 60, 1810), champion_before=None)).text
    assert "it is the first model in service" in text
    assert "compared with the generic baseline" in text


def test_without_a_margin_being_safe_and_being_better_are_one_claim() -> None:
    found = judged(Flips(130, 60, 1810))
    assert "it is better at all" in page(found).text
    assert "it is better at all" not in page(found.model_copy(update={"numbers": found.numbers | {"margin": 0.0}})).text


def test_terms_that_nobody_explained_yet_are_shown_like_the_others() -> None:
    term = TermResult(name="brand_new", outcome=Outcome.NOT_APPLICABLE, guard=False, value=0.25, detail="says <this>")
    text = page(judged(Flips(3, 1, 36), terms=(term,))).text
    assert "brand new" in text
    assert "says <this>" in text
    assert "not applicable" in text


def test_pictures_and_origin_are_on_the_page() -> None:
    found = page(
        judged(Flips(3, 1, 36)),
        candidate=candidate(0, "3", parent_version="2", replay_window_ids=("w-old",)),
        pictures={"difference": PNG},
        links={"run in MLflow": "http://127.0.0.1:5000/#/runs/x"},
    )
    assert ("src", "data:image/png;base64,iVBORyBwaWN0dXJl") in found.attributes
    assert ("href", "http://127.0.0.1:5000/#/runs/x") in found.attributes
    assert "replayedw-old" in found.text


def test_rows_that_flipped_stand_by_side_in_their_order() -> None:
    rows = (flipped("one fell"), flipped("two fell"), flipped("three rose", won=True))
    text = page(judged(Flips(3, 1, 36)), flipped=rows).text
    places = [text.index(words) for words in ("Lost:", "one fell", "two fell", "Won:", "three rose")]
    assert places == sorted(places)
    assert "negative (97% sure)positive" in text


def test_a_review_never_becomes_part_of_the_page() -> None:
    written = decision_page(Dossier(judged(Flips(3, 1, 36), reasons=(HOSTILE,)), flipped=(flipped(HOSTILE),)))
    assert HOSTILE not in written
    assert "<script" not in written
    assert HOSTILE in read(written).text


@given(st.text(), st.text())
@settings(max_examples=15, deadline=None)
def test_whatever_is_written_nothing_runs(text: str, other: str) -> None:
    entry = decision(3, Verdict.REJECT, "3", "2", reasons=(other,), policy={other: text}, decided_by=text)
    found = page(entry, flipped=(flipped(text),), links={text: other}, pictures={text: PNG})
    assert set(found.tags) <= TAGS
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [value for name, value in found.attributes if name == "href" and not str(value).startswith("http")]
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in found.attributes
