"""A whole backtest with the real learner on a tiny base: from snapshots to table and picture."""

import json
from pathlib import Path

import pytest

from services.control.backtest.lesson import make_lesson
from services.control.backtest.policy import LearnerName, current_policy, read_policy
from services.control.backtest.recording import cut
from services.control.backtest.run import backtest, write
from services.control.backtest.store import Store
from services.control.backtest.transformer import TransformerLearner
from services.control.session import RefusedError
from shared.archive import Archive
from shared.events import ClosedWindow
from shared.settings import Settings, load_settings
from tests.unit.control.backtest.builders import recording, row

ROWS = [row(offset) for offset in range(240)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path / "home",
        cache=tmp_path / "cache",
        model={"base": "tiny", "threads": 1},
        training={"epochs": 1, "learning_rate": 5e-3, "precision": "fp32", "replay_share": 0},
        ingestor={"window": {"triggers": [{"kind": "count", "rows": 120}], "min_rows": 2}},
    )


@pytest.fixture
def windows(settings: Settings) -> list[ClosedWindow]:
    window = recording(ROWS).windows[0]
    return [window.model_copy(update={"snapshot": Archive(settings).write(window.window_id, ROWS)})]


@pytest.mark.slow
def test_two_policies_are_compared_with_table_and_picture(
    settings: Settings, windows: list[ClosedWindow], tmp_path: Path
) -> None:
    (tmp_path / "larger.toml").write_text('[ingestor.window]\ntriggers = [{kind = "count", rows = 240}]\n')
    policies = [current_policy(settings), read_policy(tmp_path / "larger.toml", settings)]
    results = backtest(settings, windows, policies, LearnerName.LINEAR)
    summaries, table, picture = write(results, tmp_path / "out")
    assert [(summary.policy, summary.trained) for summary in summaries] == [("current", 2), ("larger", 1)]
    assert [entry["summary"]["windows"] for entry in json.loads(table.read_text())] == [2, 1]
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_real_learner_trains_with_the_retrainers_job_and_goes_on_from_a_parent(
    settings: Settings, tmp_path: Path
) -> None:
    eras = cut(recording(ROWS), settings.ingestor.window)
    store = Store(tmp_path, TransformerLearner(settings))
    parent = store.trained(make_lesson(eras[0], (), frozenset(), settings.training), ())
    child = store.trained(make_lesson(eras[1], (), frozenset(), settings.training), [parent.key])
    texts = [row.text for row in ROWS[:10]]
    answers = [store.answers(model.key, texts) for model in (parent, child)]
    assert all(answer.sum(axis=1) == pytest.approx(1.0, abs=1e-5) for answer in answers)
    assert (answers[0] != answers[1]).any()


def test_without_windows_there_is_nothing_to_replay(settings: Settings) -> None:
    with pytest.raises(RefusedError, match="no window has been closed"):
        backtest(settings, [], [current_policy(settings)], LearnerName.LINEAR)


def test_two_policies_of_one_name_are_refused(settings: Settings, windows: list[ClosedWindow]) -> None:
    twice = [current_policy(settings)] * 2
    with pytest.raises(RefusedError, match="told apart by name"):
        backtest(settings, windows, twice, LearnerName.LINEAR)
