"""How many reviews a second go through curator and windower, beside the bare kafka-python loop that they cannot beat.

All clients run in this process, pinned to one core; the broker has the others. In each round, over the same records:

* bare: consume `reviews.labeled` and produce every value as it is to another topic, in transactions of the same size.
* curator: the same with all that curation does, by the real `CuratorLoop`.
* windower: the real `WindowerLoop` of labelled reviews on what the curator wrote, snapshots on disk included.

`through_both` is what one core sustains doing both jobs in turn: 1 / (1/curator + 1/windower). Rates are the best of
the rounds (a neighbour on the machine only ever slows a round down), each from the end of the first batch to the end of
the last, so that joining a group does not count.

`python -m bench.ingest [--quick] [--words N] [--file reviews.jsonl.gz] [--json FILE]`: a table, where our time goes by
cProfile (which itself slows our Python down), then one JSON object.
"""

import argparse
import cProfile
import json
import os
import pstats
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import OffsetAndMetadata
from prometheus_client import CollectorRegistry, Counter

from bench.curation import make_reviews, read_reviews
from deploy.local.broker import Broker
from services.ingestor.app import collect_less_garbage
from services.ingestor.curating import CuratorLoop
from services.ingestor.windowing import labeled_windower
from shared.health import Health
from shared.kafka import Admin, Producer
from shared.logs import configure_logging
from shared.metrics import IngestorMetrics, ServiceMetrics
from shared.service import Context, Loop
from shared.settings import Settings, load_settings
from shared.topics import PREDICTIONS_SERVED, REVIEWS_LABELED

FULL, QUICK = (5, 20_000), (2, 10_000)
WORDS = 40
PROFILE_ROWS = 30
NAMES = ("bare", "curator", "windower", "through_both")


class Rate(NamedTuple):
    """One loop over one stream."""

    reviews: int
    seconds: float
    cpu_seconds: float


def main() -> None:
    """Prints the table, the profiles and the JSON object."""
    options = _options()
    rounds, count = QUICK if options.quick else FULL
    texts = read_reviews(options.file, count) if options.file else make_reviews(count, options.words)
    values = [json.dumps({"text": text, "label": number % 2}).encode() for number, text in enumerate(texts)]
    collect_less_garbage()  # as the service does; the bare loop has the good of it too
    profiles = {name: cProfile.Profile() for name in ("curator", "windower")}
    with tempfile.TemporaryDirectory() as folder, _pinned_broker(Path(folder)) as broker:
        rates = [_round(broker, Path(folder), values, number, {}) for number in range(rounds)]
        _round(broker, Path(folder), values, rounds, profiles)
    report = {
        "bench": "ingest",
        "reviews": len(values),
        "rounds": rounds,
        "bytes_per_review": sum(map(len, values)) // len(values),
        "wall": summary(rates, lambda rate: rate.seconds),
        "cpu": summary(rates, lambda rate: rate.cpu_seconds),
    }
    _show(report, profiles, options.json)


def summary(rounds: Sequence[dict[str, Rate]], seconds: Callable[[Rate], float]) -> dict[str, float]:
    """The best rates in reviews a second, and what they say together."""
    best = {name: max(rates[name].reviews / seconds(rates[name]) for rates in rounds) for name in rounds[0]}
    both = 1 / (1 / best["curator"] + 1 / best["windower"])
    best |= {"through_both": both, "share_of_bare": both / best["bare"]}
    return {name: round(value, 3) for name, value in best.items()}


