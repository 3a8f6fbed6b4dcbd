"""Brings the wanted challenger beside the champion, and lets it go: one place, one owner, in the follower's thread.

Whatever fails here, the champion answers on; a promotion that comes meanwhile goes first.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import structlog

from services.server.attempts import Attempt
from services.server.champion import Champion
from services.server.shelf import Shelf
from services.server.slots import Challenger, Slot
from services.server.status import Status, version_number
from services.server.swapper import Switches
from services.server.tally import Tally
from shared.canary import Canary
from shared.events import CanaryCounts, CanaryState, ServerPhase, utc_now
from shared.metrics import CanaryMetrics
from shared.retry import Stopped
from shared.settings import ServerSettings

log = structlog.get_logger("canary")


class OvertakenError(Exception):
    """Something else is wanted by now; what was half done is given up."""


class Stands(Switches, Protocol):
    """Where models stand while they serve, the second place included."""

    def place_beside(self, challenger: Challenger | None) -> Slot | None:
        """Puts a challenger beside the champion, or nobody; returns the slot that is left."""


class Prepares(Protocol):
    """What makes a version ready to answer."""

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else makes models; afterwards whoever does looks again at what stands where."""

    def prepare_challenger(self, version: str, report: Callable[[ServerPhase, str], None]) -> Slot:
        """Loaded, verified, proven and warm."""


