"""What is wrong with certificate and key is said at the start, with the file's name."""

from pathlib import Path
from typing import Any

import pytest

from services.server.tls import tls_options
from shared.errors import ConfigurationError
from shared.settings import load_settings
from tests.certificates import self_signed

PASSWORD = "hunter2 of the key"


def options(**server: Any) -> dict[str, Any]:
    return tls_options(load_settings(server=server).server)


def refusal(**server: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        options(**server)
    return str(caught.value)


def test_without_a_certificate_it_speaks_http() -> None:
    assert options() == {}
    assert load_settings().server.scheme == "http"


def test_a_pair_is_taken(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    taken = options(tls_certificate=pair.certificate, tls_key=pair.key)
    assert (taken["ssl_certfile"], taken["ssl_keyfile"]) == (pair.certificate, pair.key)
    assert load_settings(server={"tls_certificate": pair.certificate, "tls_key": pair.key}).server.scheme == "https"


@pytest.mark.parametrize("setting", ["tls_certificate", "tls_key"])
def test_one_without_the_other_is_refused(setting: str) -> None:
    assert "tls_certificate and tls_key belong together" in refusal(**{setting: "some.pem"})


def test_an_authority_for_clients_needs_a_certificate() -> None:
    assert "tls_client_ca asks clients" in refusal(tls_client_ca="some.pem")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    pair, missing = self_signed(tmp_path), tmp_path / "missing.pem"
    files: dict[str, Path] = {
        "tls_certificate": pair.certificate,
        "tls_key": pair.key,
        "tls_client_ca": pair.certificate,
    }
    for setting in files:
        assert f"server.{setting} {missing} cannot be read" in refusal(**files | {setting: missing})


def test_a_file_that_is_no_pem_is_named(tmp_path: Path) -> None:
    pair, other = self_signed(tmp_path), tmp_path / "other.pem"
    other.write_text("no certificate")
    files: dict[str, Path] = {
        "tls_certificate": pair.certificate,
        "tls_key": pair.key,
        "tls_client_ca": pair.certificate,
    }
    for setting in files:
        assert str(other) in refusal(**files | {setting: other})


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    pair, other = self_signed(tmp_path), self_signed(tmp_path, "other")
    assert "not that of the certificate" in refusal(tls_certificate=pair.certificate, tls_key=other.key)


def test_an_encrypted_key_takes_its_password(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, password=PASSWORD)
    files = {"tls_certificate": pair.certificate, "tls_key": pair.key}
    assert options(**files, tls_key_password=PASSWORD)["ssl_keyfile_password"] == PASSWORD
    for wrong in ({}, {"tls_key_password": "another"}):
        said = refusal(**files, **wrong)
        assert "server.tls_key_password" in said
        assert "another" not in said
