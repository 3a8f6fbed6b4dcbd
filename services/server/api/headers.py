"""Reading a request's headers where there is no request object yet."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first of that name, in small letters; None: there is none."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None
