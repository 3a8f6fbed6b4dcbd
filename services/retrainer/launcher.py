"""Runs the job in a process group of its own and watches it without waiting for it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO

from services.retrainer.progress import Entry, ProgressReader
from services.retrainer.runs import WorkFolder

LOG_LINES_IN_REASON = 5
LOG_BYTES_IN_REASON = 4096


@dataclass(frozen=True)
class JobEnd:
    """How a job ended; `reason` is None if it left a result."""

    reason: str | None


class Job:
    """One running job."""

    def __init__(self, run: WorkFolder, timeout_seconds: float) -> None:
        """Starts it. Call from a thread that lives as long as the job may: the kernel ends the job with it."""
        self._run, self._timeout = run, timeout_seconds
        self._progress = ProgressReader(run.progress_file)
        self._progress.news()
        with run.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = _start(run, log)
        self._began = time.monotonic()

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def progress(self) -> list[Entry]:
        """What the job reported since the last call."""
        return self._progress.news()

    def poll(self) -> JobEnd | None:
        """None while it runs; kills it once its time is up."""
        code = self._process.poll()
        if code is not None:
            return self._ended(code)
        if self.seconds > self._timeout:
            self.terminate()
            return JobEnd(f"killed: it ran longer than training.timeout_seconds, {self._timeout:.0f} s")
        return None

    def terminate(self) -> None:
        """Ends the whole group at once; what it had not checkpointed is lost, and nothing else."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ended(self, code: int) -> JobEnd:
        if code == 0 and self._run.is_finished():
            return JobEnd(None)
        return JobEnd(f"{_how(code)}: {self._last_lines() or 'it wrote nothing'}")

    def _last_lines(self) -> str:
        with self._run.log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - LOG_BYTES_IN_REASON))
            text = log.read().decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(lines[-LOG_LINES_IN_REASON:])


def _start(run: WorkFolder, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # Safe path: a folder `shared` where somebody happens to stand must not stand in for ours.
        [sys.executable, "-P", "-m", run.JOB, str(run.path), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
