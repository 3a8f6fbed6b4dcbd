"""Settings are one typed tree: a typo is refused by name, and precedence is code, environment, file, default."""

from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.settings import CountTriggerSettings, Settings, load_settings


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def write_file(text: str) -> None:
    Path("tidemill.toml").write_text(text)


def test_defaults_stand_without_file_and_environment() -> None:
    assert load_settings().ingestor.split.holdout_share == 200


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_file("[training]\nepochs = 5\nseed = 3\n")
    monkeypatch.setenv("TIDEMILL_TRAINING__EPOCHS", "7")
    settings = load_settings()
    assert (settings.training.epochs, settings.training.seed) == (7, 3)


def test_lists_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_INGESTOR__WINDOW__TRIGGERS", '[{"kind": "count", "rows": 12}]')
    assert load_settings().ingestor.window.triggers == (CountTriggerSettings(rows=12),)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[training]\nepoch = 5\n", "training.epoch"),
        ("[trainning]\nepochs = 5\n", "trainning"),
        ("[ingestor.window]\nmin_rows = 0\n", "ingestor.window.min_rows"),
        ('[[ingestor.window.triggers]]\nkind = "moon"\n', "ingestor.window.triggers"),
        ('[stream.aliases]\ngut = "positiv"\n', "stream"),
    ],
)
def test_a_wrong_file_is_refused_naming_the_field(text: str, field: str) -> None:
    write_file(text)
    with pytest.raises(ConfigurationError, match=field):
        load_settings()


@pytest.mark.parametrize("variable", ["TIDEMILL_TRAINNING__EPOCHS", "TIDEMILL_TRAINING__EPOCH"])
def test_a_wrong_variable_is_refused_naming_it(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "5")
    with pytest.raises(ConfigurationError, match=r"(?i)" + variable.removeprefix("TIDEMILL_").replace("__", "(__|.)")):
        load_settings()


def test_a_rejected_value_is_not_quoted_as_it_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_KAFKA__SECURITY_PROTOCOL", "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_CONFIG", "nowhere.toml")
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_by_name() -> None:
    write_file("training = = 3")
    with pytest.raises(ConfigurationError, match=r"tidemill\.toml"):
        load_settings()


def test_an_address_that_is_not_set_says_how_to_set_it() -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_KAFKA__BOOTSTRAP_SERVERS"):
        load_settings().bootstrap_servers()


def test_streams_differ_in_their_prefix() -> None:
    settings = Settings.model_validate({"stream": {"prefix": "hotels"}})
    assert settings.stream.registered_model == "hotels.sentiment"
    assert settings.stream.identity("windower") == "hotels.windower"


def test_the_gate_cannot_be_configured_away() -> None:
    write_file('[[evaluator.gate.terms]]\nkind = "ahead"\n')
    with pytest.raises(ConfigurationError, match="cannot do without"):
        load_settings()


def test_a_plan_that_is_none_is_refused_and_a_good_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_SERVER__PLAN__USE", "torch-bf16-t2-b512")
    fixed = load_settings().server.plan.fixed
    assert fixed is not None
    assert fixed.id == "torch-bf16-t2-b512"
    monkeypatch.setenv("TIDEMILL_SERVER__PLAN__USE", "fast")
    with pytest.raises(ConfigurationError, match=r"server\.plan\.use: .*torch-bf16-t2-b1024"):
        load_settings()
