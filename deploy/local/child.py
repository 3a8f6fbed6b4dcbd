"""One supervised process: started when its turn comes, watched, and started again when it dies."""

import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.local import probes, process
from deploy.local.endpoints import Phase, ProcessState
from deploy.local.specs import ProcessSpec

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
# A process that stood this long is healthy: its next death is a new story.
HEALTHY_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass
class Backoff:
    """How long to wait before the next start: 1 s, doubled with every death, 30 s at most."""

    deaths: int = 0

    def after_death(self, stood_seconds: float) -> float:
        """Counts a death of a process that stood that long, and says the seconds to wait."""
        self.deaths = 1 if stood_seconds >= HEALTHY_SECONDS else self.deaths + 1
        return float(min(FIRST_WAIT_SECONDS * 2 ** (self.deaths - 1), LONGEST_WAIT_SECONDS))


class Child:
    """Owns one process. `tick` takes its next step; nothing else changes it."""

    def __init__(self, spec: ProcessSpec, logs: Path, env: Mapping[str, str], say: Say) -> None:
        self.spec = spec
        self.state = ProcessState()
        self._log, self._env, self._say = logs / f"{spec.name}.log", {**spec.env, **env}, say
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff, self._started_at, self._retry_at = Backoff(), 0.0, 0.0

    def tick(self, now: float, up: Collection[str]) -> None:
        """Takes the next step, given the monotonic time and the names of what is ready."""
        match self.state.phase:
            case Phase.WAITING if set(self.spec.after) <= set(up):
                self._start(now)
            case Phase.BACKING_OFF if now >= self._retry_at:
                self._start(now)
            case Phase.STARTING | Phase.READY:
                self._watch(now)

    def terminate(self) -> None:
        """Asks it to end; it is not started again."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Waits until it has ended, by force after that time."""
        if self._process:
            try:
                self._process.wait(max(seconds, 0.0))
            except subprocess.TimeoutExpired:
                self._say(f"{self.spec.name} did not end in time and is killed")
                process.kill(self._process)
        self._process = None
        self.state = ProcessState(phase=Phase.STOPPED, restarts=self.state.restarts)

    def _start(self, now: float) -> None:
        try:
            self.spec.prepare()
            with self._log.open("ab") as log:
                log.write(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} start\n".encode())
                log.flush()
                self._process = process.spawn(self.spec.argv, log, self._env)
        except Exception as error:
            # A full disk or a broken program must not take the supervisor and its other children along.
            self._died(now, f"cannot start: {error}")
            return
        self._started_at = now
        self._become(Phase.STARTING, "started")

    def _watch(self, now: float) -> None:
        assert self._process is not None
        status = self._process.poll()
        if status is not None:
            self._ended(now, status)
        elif self.state.phase is Phase.STARTING and self.spec.ready_url:
            ready, why = probes.answers(self.spec.ready_url)
            self._become(Phase.READY if ready else Phase.STARTING, "" if ready else why)

    def _ended(self, now: float, status: int) -> None:
        if status == 0 and self.spec.ready_url is None:
            self._process = None
            self.state = ProcessState(phase=Phase.DONE, restarts=self.state.restarts)
        else:
            self._died(now, f"ended with {_status(status)}")

    def _died(self, now: float, why: str) -> None:
        wait = self._backoff.after_death(now - self._started_at)
        self._process, self._retry_at = None, now + wait
        detail = f"{why}; starts again in {wait:.0f} s; see {self._log}"
        self._say(f"{self.spec.name} {detail}")
        self.state = ProcessState(phase=Phase.BACKING_OFF, restarts=self.state.restarts + 1, detail=detail)

    def _become(self, phase: Phase, detail: str) -> None:
        if phase is Phase.READY:
            self._say(f"{self.spec.name} is ready")
        pid = self._process.pid if self._process else None
        self.state = ProcessState(phase=phase, pid=pid, restarts=self.state.restarts, detail=detail)


def _status(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
