"""Follows the decisions, and the registry's alias where they cannot be read, and has every new champion taken over."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from services.server.attempts import Attempt
from services.server.canary_swapper import CanarySwapper
from services.server.champion import Champion, wanted
from services.server.status import NO_MODEL, Status
from services.server.swapper import Swapper
from shared.canary import Canary
from shared.errors import TidemillError
from shared.events import ServerPhase
from shared.metrics import ServerMetrics, ServiceMetrics, SwapOutcome
from shared.retry import Stopped
from shared.settings import Settings

log = structlog.get_logger("follower")


class Ledger(Protocol):
    """The champion by the decisions, and who should answer beside it."""

    @property
    def champion(self) -> Champion | None:
        """After the entries read so far."""

    @property
    def canary(self) -> Canary | None:
        """After the entries and orders read so far."""

    def ended(self, canary: Canary) -> str:
        """Why this one should not answer any more."""

    @property
    def connected(self) -> bool:
        """Whether it has ever been read."""

    def poll(self, seconds: float) -> None:
        """Takes what is new."""

    def catch_up(self) -> None:
        """Reads to the end; raises BrokerUnavailableError if nobody answers."""

    def close(self) -> None:
        """Lets go of the connection."""


class Follower(threading.Thread):
    """One thread that never gives up: what cannot be reached is asked again, and the model in service answers on."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        alias: Callable[[], str | None],
        swapper: Swapper,
        canaries: CanarySwapper,
        status: Status,
        metrics: ServerMetrics,
        service_metrics: ServiceMetrics,
        stopping: threading.Event,
        look: threading.Event,
    ) -> None:
        """`look`, once set, has both sources asked at once, and a champion that failed tried again."""
        super().__init__(name="follower", daemon=True)
        self._poll_seconds = settings.kafka.poll_seconds
        self._check_seconds = settings.server.check_alias_seconds
        self._ledger, self._ask_alias, self._status = ledger, alias, status
        self._swapper, self._canaries = swapper, canaries
        self._metrics, self._service_metrics, self._stopping = metrics, service_metrics, stopping
        self._look = look
        self._alias: str | None = None
        self._kafka_trouble: str | None = "not asked yet"
        self._registry_trouble: str | None = None
        self._next_check = 0.0
        self._attempt = Attempt()

    def run(self) -> None:
        """Serves what served here last, then steps until told to stop."""
        self._begin()
        while not self._stopping.is_set():
            try:
                self.step()
            except Stopped:
                break
            except Exception:
                # This thread must not die: the server would answer on for ever with an old model.
                log.exception("step_failed")
                self._stopping.wait(self._poll_seconds)
        self._canaries.close()
        self._ledger.close()

    def _begin(self) -> None:
        """A proven model at once is better than the right one later: who is gone now may stay away for long."""
        try:
            if not self._swapper.take_last():
                self._status.enter(ServerPhase.WAITING, reason=NO_MODEL)
        except Exception:
            log.exception("kept_model_unusable")

    def step(self) -> None:
        """Looks once at what should serve, and acts on it."""
        if self._look.is_set():
            self._look.clear()
            self._attempt, self._next_check = Attempt(), 0.0
        if time.monotonic() >= self._next_check:
            self._check()
            self._next_check = time.monotonic() + self._check_seconds
        else:
            self._listen()
        self._act(self._champion())
        self._stand_beside()

    def _champion(self) -> Champion | None:
        return wanted(self._ledger.champion, self._kafka_trouble is None, self._alias)

    def _check(self) -> None:
        """Asks both sources outright: a Kafka that is gone looks like one that has nothing new."""
        self._kafka_trouble = self._trouble(self._ledger.catch_up)
        self._registry_trouble = self._trouble(self._read_alias)
        self._status.reaches(self._kafka_trouble, self._registry_trouble)
        self._status.announce()

    def _listen(self) -> None:
        if not self._ledger.connected or self._kafka_trouble is not None:
            self._stopping.wait(self._poll_seconds)
        elif trouble := self._trouble(lambda: self._ledger.poll(self._poll_seconds)):
            self._kafka_trouble = trouble
            self._status.reaches(self._kafka_trouble, self._registry_trouble)

    def _read_alias(self) -> None:
        self._alias = None
        self._alias = self._ask_alias()

    def _trouble(self, call: Callable[[], None]) -> str | None:
        """Why the call failed; None if it did not. Refusals are waited out too: rights can be granted later."""
        try:
            call()
        except TidemillError as error:
            self._service_metrics.retries.inc()
            return str(error)
        return None

    def _act(self, champion: Champion | None) -> None:
        if champion is None or self._serves(champion):
            self._settle()
        elif self._attempt.due(champion):
            self._swap(champion)

    def _settle(self) -> None:
        """What serves is what should; a failure with another version is history."""
        self._attempt = Attempt()
        if self._status.now.phase is ServerPhase.FAILED and self._status.now.serving is not None:
            self._status.enter(ServerPhase.SERVING)

    def _swap(self, champion: Champion) -> None:
        try:
            self._canaries.make_way(champion)
            self._swapper.take_over(champion)
        except Stopped:
            raise
        except Exception as error:
            # Whatever a damaged model or a full disk raises, the old model goes on; only the kind decides on a retry.
            self._attempt.failed(champion, error)
            self._metrics.swaps.labels(SwapOutcome.FAILED.value).inc()
            log.error("swap_failed", version=champion.version, error=f"{type(error).__name__}: {error}")
            self._status.enter(ServerPhase.FAILED, champion.version, str(error))
        else:
            self._attempt = Attempt()

    def _serves(self, champion: Champion) -> bool:
        serving = self._status.now.serving
        return serving is not None and champion.is_the(serving)

    # The challenger

    def _stand_beside(self) -> None:
        """After the champion: whoever is beside it was ordered beside that one."""
        canary = self._canary()
        self._canaries.follow(canary, lambda: self._is_still_wanted(canary), self._ledger.ended)

    def _canary(self) -> Canary | None:
        champion = self._champion()
        if champion is None or champion != self._ledger.champion or not self._serves(champion):
            return None
        return self._ledger.canary

    def _is_still_wanted(self, canary: Canary | None) -> bool:
        """Looks for news first: a promotion must not wait until a challenger is loaded."""
        if self._kafka_trouble is None:
            self._kafka_trouble = self._trouble(lambda: self._ledger.poll(0.0))
        return self._canary() == canary
