"""Whether a process can be used yet."""

import http.client
from urllib.parse import urlsplit

from deploy.local import ports

PROBE_SECONDS = 0.5


def answers(url: str) -> tuple[bool, str]:
    """(ready, why not) for a `tcp://` or `http://` address, within half a second."""
    parts = urlsplit(url)
    host, port = parts.hostname or ports.HOST, parts.port or 0
    if parts.scheme == "tcp":
        return (True, "") if ports.is_open(port) else (False, f"port {port} is closed")
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status == http.client.OK, response.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"port {port}: {error}"
    finally:
        connection.close()
