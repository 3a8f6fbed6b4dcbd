"""A policy file changes what it names, and nothing that a policy has not."""

from pathlib import Path

import pytest

from services.control.backtest.policy import CURRENT, current_policy, read_policy
from services.control.session import RefusedError
from shared.settings import CountTriggerSettings, Settings
from shared.training_settings import TrainingSettings

SETTINGS = Settings(training=TrainingSettings(epochs=3, batch_rows=8))


def written(folder: Path, text: str) -> Path:
    file = folder / "bold.toml"
    file.write_text(text)
    return file


def test_the_current_policy_is_the_settings() -> None:
    policy = current_policy(SETTINGS)
    assert (policy.name, policy.training, policy.gate) == (CURRENT, SETTINGS.training, SETTINGS.evaluator.gate)


def test_a_file_changes_what_it_names_and_is_named_after_itself(tmp_path: Path) -> None:
    text = '[training]\nepochs = 1\n[ingestor.window]\ntriggers = [{kind = "count", rows = 200}]\n'
    policy = read_policy(written(tmp_path, text + "[evaluator.gate]\npool_rows = 500\n"), SETTINGS)
    assert policy.name == "bold"
    assert (policy.training.epochs, policy.training.batch_rows) == (1, 8)
    assert policy.window.triggers == (CountTriggerSettings(rows=200),)
    assert policy.gate.pool_rows == 500
    assert policy.gate.terms == SETTINGS.evaluator.gate.terms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training]\nepoch = 1\n", "epoch"),
        ("[training]\nepochs = -1\n", "epochs"),
        ("[ingestor]\ninstance = 'b'\n", "changes ingestor; a policy may change ingestor.window, training"),
        ("[server]\nport = 1\n", "changes server"),
        ("training = 3\n", "training is a section"),
        ("evaluator = 3\n", "evaluator.gate is a section"),
        ("[training\n", "cannot be read"),
    ],
)
def test_what_no_policy_has_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        read_policy(written(tmp_path, text), SETTINGS)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        read_policy(tmp_path / "none.toml", SETTINGS)
