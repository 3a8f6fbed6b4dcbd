"""One stack with the tiny model for all quick end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.mill import TINY, Mill, reviews, wait_for


@pytest.fixture(scope="session")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """A running stack that has promoted its first model."""
    started = Mill(tmp_path_factory.mktemp("mill"), TINY)
    started.command("up")
    try:
        assert started.publish(reviews(630, seed=1)) == 630
        with started.http() as client:
            wait_for(lambda: client.get("/readyz").status_code == 200, 240, "the first champion")
        yield started
    finally:
        started.command("down")


@pytest.fixture
def reviews_file(tmp_path: Path) -> Path:
    """A JSON-lines file with reviews under other column names."""
    path = tmp_path / "reviews.jsonl"
    lines = [f'{{"body": "{row["text"]}", "stars": "{row["label"]}"}}' for row in reviews(40, seed=2)]
    path.write_text("\n".join(lines))
    return path
