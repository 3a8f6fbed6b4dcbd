"""Files of keys: one a line, empty lines and those that begin with # apart."""

from pathlib import Path

from shared.errors import ConfigurationError
from shared.settings import SHORTEST_KEY

COMMENT = "#"


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys in the order of the file.

    Raises:
        ConfigurationError: It cannot be read, or a key is too short; no key is quoted.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file of keys {path} cannot be read: {type(error).__name__}") from error
    for number, line in enumerate(lines, start=1):
        if _is_key(line) and len(line) < SHORTEST_KEY:
            raise ConfigurationError(f"{path}, line {number}: a key needs {SHORTEST_KEY} characters at least")
    return tuple(filter(_is_key, lines))


def _is_key(line: str) -> bool:
    return bool(line) and not line.startswith(COMMENT)
