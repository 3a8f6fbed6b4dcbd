"""How the commands ask the prediction server: with a key where it wants one, and knowing it by its certificate."""

import ssl
from pathlib import Path

import httpx

from shared.errors import ConfigurationError
from shared.key_files import read_keys
from shared.settings import ServerSettings


def server_client(url: str, settings: ServerSettings, timeout_seconds: float) -> httpx.Client:
    """A client of the server at this address, under the settings that the server has too.

    Raises:
        ConfigurationError: A file that the settings name cannot be used.
    """
    key = first_key(settings)
    headers = {"X-API-Key": key} if key else {}
    return httpx.Client(base_url=url, timeout=timeout_seconds, headers=headers, verify=_trust(settings.tls_trusted_ca))


def first_key(settings: ServerSettings) -> str | None:
    """A key that the server takes; an admin's only where clients have none, and None where nobody has one."""
    for given, file in (
        (settings.api_keys, settings.api_keys_file),
        (settings.admin_keys, settings.admin_keys_file),
    ):
        if keys := [key.get_secret_value() for key in given] or (read_keys(file) if file else ()):
            return keys[0]
    return None


def _trust(authority: Path | None) -> ssl.SSLContext | bool:
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ConfigurationError(f"server.tls_trusted_ca {authority} cannot be used: {error}") from error
