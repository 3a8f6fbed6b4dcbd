"""TLS by setting: checked before the server listens, so that a wrong file is an error of the start, not of a client."""

import ssl
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError
from shared.settings import ServerSettings


def tls_options(settings: ServerSettings) -> dict[str, Any]:
    """What uvicorn is told; nothing without a certificate.

    Raises:
        ConfigurationError: Naming the file that is missing, unreadable or no PEM, or that does not fit the other.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return {}
    password = settings.tls_key_password.get_secret_value() if settings.tls_key_password else ""
    for name, path in (("tls_certificate", certificate), ("tls_key", key), ("tls_client_ca", settings.tls_client_ca)):
        if path is not None:
            _readable(f"server.{name}", path)
    _check_pair(certificate, key, password)
    options = {"ssl_certfile": certificate, "ssl_keyfile": key, "ssl_keyfile_password": password or None}
    return options | _client_options(settings.tls_client_ca)


def _client_options(authority: Path | None) -> dict[str, Any]:
    if authority is None:
        return {}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(authority)
    except ssl.SSLError as error:
        raise ConfigurationError(f"server.tls_client_ca {authority} holds no certificate in PEM: {error}") from error
    return {"ssl_ca_certs": str(authority), "ssl_cert_reqs": ssl.CERT_REQUIRED}


def _readable(setting: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"{setting} {path} cannot be read: {error.strerror}") from error


def _check_pair(certificate: Path, key: Path, password: str) -> None:
    """A password is given in any case: without one OpenSSL would ask for it on the terminal."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: password)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"server.tls_certificate {certificate} and server.tls_key {key} cannot be used: {_reason(error)}"
        ) from error


def _reason(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return f"{error.reason or error}; both must be PEM, and an encrypted key needs server.tls_key_password"
