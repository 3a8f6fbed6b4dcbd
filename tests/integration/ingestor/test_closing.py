"""When windows close: by age only once all is read, and by an order whatever happens to the first attempt."""

from pathlib import Path

import pytest

from deploy.local.broker import Broker
from services.ingestor.windowing import WindowerLoop
from shared.errors import BrokerUnavailableError
from shared.events import ClosedWindow, CuratedReview, Trigger
from shared.kafka import GroupConsumer, Transaction
from tests.integration.ingestor.stream import Ingestor, Stream

STEPS_OF_NOTHING = 5


def _refuse(transaction: Transaction, consumer: GroupConsumer | None) -> None:
    raise BrokerUnavailableError("not now")


def windower_of(ingestor: Ingestor) -> WindowerLoop[CuratedReview, ClosedWindow]:
    assert ingestor.windower is not None
    return ingestor.windower


def test_a_backlog_is_not_cut_by_age(
    broker: Broker, topic_prefix: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = {"triggers": [{"kind": "age", "seconds": 0.001}], "min_rows": 1}
    stream = Stream(broker.bootstrap_servers, topic_prefix, home, window=window)
    stream.publish_reviews(10)
    with Ingestor(stream.settings) as ingestor, monkeypatch.context() as patch:
        curated = windower_of(ingestor)._input
        patch.setattr(GroupConsumer, "lag", lambda consumer: {curated: 1})
        ingestor.until(lambda: ingestor.seen() == 10)
        for _ in range(STEPS_OF_NOTHING):
            ingestor.step()
        assert stream.windows() == []
        patch.undo()
        ingestor.until(lambda: len(stream.windows()) == 1)
    assert (stream.windows()[0].trigger, stream.windows()[0].reviews) == (Trigger.AGE, 10)


def test_an_order_outlives_an_aborted_transaction(
    broker: Broker, topic_prefix: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first window the group had no position in `control.commands`, and started again at its end."""
    stream = Stream(broker.bootstrap_servers, topic_prefix, home)
    stream.publish_reviews(10)
    with Ingestor(stream.settings) as ingestor:
        ingestor.until(lambda: ingestor.seen() == 10)
        stream.order()
        with monkeypatch.context() as patch:
            patch.setattr(Transaction, "_finish", _refuse)
            with pytest.raises(BrokerUnavailableError):
                ingestor.until(lambda: False)
        ingestor.until(lambda: len(stream.windows()) == 1)
    assert (stream.windows()[0].trigger, stream.windows()[0].reviews) == (Trigger.OPERATOR, 10)