class CanarySwapper:
    """Follows whom to have beside the champion."""

    def __init__(
        self,
        settings: ServerSettings,
        swapper: Prepares,
        shelf: Shelf,
        stage: Stands,
        status: Status,
        metrics: CanaryMetrics,
        publish: Callable[[CanaryCounts], None],
    ) -> None:
        self._settings, self._replica = settings.canary, settings.replica_id
        self._swapper, self._shelf, self._stage, self._status = swapper, shelf, stage, status
        self._metrics, self._publish = metrics, publish
        self._attempt = Attempt()
        self._wanted: Canary | None = None
        self._champion: str | None = None  # beside whom whoever stands there, or leaves, was counted
        self._leaving: Challenger | None = None
        self._promoted: Challenger | None = None
        self._reported = time.monotonic()

    def make_way(self, champion: Champion) -> None:
        """Before a champion is taken over: nobody is sent to the challenger any more, unless it is the champion itself.

        Its last requests may go on meanwhile: a promotion does not wait for them.
        """
        present = self._stage.challenger
        if present is not None and champion.is_the(present.slot.card):
            self._promoted = present
        elif present is not None:
            self._leave(present)

    def close(self) -> None:
        """At the end of the process: what was counted is not lost."""
        self._settle_promoted()
        for challenger in (self._stage.challenger, self._leaving):
            if challenger is not None:
                self._report(challenger)

    def follow(
        self, wanted: Canary | None, is_still_wanted: Callable[[], bool], ended: Callable[[Canary], str]
    ) -> None:
        """Has this challenger there, with this share, or nobody.

        Args:
            is_still_wanted: Asked between the steps of loading it.
            ended: Why one of before is not wanted any more.
        """
        self._settle_promoted()
        self._drain()
        if wanted != self._wanted:
            self._change(wanted, ended)
        present = self._stage.challenger
        if wanted is None:
            self._end(present)
        elif present is not None and present.canary.version == wanted.version:
            self._go_on(present, wanted)
        elif self._attempt.due(wanted):
            self._bring(wanted, is_still_wanted)

    def _change(self, wanted: Canary | None, ended: Callable[[Canary], str]) -> None:
        if self._wanted is not None and (wanted is None or wanted.version != self._wanted.version):
            log.info("canary_ended", version=self._wanted.version, reason=ended(self._wanted))
        if wanted is not None:
            about = {"version": wanted.version, "role": wanted.role.value, "share": wanted.share}
            log.info("canary_wanted", by=wanted.by, why=wanted.why, **about)
        self._wanted = wanted

    def _settle_promoted(self) -> None:
        """The counts of a challenger that is one no more; one that could not be taken over stands there still."""
        if self._promoted is not None and self._stage.challenger is None:
            self._report(self._promoted)
        self._promoted = None

    def _end(self, present: Challenger | None) -> None:
        if present is not None:
            self._let_go(present)
        if self._status.now.canary is not None:
            self._show(None)
            self._status.beside(None)

    def _go_on(self, present: Challenger, wanted: Canary) -> None:
        if present.canary.role is not wanted.role:
            self._report(present)
            present = replace(present, tally=Tally())
        if present.canary != wanted:
            present = replace(present, canary=wanted)
            self._stand(present)
        if trouble := present.tally.counts.trouble(self._settings):
            self._switch_off(present, trouble)
        elif time.monotonic() - self._reported >= self._settings.report_seconds:
            self._report(present)

    def _switch_off(self, present: Challenger, trouble: str) -> None:
        log.error("canary_switched_off", version=present.canary.version, reason=trouble)
        self._metrics.switched_off.inc()
        self._let_go(present)
        self._attempt.give_up(present.canary)
        self._status.beside(_state(present.canary, ServerPhase.FAILED, f"switched off here: {trouble}"))

    def _bring(self, wanted: Canary, is_still_wanted: Callable[[], bool]) -> None:
        if (present := self._stage.challenger) is not None:
            self._let_go(present)

        def report(phase: ServerPhase, version: str) -> None:
            if not is_still_wanted():
                raise OvertakenError
            self._status.beside(_state(wanted, phase))

        try:
            with self._swapper.alone():
                slot = self._swapper.prepare_challenger(wanted.version, report)
                self._champion = serving.version if (serving := self._status.now.serving) is not None else None
                self._stand(Challenger(wanted, slot, Tally()))
        except OvertakenError:
            log.info("canary_overtaken", version=wanted.version)
        except Stopped:
            raise
        except Exception as error:
            # Whatever a damaged model or a full disk raises, the champion answers on.
            self._attempt.failed(wanted, error)
            log.error("canary_failed", version=wanted.version, error=f"{type(error).__name__}: {error}")
            self._status.beside(_state(wanted, ServerPhase.FAILED, str(error)))
        else:
            self._attempt = Attempt()

    def _stand(self, challenger: Challenger) -> None:
        canary = challenger.canary
        self._stage.place_beside(challenger)
        self._show(canary)
        self._status.beside(_state(canary, ServerPhase.SERVING))

    def _let_go(self, challenger: Challenger) -> None:
        with self._swapper.alone():
            self._leave(challenger)
            self._drain()

    def _leave(self, challenger: Challenger) -> None:
        self._stage.place_beside(None)
        self._leaving = challenger
        self._show(None)
        self._shelf.keep_beside(None)

    def _drain(self) -> None:
        """Its last requests count too."""
        if self._leaving is not None:
            self._stage.drain(self._leaving.slot)
            self._report(self._leaving)
            self._leaving = None

    def _show(self, canary: Canary | None) -> None:
        self._metrics.share.clear()
        if canary is None:
            self._metrics.version.set(0)
            return
        self._metrics.version.set(version_number(canary.version))
        self._metrics.share.labels(canary.role.value).set(canary.share)

    def _report(self, challenger: Challenger) -> None:
        if self._champion is not None and (counts := challenger.tally.counts).asked:
            self._reported = time.monotonic()
            self._publish(
                CanaryCounts(
                    version=challenger.canary.version,
                    champion=self._champion,
                    role=challenger.canary.role,
                    replica_id=self._replica,
                    session_id=challenger.tally.session_id,
                    asked=counts.asked,
                    answers=counts.answers,
                    failures=counts.failures,
                    compared=counts.compared,
                    disagreements=counts.disagreements,
                    score_difference=counts.score_difference,
                    timed=counts.timed,
                    seconds=counts.seconds,
                    champion_seconds=counts.champion_seconds,
                    at=utc_now(),
                )
            )


def _state(canary: Canary, phase: ServerPhase, reason: str | None = None) -> CanaryState:
    return CanaryState(version=canary.version, role=canary.role, share=canary.share, phase=phase, reason=reason)
