"""Labelled reviews that no model learns from, of the windows that a served model was made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.server.card import Card
from shared.archive import Archive
from shared.errors import SnapshotError
from shared.events import Side


@dataclass(frozen=True, slots=True)
class Holdout:
    """n texts and the column of each one's true label, (n,)."""

    texts: list[str]
    labels: NDArray[np.int64]


def read_holdout(archive: Archive, card: Card, most: int) -> Holdout:
    """The held-out rows of the model's newest windows, at most so many, the newest window's first.

    Raises:
        SnapshotError: The model's windows are not known, or a snapshot is missing or altered.
        ArchiveUnavailableError: The archive does not answer.
    """
    if (lineage := card.lineage()) is None:
        raise SnapshotError(f"version {card.version} does not say what windows it learned from")
    texts: list[str] = []
    labels: list[int] = []
    for window_id, sha256 in reversed(list(zip(lineage.window_ids, lineage.snapshot_sha256s, strict=True))):
        rows = [row for row in archive.read(archive.find(window_id, sha256)) if row.side is Side.HOLDOUT]
        texts += [row.text for row in rows]
        labels += [row.label for row in rows]
        if len(texts) >= most:
            break
    return Holdout(texts[:most], np.array(labels[:most], np.int64))
