"""Kafka as Tidemill uses it: the only package that imports kafka-python. This is its public door.

Consumers are read_committed and never reset an offset by themselves; producers are idempotent or transactional; every
error that leaves here is one of `shared.errors`, or `RebalancedError`. Traps of kafka-python 3.0.12 that are handled
here: a transactional request to an unreachable coordinator is lost for ever and commits have no time-out
(`transactions`), offsets given as plain integers hang (`records.positions`), polls under 100 ms never join a group.
"""

from shared.kafka.admin import Admin, create_topics
from shared.kafka.connection import check_codecs
from shared.kafka.failures import RebalancedError, broker_errors
from shared.kafka.group import GroupConsumer, StartOffset, from_beginning
from shared.kafka.producer import Delivery, Producer
from shared.kafka.reading import Follower, iterate_topic, offset_range, read_newest, read_range, read_topic
from shared.kafka.records import Partition, Record, next_offsets
from shared.kafka.transactions import Transaction, TransactionalProducer

__all__ = [
    "Admin",
    "Delivery",
    "Follower",
    "GroupConsumer",
    "Partition",
    "Producer",
    "RebalancedError",
    "Record",
    "StartOffset",
    "Transaction",
    "TransactionalProducer",
    "broker_errors",
    "check_codecs",
    "create_topics",
    "from_beginning",
    "iterate_topic",
    "next_offsets",
    "offset_range",
    "read_newest",
    "read_range",
    "read_topic",
]
