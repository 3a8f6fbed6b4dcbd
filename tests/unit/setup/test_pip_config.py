from pathlib import Path

import pytest

from deploy.setup import pip_config

LISTING = """\
:env:.find-links='/opt/wheels file:///more'
global.cert='/etc/ca.pem'
global.index-url='http://mirror.example/a'
install.index-url='http://mirror.example/b'
freeze.timeout='10'
"""


@pytest.fixture(autouse=True)
def no_uv_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in pip_config.UV_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


def test_the_narrower_scope_wins_and_other_commands_do_not_count() -> None:
    options = pip_config.parse(LISTING)
    assert options["index-url"] == "http://mirror.example/b"
    assert "timeout" not in options


def test_uv_gets_the_indexes_folders_and_certificate_of_pip() -> None:
    assert pip_config.uv_environment(pip_config.parse(LISTING)) == {
        "UV_DEFAULT_INDEX": "http://mirror.example/b",
        "UV_FIND_LINKS": "/opt/wheels,file:///more",
        "SSL_CERT_FILE": "/etc/ca.pem",
    }


def test_what_uv_was_told_itself_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://own.example")
    assert "UV_DEFAULT_INDEX" not in pip_config.uv_environment(pip_config.parse(LISTING))


def test_link_folders_are_the_local_ones_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", f"{other},http://links.example")
    options = {"find-links": f"{tmp_path.as_uri()} {tmp_path / 'absent'}"}
    assert pip_config.link_folders(options) == [tmp_path, other]
