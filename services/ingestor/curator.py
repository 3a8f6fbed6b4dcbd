"""Judges one record of `reviews.labeled`: exactly one outcome for any bytes, and never an exception."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.ingestor import quality
from services.ingestor.split import side_of
from shared.events import CuratedReview, LabeledReview, Origin, RejectionReason, SplitRecord, UnlabeledReview
from shared.labels import LabelMap, UnknownLabelError
from shared.settings import IngestorSettings, StreamSettings
from shared.text import NORMALISER_VERSION, canonical, normalise, prepare
from shared.topics import MAX_REVIEW_BYTES

EVENT_VERSION = 1
LONGEST_DETAIL = 500
# A batch is compressed on its way through the broker's limit: a kilobyte there may be megabytes here.
MAX_VALUE_BYTES = MAX_REVIEW_BYTES

_QUALITY_DETAIL = {
    RejectionReason.EMPTY: "no text is left after cleaning",
    RejectionReason.TOO_SHORT: "fewer characters than ingestor.quality.min_chars after cleaning",
    RejectionReason.TOO_LONG: "more characters than ingestor.quality.max_chars allows",
    RejectionReason.CONTROL_CHARACTERS: "more control characters than ingestor.quality.max_control_share allows",
    RejectionReason.SYMBOLS: "more symbols than ingestor.quality.max_symbol_share allows",
    RejectionReason.REPETITION: "repeats itself more than ingestor.quality allows",
    RejectionReason.LANGUAGE: "in none of ingestor.quality.languages",
}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no review, and why. `detail` never quotes the text."""

    reason: RejectionReason
    detail: str


Judgement = CuratedReview | UnlabeledReview | Rejected


class _Refused(Exception):
    def __init__(self, reason: RejectionReason, detail: str) -> None:
        self.rejected = Rejected(reason, detail[:LONGEST_DETAIL])


class _Versioned(BaseModel):
    event_version: int = EVENT_VERSION


class Curator:
    """Turns records into reviews by the stream's labels and the ingestor's settings. Holds no state."""

    def __init__(self, stream: StreamSettings, ingestor: IngestorSettings) -> None:
        """Raises ConfigurationError if two labels or aliases are the same name."""
        self._labels = LabelMap(stream.labels, stream.aliases)
        self._quality = ingestor.quality
        self._clean = prepare if ingestor.mask_personal_data else normalise
        self.split: SplitRecord = ingestor.split.record(NORMALISER_VERSION)

    def judge(self, value: bytes | None, origin: Origin, published_at: datetime) -> Judgement:
        """The record's one outcome.

        Args:
            value: The bytes as published; None for a record without a value.
            origin: Where it lies in `reviews.labeled`.
            published_at: By the broker's clock.
        """
        try:
            return self._review(_parse(value), origin, published_at)
        except _Refused as refused:
            return refused.rejected

    def _review(self, parsed: LabeledReview, origin: Origin, published_at: datetime) -> Judgement:
        label = self._class_id(parsed)
        text = self._text(parsed.text)
        identity = canonical(text)
        review_id = str(parsed.id) if parsed.id not in (None, "") else f"{origin.partition}-{origin.offset}"
        common = {
            "id": review_id,
            "text": text,
            "side": side_of(identity, self.split),
            "source": parsed.source,
            "created_at": _with_zone(parsed.created_at),
            "origin": origin,
            "published_at": published_at,
        }
        if label is None:
            return UnlabeledReview.model_validate(common)
        marked_test = parsed.split == "test"
        return CuratedReview.model_validate(
            common | {"label": label, "marked_test": marked_test, "prediction_id": parsed.prediction_id}
        )

    def _class_id(self, parsed: LabeledReview) -> int | None:
        try:
            return self._labels.class_id(parsed.label)
        except UnknownLabelError as error:
            raise _Refused(RejectionReason.UNKNOWN_LABEL, str(error)) from error

    def _text(self, raw: str) -> str:
        """The text cleaned, if it is worth learning from."""
        if reason := quality.judge_raw(raw, self._quality):
            raise _Refused(reason, _QUALITY_DETAIL[reason])
        text = self._clean(raw)
        if reason := quality.judge(text, self._quality):
            raise _Refused(reason, _QUALITY_DETAIL[reason])
        return text


def _parse(value: bytes | None) -> LabeledReview:
    if not value:
        raise _Refused(RejectionReason.EMPTY, "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise _Refused(RejectionReason.TOO_LONG, f"{len(value)} bytes once decompressed; at most {MAX_VALUE_BYTES}")
    try:
        parsed = LabeledReview.model_validate_json(value)
    except ValidationError as error:
        raise _unreadable(value, error) from error
    if parsed.event_version > EVENT_VERSION:
        raise _future(parsed.event_version)
    return parsed


def _unreadable(value: bytes, error: ValidationError) -> _Refused:
    """Why these bytes are no labelled review."""
    problems = error.errors(include_url=False, include_input=False)
    if problems[0]["type"] != "json_invalid":
        return _misshapen(value, problems)
    try:
        value.decode()
    except UnicodeDecodeError as undecodable:
        return _Refused(RejectionReason.NOT_UTF8, f"not UTF-8 at byte {undecodable.start}: {undecodable.reason}")
    return _Refused(RejectionReason.NOT_JSON, problems[0]["msg"])


def _misshapen(value: bytes, problems: list[ErrorDetails]) -> _Refused:
    # A newer version may well look different: its number says more than its shape.
    try:
        version = _Versioned.model_validate_json(value).event_version
    except ValidationError:
        version = EVENT_VERSION
    if version > EVENT_VERSION:
        return _future(version)
    reasons = (f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['msg']}" for item in problems)
    return _Refused(RejectionReason.WRONG_SHAPE, "; ".join(reasons))


def _future(version: int) -> _Refused:
    return _Refused(
        RejectionReason.FUTURE_VERSION, f"event_version {version} is newer than {EVENT_VERSION}; update the ingestor"
    )


def _with_zone(moment: datetime | None) -> datetime | None:
    """In UTC, so that archives need not guess; a time without a zone is taken to be UTC."""
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise _Refused(RejectionReason.WRONG_SHAPE, "created_at: not within years 1 to 9999 in UTC") from error