@contextmanager
def _pinned_broker(folder: Path) -> Iterator[Broker]:
    """A broker on all cores but the first, which is left to us. Threads inherit the affinity of who starts them."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)
    with Broker(folder / "kafka") as broker:
        os.sched_setaffinity(0, cores[:1])
        yield broker


def _round(
    broker: Broker, folder: Path, values: Sequence[bytes], number: int, profiles: dict[str, cProfile.Profile]
) -> dict[str, Rate]:
    """Each loop once over a fresh stream; those with a profile are watched."""
    settings = load_settings(
        home=folder / f"home{number}",
        stream={"prefix": f"bench{number}"},
        kafka={"bootstrap_servers": broker.bootstrap_servers},
        service={"log_level": "error"},
    )
    configure_logging(settings.service, "bench")
    _publish(settings, values)
    rates = {}
    for name, loop in (("bare", _bare), ("curator", _curator), ("windower", _windower)):
        with profiles.get(name, nullcontext()):
            rates[name] = _timed(loop(settings, len(values)), len(values))
    return rates


def _publish(settings: Settings, values: Sequence[bytes]) -> None:
    admin = Admin(settings)
    admin.create_topics()
    admin.close()
    producer = Producer(settings, "bench", delivery_seconds=120)
    for number, value in enumerate(values):
        producer.send_bytes(REVIEWS_LABELED, b"%d" % number, value)
    producer.flush(120)
    producer.close()


def _timed(steps: Iterator[int], count: int) -> Rate:
    """How fast the reviews after the first batch were done."""
    first, begun, busy = next(steps), time.perf_counter(), time.process_time()
    seconds, cpu_seconds = 0.0, 0.0
    for _ in steps:
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - busy
    return Rate(count - first, seconds, cpu_seconds)


def _bare(settings: Settings, count: int) -> Iterator[int]:
    """kafka-python as its documents show it, with the same batch sizes and codec as ours."""
    servers, kafka, done = settings.bootstrap_servers(), settings.kafka, 0
    source, target = (topic.full_name(settings.stream.prefix) for topic in (REVIEWS_LABELED, PREDICTIONS_SERVED))
    consumer = KafkaConsumer(
        source,
        bootstrap_servers=servers,
        group_id="bare",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_poll_records=kafka.max_poll_records,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    producer = KafkaProducer(
        bootstrap_servers=servers,
        transactional_id=f"{settings.stream.prefix}.bare",
        compression_type="lz4",
        linger_ms=5,
        batch_size=128 * 1024,
        retry_backoff_ms=10,
    )
    producer.init_transactions()
    while done < count:
        batches: dict[Any, Any] = consumer.poll(timeout_ms=500)
        if not batches:
            continue
        producer.begin_transaction()
        for records in batches.values():
            for record in records:
                producer.send(target, value=record.value, key=record.key, headers=record.headers)
        positions = {tp: OffsetAndMetadata(records[-1].offset + 1) for tp, records in batches.items()}
        producer.send_offsets_to_transaction(positions, consumer.group_metadata())
        producer.commit_transaction()
        done += sum(map(len, batches.values()))
        yield done
    consumer.close()
    producer.close()


def _curator(settings: Settings, count: int) -> Iterator[int]:
    context, metrics = _context(settings)
    loop = CuratorLoop(context, metrics)
    return _stepped(loop, count, lambda: _total(metrics.reviews))


def _windower(settings: Settings, count: int) -> Iterator[int]:
    context, metrics = _context(settings)
    loop = labeled_windower(context, metrics)
    return _stepped(loop, count, lambda: _total(metrics.labeled.windowed))


def _context(settings: Settings) -> tuple[Context, IngestorMetrics]:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    return Context(settings, registry, metrics, Health(metrics), threading.Event()), IngestorMetrics(registry)


def _stepped(loop: Loop, count: int, total: Callable[[], int]) -> Iterator[int]:
    while total() < count:
        loop.step()
        if total():
            yield total()
    loop.close()


def _total(counter: Counter) -> int:
    return sum(
        int(each.value) for metric in counter.collect() for each in metric.samples if each.name.endswith("_total")
    )


def _show(report: dict[str, Any], profiles: dict[str, cProfile.Profile], target: Path | None) -> None:
    print(f"{'':<14}{'reviews/s':>12}{'of bare':>10}{'by CPU time':>14}{'of bare':>10}")
    for name in NAMES:
        wall, cpu = report["wall"], report["cpu"]
        print(f"{name:<14}{wall[name]:>12,.0f}{wall[name] / wall['bare']:>10.2f}", end="")
        print(f"{cpu[name]:>14,.0f}{cpu[name] / cpu['bare']:>10.2f}")
    for name, profiler in profiles.items():
        print(f"\n{name}: where the time goes (thread that judges; seconds)")
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(PROFILE_ROWS)
    print(json.dumps(report))
    if target:
        target.write_text(json.dumps(report, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of half the reviews")
    parser.add_argument("--words", type=int, default=WORDS, help="of a made review, on average")
    parser.add_argument("--file", type=Path, help="JSON lines with a field 'text', instead of made reviews")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
