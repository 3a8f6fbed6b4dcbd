"""Keys that open the server's doors: kept as digests, so that comparing them tells nothing about them."""

import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog
from pydantic import SecretStr

from shared.errors import ConfigurationError
from shared.key_files import read_keys

log = structlog.get_logger("keys")


class Keys:
    """The keys of one kind, from the settings and from a file."""

    def __init__(self, given: Sequence[SecretStr], file: Path | None) -> None:
        """Raises ConfigurationError if the file cannot be read, holds no key, or one that is too short."""
        self._given = digests(key.get_secret_value() for key in given)
        self._file = _KeyFile(file) if file is not None else None

    @property
    def configured(self) -> bool:
        """Whether there is a place that keys come from. A file emptied later lets nobody in, not everybody."""
        return bool(self._given) or self._file is not None

    def hold(self, key: bytes) -> bool:
        """Whether it is one of them. Every one is compared, in a time that does not depend on what it holds."""
        digest, found = hashlib.sha256(key).digest(), False
        for known in self._given:
            found |= hmac.compare_digest(known, digest)
        for known in self._file.current() if self._file is not None else ():
            found |= hmac.compare_digest(known, digest)
        return found


class _KeyFile:
    """Keys one a line, read again when the file changes; one that cannot be read then leaves the keys as they were."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, _signature(path)
        self._digests = digests(read_keys(path))
        if not self._digests:
            raise ConfigurationError(f"{path} holds no key; write one a line, or take it out of the settings")

    def current(self) -> tuple[bytes, ...]:
        if (signature := _signature(self._path)) != self._seen:
            self._seen = signature
            self._read_again()
        return self._digests

    def _read_again(self) -> None:
        try:
            self._digests = digests(read_keys(self._path))
        except ConfigurationError as error:
            log.error("keys_not_renewed", reason=str(error))
        else:
            log.info("keys_renewed", file=str(self._path), keys=len(self._digests))


def digests(keys: Iterable[str]) -> tuple[bytes, ...]:
    """SHA-256 of each."""
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Changes with the file, also where a link is turned to another; None: it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at every request, and half the price of Path.stat
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
