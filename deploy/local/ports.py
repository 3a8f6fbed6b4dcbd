"""Free ports of this machine, the same ones again where that is possible."""

import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

HOST = "127.0.0.1"


def choose(names: Iterable[str], wanted: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the wanted one unless somebody else has it, then any.

    All are held until the last is chosen, so that no two are the same.
    """
    with ExitStack() as held:
        return {name: _bind(held, wanted.get(name, 0)) for name in names}


def is_open(port: int, seconds: float = 0.2) -> bool:
    """Whether somebody on this machine accepts connections there."""
    try:
        socket.create_connection((HOST, port), seconds).close()
    except OSError:
        return False
    return True


def _bind(held: ExitStack, wanted: int) -> int:
    try:
        return _listen_nowhere(held, wanted)
    except OSError:
        return _listen_nowhere(held, 0)


def _listen_nowhere(held: ExitStack, port: int) -> int:
    sock = held.enter_context(socket.socket())
    # As servers do, so that a port whose last connections are still in TIME_WAIT counts as free.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, port))
    return int(sock.getsockname()[1])
