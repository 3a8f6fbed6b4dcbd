"""The model that every contestant serves: the bundled base, fine-tuned on film critics' snippets.

A model that has learned nothing is sure of nothing, and no other precision agrees with it; one in service has learned.
"""

import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.serve.widened import WIDENING, save_widened
from bench.training import Rows, ours, read_rows
from shared.archive import WindowRow
from shared.classifier.base import open_base
from shared.classifier.digest import model_digest
from shared.classifier.folders import build_once
from shared.classifier.precision import Precision, supports_bf16
from shared.events import Side
from shared.text import prepare
from shared.training_settings import TrainingSettings

# Enough to be sure of most texts, and less than two minutes of two cores.
TRAIN_ROWS, PASSES = 4_000, 2.0
# As many as the server compares answers on (server.plan.holdout_rows).
HELD_OUT_ROWS = 400
SEED = 1
PUBLISHED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def real_rows() -> Rows:
    """Snippets to learn and others that are never learned, all with the critics' own verdicts."""
    return read_rows(TRAIN_ROWS, HELD_OUT_ROWS, SEED)


def fine_tuned(rows: Rows, cache: Path) -> Path:
    """The model's files, trained at the first call and kept in the cache by all that they were made of."""
    base, training = open_base("bundled", cache), TrainingSettings(epochs=PASSES)
    return build_once(
        cache / "bench-models" / _key(base, rows, training),
        lambda target: _train(base, rows, training, target),
    )


def fine_tuned_wide(rows: Rows, cache: Path) -> Path:
    """The same model at DistilBERT-base's dimensions, with the same answers."""
    narrow = fine_tuned(rows, cache)
    return build_once(narrow.with_name(f"{narrow.name}-wide-{WIDENING}"), lambda target: save_widened(narrow, target))


def _train(base: Path, rows: Rows, training: TrainingSettings, target: Path) -> None:
    print(f"fine-tuning the bundled base on {len(rows.train)} snippets, once", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        ours(_precision())(base, Path(folder), rows, training).save(target)


def _precision() -> Precision:
    """Weights are fp32 in any case; where the processor has bf16, learning them takes half the time."""
    return "bf16" if supports_bf16("cpu") else "fp32"


def _key(base: Path, rows: Rows, training: TrainingSettings) -> str:
    parts = [
        model_digest(base),
        _precision(),
        training.model_dump_json(),
        *(row.model_dump_json() for row in rows.train),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def window_of(rows: Rows) -> list[WindowRow]:
    """The window that such a model comes from, as the ingestor would have kept it."""
    sides = [(Side.TRAIN, row) for row in rows.train] + [(Side.HOLDOUT, row) for row in rows.held_out]
    return [
        WindowRow(
            offset=offset,
            id=f"snippet-{row.offset}",
            text=prepare(row.text),
            label=row.label,
            side=side,
            source=None,
            created_at=None,
            prediction_id=None,
            origin_partition=0,
            origin_offset=row.offset,
            published_at=PUBLISHED_AT,
            signature=None,
        )
        for offset, (side, row) in enumerate(sides)
    ]
