"""The sockets that a server listens on."""

import socket

from shared.errors import ConfigurationError


def listen_on(host: str, port: int, setting: str) -> socket.socket:
    """A bound TCP socket; 0 is any free port.

    Raises:
        ConfigurationError: The port cannot be opened; names the setting.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"{setting} {port} on {host} cannot be opened: {error}") from error
    return listener


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """Its address, for people on this machine."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
