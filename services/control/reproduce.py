"""`tidemill reproduce VERSION`: has the retrainer's own code train a version again, and shows how it came out."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from services.control.output import cell
from shared.errors import ExitCode
from shared.settings import Settings

MODULE = "services.retrainer.reproduction"
Facts = Mapping[str, Any]


class FailedError(Exception):
    """The child said on standard error why it failed; this is its exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def reproduce(settings: Settings, version: str) -> Facts:
    """Trains the version again in a process of its own; returns that process's report.

    Raises:
        FailedError: It ended without one.
    """
    command = [sys.executable, "-P", "-m", MODULE, version, str(os.getpid())]
    child = subprocess.run(
        command, stdout=subprocess.PIPE, env=os.environ | variables(settings), text=True, check=False
    )
    if child.returncode != 0:
        raise FailedError(child.returncode if child.returncode > 0 else ExitCode.CRASHED)
    report: Facts = json.loads(child.stdout.splitlines()[-1])
    return report


def variables(settings: Settings) -> dict[str, str]:
    """What the command line and the local stack say beyond the file and the environment, which the child reads too."""
    found = {
        "TIDEMILL_HOME": str(settings.home),
        "TIDEMILL_STREAM__PREFIX": settings.stream.prefix,
        "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TIDEMILL_REGISTRY__TRACKING_URI": settings.registry.tracking_uri,
    }
    return {name: value for name, value in found.items() if value is not None}


def exit_code(report: Facts) -> ExitCode:
    """STOPPED (0) if the files are bit-identical, else DIFFERENT."""
    return ExitCode.STOPPED if report["identical"] else ExitCode.DIFFERENT


def picture(report: Facts) -> RenderableType:
    """The report for people: the result, then what differed."""
    parts: list[RenderableType] = [verdict(report)]
    if report["recovered_windows"]:
        names = ", ".join(report["recovered_windows"])
        parts.append(f"Snapshots gone, rows read again from reviews.curated and counted: {names}.")
    if report["differences"]:
        parts.append(_differences(report["differences"]))
    return Group(*parts)


def verdict(report: Facts) -> str:
    """One line: identical, or how far apart."""
    made = f"Version {report['version']}, trained again on {report['rows']:,} rows in {report['seconds']:.0f} s"
    if report["identical"]:
        return f"{made}: bit-identical, SHA-256 {report['digest_now'][:16]}…"
    likeness = report["likeness"]
    if likeness is None:
        return f"{made}: different files; answers not compared: {report['not_compared_because']}"
    if likeness["weights_identical"]:
        return f"{made}: identical weights; other files differ: {', '.join(likeness['differing_files'])}"
    return (
        f"{made}: different weights; over {likeness['rows']:,} texts the probabilities differ by at most "
        f"{likeness['largest_difference']:.2g}, {likeness['answers_changed']:,} answers changed"
    )


def _differences(differences: list[dict[str, str | None]]) -> Table:
    caption = "Another machine or other versions may compute other last digits; the same ones do not."
    table = Table(title="What was different", caption=caption, title_justify="left", caption_justify="left")
    for column in ("what", "then", "now"):
        table.add_column(column, overflow="fold")
    for difference in differences:
        table.add_row(*(cell(difference[column]) for column in ("what", "then", "now")))
    return table
