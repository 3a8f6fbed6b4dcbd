"""The door: what becomes of every kind of record."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.curator import Curator, Judgement, Rejected
from shared.events import CuratedReview, Origin, RejectionReason, Side, UnlabeledReview
from shared.settings import IngestorSettings, SplitSettings, StreamSettings

ORIGIN = Origin(partition=2, offset=17)
PUBLISHED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = "A moving film, and better than its reputation."
CURATOR = Curator(StreamSettings(), IngestorSettings())


def judge(value: bytes | None, curator: Curator = CURATOR) -> Judgement:
    return curator.judge(value, ORIGIN, PUBLISHED)


def judge_fields(curator: Curator = CURATOR, **fields: Any) -> Judgement:
    return judge(json.dumps({"text": TEXT, "label": 1} | fields).encode(), curator)


def reason(judgement: Judgement) -> RejectionReason | None:
    return judgement.reason if isinstance(judgement, Rejected) else None


def curated(judgement: Judgement) -> CuratedReview:
    assert isinstance(judgement, CuratedReview), judgement
    return judgement


def test_text_and_label_are_enough() -> None:
    review = curated(judge_fields())
    assert (review.id, review.text, review.label, review.marked_test) == ("2-17", TEXT, 1, False)
    assert (review.origin, review.published_at) == (ORIGIN, PUBLISHED)


def test_the_usual_imdb_export_is_understood() -> None:
    assert curated(judge_fields(label=0, split="test")).marked_test


def test_what_the_publisher_says_is_kept() -> None:
    review = curated(judge_fields(id=7, source="a site", created_at="1997-03-01T00:00:00", prediction_id="p"))
    assert (review.id, review.source, review.prediction_id) == ("7", "a site", "p")
    assert review.created_at == datetime(1997, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("too_long", ["x" * 513, 10**513])
def test_an_id_is_bounded(too_long: str | int) -> None:
    judgement = judge_fields(id=too_long)
    assert judgement == Rejected(RejectionReason.WRONG_SHAPE, "id: Value error, at most 512 characters")
    assert curated(judge_fields(id="x" * 512)).id == "x" * 512


def test_unknown_fields_do_no_harm() -> None:
    assert curated(judge_fields(stars=5, nested={"a": [1]})).text == TEXT


def test_null_as_label_is_unlabelled_text() -> None:
    judgement = judge_fields(label=None)
    assert isinstance(judgement, UnlabeledReview)
    assert judgement.text == TEXT


@pytest.mark.parametrize(("label", "number"), [("positive", 1), ("neg", 0), ("POS", 1), ("0", 0), (1.0, 1), (True, 1)])
def test_labels_come_as_names_aliases_and_numbers(label: object, number: int) -> None:
    assert curated(judge_fields(label=label)).label == number


def test_a_text_is_cleaned_and_masked() -> None:
    text = curated(judge_fields(text="Write to me:\n someone@example.com, it was <br/> good &amp; long.")).text
    assert text == "Write to me: [EMAIL], it was good & long."


def test_masking_can_be_switched_off() -> None:
    open_curator = Curator(StreamSettings(), IngestorSettings(mask_personal_data=False))
    assert "someone@example.com" in curated(judge_fields(open_curator, text="Write to someone@example.com soon.")).text


def test_copies_of_a_text_stand_on_one_side_whatever_their_case_and_punctuation() -> None:
    plain, loud = curated(judge_fields()), curated(judge_fields(text=TEXT.upper().replace(",", " !")))
    assert plain.side is loud.side


def test_the_side_follows_the_configured_shares() -> None:
    mostly = Curator(StreamSettings(), IngestorSettings(split=SplitSettings(holdout_share=850)))
    sides = [curated(judge_fields(mostly, text=f"{TEXT} Take {number}.")).side for number in range(200)]
    assert sides.count(Side.HOLDOUT) > 140


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, RejectionReason.EMPTY),
        (b"", RejectionReason.EMPTY),
        (b"not json", RejectionReason.NOT_JSON),
        (b'{"text": "a", "label": 1', RejectionReason.NOT_JSON),
        (b'{"text": "\\ud800", "label": 1}', RejectionReason.NOT_JSON),
        (b'{"text": "\xff\xfe", "label": 1}', RejectionReason.NOT_UTF8),
        (bytes(range(256)), RejectionReason.NOT_UTF8),
        (b"[1, 2]", RejectionReason.WRONG_SHAPE),
        (b'"text"', RejectionReason.WRONG_SHAPE),
        (b"null", RejectionReason.WRONG_SHAPE),
        (b"NaN", RejectionReason.WRONG_SHAPE),
        (b'{"label": 1}', RejectionReason.WRONG_SHAPE),
        (b'{"text": "no label at all here"}', RejectionReason.WRONG_SHAPE),
        (b'{"text": 5, "label": 1}', RejectionReason.WRONG_SHAPE),
        (b"[" * 100_000, RejectionReason.NOT_JSON),
        (b'{"text": "' + b"a" * 1_100_000 + b'", "label": 1}', RejectionReason.TOO_LONG),
        (b'{"text": "fine", "label": NaN}', RejectionReason.UNKNOWN_LABEL),
        (b'{"text": "fine", "label": Infinity}', RejectionReason.UNKNOWN_LABEL),
        (b'{"text": "fine", "label": 1e999}', RejectionReason.UNKNOWN_LABEL),
        (b'{"text": "fine", "label": -1}', RejectionReason.UNKNOWN_LABEL),
        (b'{"text": "fine", "label": ' + b"9" * 4_000 + b"}", RejectionReason.UNKNOWN_LABEL),
        (b'{"text": "fine", "label": ' + b"9" * 9_000 + b"}", RejectionReason.NOT_JSON),
        (b'{"text": "fine", "label": "meh"}', RejectionReason.UNKNOWN_LABEL),
        (b'{"text": "fine", "label": 1, "event_version": 2}', RejectionReason.FUTURE_VERSION),
        (b'{"body": {"text": "fine"}, "event_version": 3}', RejectionReason.FUTURE_VERSION),
        (b'{"text": "fine", "label": 1, "created_at": "0001-01-01T00:00:00+10:00"}', RejectionReason.WRONG_SHAPE),
        (b'{"text": "fine", "label": 1, "created_at": "yesterday"}', RejectionReason.WRONG_SHAPE),
        (b'{"text": " \\n ", "label": 1}', RejectionReason.EMPTY),
        (b'{"text": "a", "label": 1}', RejectionReason.TOO_SHORT),
        (b'{"text": "\\u0000\\u0001\\u0002\\u0003 abc", "label": 1}', RejectionReason.CONTROL_CHARACTERS),
        (b'{"text": "?!#$%&/()=?!#$%", "label": 1}', RejectionReason.SYMBOLS),
        (b'{"text": "' + b"buy " * 50 + b'", "label": 1}', RejectionReason.REPETITION),
    ],
)
def test_what_is_no_review_is_rejected_with_the_reason(value: bytes | None, expected: RejectionReason) -> None:
    assert reason(judge(value)) is expected


def test_another_language_is_rejected() -> None:
    german = "Dieser Film ist wirklich sehr gut gelungen, weil alle Schauspieler überzeugen und die Handlung fesselt."
    assert reason(judge_fields(text=german * 2)) is RejectionReason.LANGUAGE


def test_the_detail_says_what_is_wrong_and_stays_short() -> None:
    judgement = judge(b'{"text": 5, "label": [1], "id": {"secret": "value"}, "split": "' + b"x" * 5000 + b'"}')
    assert isinstance(judgement, Rejected)
    assert "text: Input should be a valid string" in judgement.detail
    assert "secret" not in judgement.detail
    assert len(judgement.detail) <= 500


@given(st.binary(max_size=400))
def test_any_bytes_have_one_outcome(value: bytes) -> None:
    assert isinstance(judge(value), CuratedReview | UnlabeledReview | Rejected)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"text": st.text(max_size=300) | anything, "label": st.sampled_from([0, 1, "pos", None]) | anything},
        optional=dict.fromkeys(["id", "split", "source", "created_at", "prediction_id", "event_version"], anything),
    )
)
def test_any_json_has_one_outcome_and_a_review_survives_its_topic(fields: dict[str, Any]) -> None:
    judgement = judge(json.dumps(fields).encode())
    if isinstance(judgement, CuratedReview):
        assert CuratedReview.model_validate_json(judgement.model_dump_json()) == judgement
    else:
        assert isinstance(judgement, UnlabeledReview | Rejected)
