"""Log lines of a process, its libraries' too, as a machine reads them."""

import json
import subprocess
import sys

LINES = """
import logging
import structlog
from shared.logs import configure_logging
from shared.settings import ServiceSettings

configure_logging(ServiceSettings(log_format="json"), "server")
with structlog.contextvars.bound_contextvars(request_id="order-17"):
    structlog.get_logger("ours").info("told", count=2)
    logging.getLogger("theirs").warning("told too")
structlog.get_logger("ours").info("afterwards")
"""


def test_every_line_of_a_request_names_it_and_the_service() -> None:
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True)
    ours, theirs, afterwards = [json.loads(line) for line in done.stderr.splitlines()]
    assert (ours["event"], ours["count"], ours["request_id"]) == ("told", 2, "order-17")
    assert (theirs["event"], theirs["request_id"]) == ("told too", "order-17")
    assert "request_id" not in afterwards
    assert {line["service"] for line in (ours, theirs, afterwards)} == {"server"}
