"""On which side of a canary a caller is: the same one as long as the canary lasts."""

import hashlib

PLACES = 10_000


def place_of(version: str, caller: str) -> int:
    """Where a caller stands for a version, 0 to 9,999, evenly spread; for another version somewhere else."""
    digest = hashlib.sha256(f"{version}\0{caller}".encode()).digest()
    return int.from_bytes(digest[:8]) % PLACES


def is_in_share(version: str, caller: str, share: float) -> bool:
    """Whether the version answers this caller. A larger share only adds callers.

    Args: share: of all callers, to the nearest ten-thousandth.
    """
    return place_of(version, caller) < round(share * PLACES)
