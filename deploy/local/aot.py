"""Trains the JVM's start-up cache: 16 to 20 s once, for a start in 2 s instead of 6 s each time after.

`python -m deploy.local.aot` does it unless it is done.
"""

import tempfile
from pathlib import Path

from deploy.local.broker import Broker
from deploy.local.java import start_cache
from shared.kafka import Admin
from shared.settings import KafkaSettings, Settings

# The JVM writes the cache while it ends.
TRAINING_STOP_SECONDS = 180.0


def main() -> None:
    """Makes the cache if it is not there, and drops those of earlier JREs or jars."""
    target = start_cache()
    if target.is_file():
        return
    target.parent.mkdir(mode=0o700, exist_ok=True)
    for outdated in target.parent.iterdir():
        outdated.unlink()
    with tempfile.TemporaryDirectory(dir=target.parent.parent) as home:
        fresh = Path(home) / "fresh.aot"
        _train(Path(home) / "broker", fresh)
        fresh.chmod(0o600)
        fresh.rename(target)


def _train(home: Path, output: Path) -> None:
    broker = Broker(home)
    broker.start(training=output)
    try:
        _exercise(broker.bootstrap_servers)
    finally:
        broker.stop(TRAINING_STOP_SECONDS)


def _exercise(bootstrap_servers: str) -> None:
    """What every start of the stack does first: the classes behind it belong into the cache."""
    Admin(Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))).create_topics()


if __name__ == "__main__":
    main()
