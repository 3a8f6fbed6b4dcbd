"""One window of real reviews on the bundled weights: the first model beats the lexicon and is promoted on evidence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.control.demo.story import load_story
from tests.e2e.mill import Mill, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = {
    "TIDEMILL_INGESTOR__SPLIT__HOLDOUT_SHARE": "450",
    "TIDEMILL_INGESTOR__WINDOW__TRIGGERS": '[{"kind": "count", "rows": 800}]',
}
ASKED = 200


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[Mill]:
    started = Mill(tmp_path / "home", SETTINGS)
    started.command("up")
    yield started
    started.command("down")


def test_a_model_learned_from_real_reviews_is_judged_on_evidence(mill: Mill) -> None:
    """The gate may promote or ask for more rows, never reject; if it promotes, the answers are better than chance."""
    story = load_story()
    chapter = story.chapters[0]
    rows = [{"text": review.text, "label": review.label} for review in (*chapter.rows, *chapter.reserve)]
    assert mill.publish(rows) == len(rows)
    ledger = wait_for(lambda: mill.json("decisions"), 600, "the decision on the first window")
    assert ledger[0]["verdict"] in ("promote", "undecided"), ledger[0]["reasons"]
    assert mill.json("audit")["ok"]
    if ledger[0]["verdict"] == "undecided":
        assert ledger[0]["need_rows"] is None or ledger[0]["need_rows"] > 0
        return
    asked = story.movies[:ASKED]
    with mill.http() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, 60, "the champion to serve")
        body = client.post("/v1/predict", json={"texts": [review.text for review in asked]}).json()
    right = sum(f["label"] == r.label for f, r in zip(body["predictions"], asked, strict=True))
    assert right / ASKED > 0.6
