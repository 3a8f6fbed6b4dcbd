"""Every process of one stack, found by a mark in its environment: children's children and orphans too."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

# Not `TIDEMILL_…`: those are settings, and an unknown one is refused.
STACK = "_TIDEMILL_STACK"
RUN = "_TIDEMILL_RUN"
PROCESS = "_TIDEMILL_PROCESS"
KILL_SECONDS = 5.0


def mark(home: Path, run: str, name: str) -> dict[str, str]:
    """The environment that marks a process as this one of the stack on this home, in this run of its supervisor."""
    return {STACK: str(home.resolve()), RUN: run, PROCESS: name}


def find(home: Path, run: str | None = None) -> list[psutil.Process]:
    """Running processes with this home's mark, of one run or of any, but not the caller."""
    wanted = {STACK: str(home.resolve())} | ({RUN: run} if run else {})
    return [item for item in psutil.process_iter() if item.pid != os.getpid() and _carries(item, wanted)]


def sweep(home: Path, seconds: float, run: str | None = None) -> list[str]:
    """Ends every marked process, by SIGTERM and after that time by SIGKILL; says which there were."""
    found = find(home, run)
    names = [f"{item.pid} {_command(item)}" for item in found]
    for item in found:
        _signal(item.terminate)
    psutil.wait_procs(found, timeout=seconds)
    # Asked again: one that was starting another escapes a list made before.
    while remaining := find(home, run):
        for item in remaining:
            _signal(item.kill)
        if psutil.wait_procs(remaining, timeout=KILL_SECONDS)[1]:
            break
    return names


def memory_mib(home: Path) -> dict[str, float]:
    """Resident memory of each process of the stack by its name, with all that it started, in MiB.

    Pages shared by several processes count in parts where the system tells (PSS), else fully in each (RSS).
    """
    totals: defaultdict[str, float] = defaultdict(float)
    for item in find(home):
        totals[_environment(item).get(PROCESS, "")] += resident_mib(item)
    return dict(sorted(totals.items()))


def resident_mib(item: psutil.Process) -> float:
    """One process's share of memory; 0 if it has just ended."""
    try:
        memory = item.memory_full_info()
        return float(getattr(memory, "pss", memory.rss)) / 2**20
    except psutil.Error:
        return 0.0


def _carries(item: psutil.Process, wanted: Mapping[str, str]) -> bool:
    environment = _environment(item)
    return all(environment.get(name) == value for name, value in wanted.items())


def _environment(item: psutil.Process) -> Mapping[str, str]:
    """Empty for processes of other users and those that have just ended."""
    try:
        return item.environ()
    except (psutil.Error, OSError):
        return {}


def _command(item: psutil.Process) -> str:
    try:
        return " ".join(item.cmdline())[:120]
    except psutil.Error:
        return ""


def _signal(send: Callable[[], None]) -> None:
    with suppress(psutil.Error):
        send()
