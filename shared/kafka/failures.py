"""Every error of kafka-python as one of ours: no KafkaError leaves this package."""

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as kafka_errors

from shared.errors import BrokerRefusedError, BrokerUnavailableError, FencedError, RetryableError

FENCED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.FencedInstanceIdError,
)
REBALANCED = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.UnknownMemberIdError,
)


class RebalancedError(RetryableError):
    """The group gave our partitions to another member; nothing of ours was committed."""


@contextmanager
def broker_errors(doing: str) -> Iterator[None]:
    """Turns every KafkaError into one of ours; `doing` says what was tried."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise translate(error, doing) from error


def translate(error: kafka_errors.KafkaError, doing: str) -> Exception:
    text = f"{doing}: {type(error).__name__}: {error}"
    if isinstance(error, FENCED) or any(kind.__name__ in str(error) for kind in FENCED):
        return FencedError(f"{text}. Another instance with this identity took over")
    if isinstance(error, REBALANCED):
        return RebalancedError(text)
    if isinstance(error, kafka_errors.RetriableError):
        return BrokerUnavailableError(text)
    return BrokerRefusedError(text)
