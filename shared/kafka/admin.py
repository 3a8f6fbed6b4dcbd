"""Topics and groups."""

from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from shared.kafka.connection import connection
from shared.kafka.failures import broker_errors
from shared.kafka.records import Partition
from shared.settings import Settings
from shared.topics import ALL_TOPICS, REVIEWS_LABELED, Topic


class Admin:
    """Topics and groups."""

    def __init__(self, settings: Settings) -> None:
        """Raises BrokerUnavailableError if Kafka did not answer."""
        self._settings = settings
        with broker_errors(f"connecting to {settings.bootstrap_servers()}"):
            self._admin = KafkaAdminClient(**connection(settings, "admin"))

    def create_topics(self, topics: Iterable[Topic] = ALL_TOPICS) -> list[str]:
        """Creates the topics that are missing; returns their names. Calling it twice, or at once, does no harm."""
        prefix = self._settings.stream.prefix
        with broker_errors("listing topics"):
            present = set(self._admin.list_topics())
        missing = {topic.full_name(prefix): topic for topic in topics if topic.full_name(prefix) not in present}
        created = [name for name, topic in missing.items() if self._create(name, topic)]
        if missing:
            with broker_errors(f"waiting for topics {sorted(missing)}"):
                self._admin.wait_for_topics(sorted(missing))
        return created

    def _create(self, name: str, topic: Topic) -> bool:
        kafka = self._settings.kafka
        partitions = kafka.labeled_partitions if topic is REVIEWS_LABELED else topic.partitions
        wanted = {
            "num_partitions": partitions,
            "replication_factor": kafka.replication_factor,
            "configs": topic.config(),
        }
        with broker_errors(f"creating topic {name}"):
            try:
                self._admin.create_topics({name: wanted})
            except kafka_errors.TopicAlreadyExistsError:
                return False  # another service was quicker
        return True

    def partitions(self, topic: Topic) -> int:
        """How many partitions the topic has; 0 if it does not exist."""
        name = topic.full_name(self._settings.stream.prefix)
        with broker_errors(f"describing topic {name}"):
            if name not in self._admin.list_topics():
                return 0
            return len(self._admin.describe_topics([name])[0]["partitions"])

    def group_offsets(self, role: str) -> dict[Partition, int]:
        """Positions that the group `PREFIX.ROLE` has committed."""
        group = self._settings.stream.identity(role)
        with broker_errors(f"reading offsets of {group}"):
            offsets = self._admin.list_group_offsets([group]).get(group, {})
        return {(tp.topic, tp.partition): position.offset for tp, position in offsets.items() if position.offset >= 0}

    def close(self) -> None:
        """Lets go of the connection."""
        self._admin.close()


def create_topics(settings: Settings) -> None:
    """Creates the topics that are missing, as every service does at its start."""
    admin = Admin(settings)
    try:
        admin.create_topics()
    finally:
        admin.close()
