"""What every client shares: how to connect, and how to read."""

import importlib.util
from typing import Any

from kafka import KafkaConsumer

from shared.errors import ConfigurationError
from shared.kafka.failures import broker_errors
from shared.kafka.headers import accept_any_header_name
from shared.settings import Settings

RECONNECT_BACKOFF_MS = 500
FETCH_BYTES = 8 * 1024 * 1024
CODECS = {"crc32c": "crc32c", "lz4": "lz4", "snappy": "python-snappy", "zstandard": "zstandard"}


def check_codecs() -> None:
    """Refuses to start without the optional codecs: a user's snappy batch would stop the consumer.

    Raises:
        ConfigurationError: Naming the packages that are missing.
    """
    missing = [package for module, package in CODECS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigurationError(f"install {', '.join(missing)}: Kafka batches cannot be read safely without")


def connection(settings: Settings, role: str) -> dict[str, Any]:
    """Options that every client shares."""
    kafka = settings.kafka
    password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
    return {
        "bootstrap_servers": settings.bootstrap_servers().split(","),
        "client_id": settings.stream.identity(role),
        "security_protocol": kafka.security_protocol,
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": password,
        "ssl_cafile": kafka.ssl_cafile,
        "ssl_certfile": kafka.ssl_certfile,
        "ssl_keyfile": kafka.ssl_keyfile,
        "bootstrap_timeout_ms": int(kafka.bootstrap_timeout_seconds * 1000),
        "request_timeout_ms": int(kafka.request_timeout_seconds * 1000),
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MS,
    }


def open_consumer(settings: Settings, role: str, group: str | None) -> KafkaConsumer:
    accept_any_header_name()
    kafka = settings.kafka
    options = connection(settings, role) | {
        "group_id": group,
        "isolation_level": "read_committed",
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "max_poll_records": kafka.max_poll_records,
        "max_partition_fetch_bytes": FETCH_BYTES,
        "session_timeout_ms": int(kafka.session_timeout_seconds * 1000),
        "heartbeat_interval_ms": int(kafka.heartbeat_seconds * 1000),
    }
    with broker_errors(f"connecting {role} to {settings.bootstrap_servers()}"):
        return KafkaConsumer(**options)
