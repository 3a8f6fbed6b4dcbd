"""Which side a review stands on: a function of its text alone, fixed for a stream's life.

Copies of a review therefore stand on one side, today and in any later window, whoever reads them.
"""

from hashlib import sha256

from shared.errors import ConfigurationError
from shared.events import Side, SplitRecord

BUCKETS = 1000


def bucket(identity: str, salt: str) -> int:
    """A number in [0, 1000) from a text's canonical form, evenly spread."""
    return int.from_bytes(sha256((salt + identity).encode("utf-8", errors="surrogatepass")).digest()) % BUCKETS


def side_of(identity: str, record: SplitRecord) -> Side:
    """The side of a text, by its canonical form: hold-out first, then calibration, validation, training."""
    number = bucket(identity, record.salt)
    for side, share in (
        (Side.HOLDOUT, record.holdout_share),
        (Side.CALIBRATION, record.calibration_share),
        (Side.VALIDATION, record.validation_share),
    ):
        if number < share:
            return side
        number -= share
    return Side.TRAIN


def is_split_conflict(side: Side, marked_test: bool) -> bool:
    """Whether the publisher forbids training on a row that the split does not hold out; it goes to neither side."""
    return marked_test and side is not Side.HOLDOUT


def check_same(recorded: SplitRecord, configured: SplitRecord) -> None:
    """Refuses a split other than the one that the stream was begun with.

    Raises:
        ConfigurationError: Naming each field that differs, and both values.
    """
    before, now = recorded.model_dump(), configured.model_dump()
    differing = [
        f"{field} was {before[field]!r} and is now {now[field]!r}" for field in before if before[field] != now[field]
    ]
    if differing:
        raise ConfigurationError(
            "the split of a stream is fixed, or held-out reviews would be trained on: "
            + "; ".join(differing)
            + ". Restore it under [ingestor.split], or begin a new stream with another stream.prefix"
        )
