"""Free ports of this machine, the same ones again where that is possible."""

import random
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

HOST = "127.0.0.1"
# Below the range that systems give to outgoing connections: one of those could take the port before its owner binds it.
LOWEST, HIGHEST = 20_000, 32_000
DRAWS = 200


def choose(names: Iterable[str], wanted: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the wanted one unless somebody else has it, then any.

    All are held until the last is chosen, so that no two are the same.

    Raises:
        OSError: No port was free.
    """
    with ExitStack() as held:
        return {name: _reserve(held, wanted.get(name)) for name in names}


def is_open(port: int, seconds: float = 0.2) -> bool:
    """Whether somebody on this machine accepts connections there."""
    try:
        socket.create_connection((HOST, port), seconds).close()
    except OSError:
        return False
    return True


def _reserve(held: ExitStack, wanted: int | None) -> int:
    drawn = (random.randrange(LOWEST, HIGHEST) for _ in range(DRAWS))
    for port in (wanted, *drawn) if wanted else drawn:
        if _bind(held, port):
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST} in {DRAWS} draws")


def _bind(held: ExitStack, port: int) -> bool:
    sock = held.enter_context(socket.socket())
    # As servers do, so that a port whose last connections are still in TIME_WAIT counts as free.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError:
        return False
    return True
