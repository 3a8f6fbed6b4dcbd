"""Keys from settings and files; what is wrong with them is said without quoting one."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from services.server.keys import Keys
from shared.errors import ConfigurationError
from shared.settings import load_settings

FIRST, SECOND, THIRD = ("first-key-first-key", "second-key-second-key", "third-key-third-key")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_keys_of_settings_and_file_are_held_and_no_others(tmp_path: Path) -> None:
    keys = Keys([SecretStr(FIRST)], write(tmp_path / "keys", "# of the shop", "", SECOND))
    assert keys.configured
    assert [keys.hold(key.encode()) for key in (FIRST, SECOND, THIRD, "", "# of the shop")] == [True, True] + [
        False
    ] * 3


def test_without_any_place_for_keys_nobody_is_asked() -> None:
    assert not Keys([], None).configured


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "keys", FIRST)
    keys = Keys([], path)
    write(path, SECOND, THIRD)
    assert [keys.hold(key.encode()) for key in (FIRST, SECOND, THIRD)] == [False, True, True]


def test_a_link_turned_to_another_file_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    old, new, link = write(tmp_path / "old", FIRST), write(tmp_path / "new", FIRST[::-1]), tmp_path / "keys"
    os.utime(old, (1, 1))
    os.utime(new, (1, 1))
    link.symlink_to(old)
    keys = Keys([], link)
    link.unlink()
    link.symlink_to(new)
    assert [keys.hold(FIRST.encode()), keys.hold(FIRST[::-1].encode())] == [False, True]


def test_a_file_emptied_later_lets_nobody_in(tmp_path: Path) -> None:
    path = write(tmp_path / "keys", FIRST)
    keys = Keys([], path)
    path.write_text("")
    assert keys.configured
    assert not keys.hold(FIRST.encode())


def test_a_file_that_becomes_unreadable_leaves_the_keys_as_they_were_and_is_complained_of_once(tmp_path: Path) -> None:
    path = write(tmp_path / "keys", FIRST)
    keys = Keys([], path)
    with capture_logs() as logs:
        write(path, SECOND, "short")
        assert [keys.hold(key.encode()) for key in (FIRST, SECOND, FIRST)] == [True, False, True]
        path.unlink()
        assert [keys.hold(FIRST.encode()) for _ in range(3)] == [True] * 3
    assert [entry["event"] for entry in logs] == ["keys_not_renewed"] * 2
    assert "short" not in logs[0]["reason"].replace("too short", "")
    write(path, THIRD)
    assert [keys.hold(key.encode()) for key in (FIRST, THIRD)] == [False, True]


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), ("hunter2\n", "line 1"), ("# nothing\n", "holds no key")]
)
def test_a_file_that_is_of_no_use_at_the_start_is_refused_by_name(
    tmp_path: Path, content: str | None, says: str
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=says) as caught:
        Keys([], path)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["hunter2", '["hunter2"]', '"hunter2"'])
def test_keys_that_cannot_be_used_are_refused_without_being_quoted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TIDEMILL_SERVER__API_KEYS", value)
    with pytest.raises(ConfigurationError, match="server") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_no_key_shows_where_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_SERVER__API_KEYS", f'["{FIRST}"]')
    monkeypatch.setenv("TIDEMILL_SERVER__ADMIN_KEYS", f'["{SECOND}"]')
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert FIRST not in shown
        assert SECOND not in shown
