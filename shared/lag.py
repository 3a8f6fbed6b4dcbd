"""How far a consumer is behind, told to Prometheus every few seconds."""

import time

from prometheus_client import Gauge

from shared.kafka import GroupConsumer, Partition

PERIOD_SECONDS = 5.0


class LagReport:
    """Keeps the lag of one group member's partitions up to date, and forgets partitions that it lost."""

    def __init__(self, consumer: GroupConsumer, gauge: Gauge, group: str) -> None:
        self._consumer, self._gauge, self._group = consumer, gauge, group
        self._shown: set[Partition] = set()
        self._due = 0.0

    def update(self) -> None:
        """Measures if the period is over."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PERIOD_SECONDS
        lags = self._consumer.lag()
        for topic, partition in self._shown - lags.keys():
            self._gauge.remove(self._group, topic, str(partition))
        for (topic, partition), records in lags.items():
            self._gauge.labels(self._group, topic, str(partition)).set(records)
        self._shown = set(lags)
