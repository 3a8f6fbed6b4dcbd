"""Whether a process can be used yet."""

import http.client
import ssl
from urllib.parse import urlsplit

from deploy.local import ports

PROBE_SECONDS = 0.5


def answers(url: str) -> tuple[bool, str]:
    """(ready, why not) for a `tcp://`, `http://` or `https://` address, within half a second.

    Whose certificate it is does not matter: it is asked whether the process that was just started answers.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or ports.HOST, parts.port or 0
    if parts.scheme == "tcp":
        return (True, "") if ports.is_open(port) else (False, f"port {port} is closed")
    connection = _connection(parts.scheme, host, port)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status == http.client.OK, response.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"port {port}: {error}"
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=PROBE_SECONDS, context=context)
