"""What the tests of the ingestor share: a stream of the test's own, and kills that abort nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from shared.kafka import TransactionalProducer
from tests.integration.ingestor.stream import Stream


@pytest.fixture
def stream(broker: Broker, topic_prefix: str, home: Path) -> Stream:
    return Stream(broker.bootstrap_servers, topic_prefix, home)


@pytest.fixture
def no_abort(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A killed process aborts nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(TransactionalProducer, "_abort", lambda producer, consumer: None)
        yield patch
