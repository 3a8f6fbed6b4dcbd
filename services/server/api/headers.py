"""Reading a request's headers where there is no request object yet."""

from starlette.types import Scope

# No body has a size of more; and `int` raises for thousands of them.
MOST_DIGITS = 18


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first of that name, in small letters; None: there is none."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


def size_of(said: str) -> int | None:
    """The number of bytes that a header's value says; None: it says no such number."""
    return int(said) if said.isascii() and said.isdigit() and len(said) <= MOST_DIGITS else None
