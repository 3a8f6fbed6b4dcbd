"""Who asks: only to keep a caller on one side of a canary, never to let anybody in."""

import hashlib

from fastapi import Request

CANARY_KEY_HEADER = "X-Canary-Key"
CREDENTIAL_HEADERS = ("X-API-Key", "Authorization")


def caller_of(request: Request) -> str | None:
    """A word for the caller: what it says in `X-Canary-Key`, else its credentials, else its address.

    Credentials are hashed, so that none is kept beyond the door. None: nothing is known, as on a Unix socket.
    """
    if said := request.headers.get(CANARY_KEY_HEADER):
        return said
    for header in CREDENTIAL_HEADERS:
        if credential := request.headers.get(header):
            return f"credential:{hashlib.sha256(credential.encode()).hexdigest()}"
    return f"address:{request.client.host}" if request.client else None
