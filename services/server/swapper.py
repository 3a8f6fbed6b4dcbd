"""Takes a new champion over: download, verify, load, ask, warm, switch, drain. Whatever fails, the old one answers on.

A challenger goes the same way up to the switch; the one that is promoted has gone it already.
Runs in the follower's thread, beside the event loop; the switch is the only moment that the loop notices.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

import structlog

from services.server.card import Card
from services.server.champion import Champion
from services.server.shelf import Shelf
from services.server.slots import Challenger, ServedModel, Slot
from services.server.status import Status
from shared.canary import objection_to_tags
from shared.classifier.capability import token_budget
from shared.classifier.digest import verify
from shared.classifier.probe import KNOWN_QUESTIONS, prove
from shared.errors import ModelError
from shared.events import ServerPhase, utc_now
from shared.metrics import ServerMetrics, SwapOutcome
from shared.registry import ModelVersion
from shared.settings import Settings

log = structlog.get_logger("swapper")
DIGEST_TAG = "tidemill.model_digest"
WARM_CALLS = 3


class WrongModelError(ModelError):
    """Not the files that were decided on, or not the stream's labels: trying again finds the same."""


class Source(Protocol):
    """Where models come from: the registry."""

    def version(self, version: str) -> ModelVersion | None:
        """One version, or None if there is no such version."""

    def download(self, version: str, folder: Path) -> Path:
        """Brings a version's files into the folder, whole or not at all; if it is there, it is kept."""


class Switches(Protocol):
    """Where models stand while they serve."""

    @property
    def challenger(self) -> Challenger | None:
        """The model beside the champion."""

    def switch(self, candidate: Slot) -> Slot | None:
        """Every request from now on gets the candidate; returns the retired one."""

    def drain(self, retired: Slot) -> None:
        """Lets the retired one go once its last request has ended."""


Report = Callable[[ServerPhase, str], None]
"""Told of each step, with the version. What it raises ends the attempt."""


class Swapper:
    """Brings proven models into service, from the registry or from this machine's shelf."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        shelf: Shelf,
        load: Callable[[Path], ServedModel],
        stage: Switches,
        status: Status,
        metrics: ServerMetrics,
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Args: alone: while it lasts, nobody else makes models."""
        self._labels, self._budget, self._alone = settings.stream.labels, token_budget(settings.model), alone
        self._patience = settings.server.known_questions_timeout_seconds
        self._source, self._shelf, self._load, self._stage = source, shelf, load, stage
        self._status, self._metrics = status, metrics

    def alone(self) -> AbstractContextManager[None]:
        """While it lasts, nobody else makes models."""
        return self._alone()

    def take_over(self, champion: Champion) -> None:
        """Puts the champion into service, or changes nothing.

        Raises:
            WrongModelError: This model is not to be used; repeating is useless.
            RegistryUnavailableError: MLflow is not there; try again later.
            ModelError, RegistryRefusedError: It cannot be loaded, or does not answer, as things are; they may change.
        """
        began = time.monotonic()
        with self._alone():
            slot = self._proven_beside(champion) or self.prepare(champion, self._status.enter)
            is_new = not self._shelf.knows(slot.card)
            retired = self._switch(slot)
            self._metrics.swaps.labels(SwapOutcome.SERVING.value).inc()
            self._metrics.swap_seconds.observe(time.monotonic() - began)
            if is_new and (newest := slot.card.newest_published_at()) is not None:
                self._metrics.freshness.observe((utc_now() - newest).total_seconds())
            self._retire(retired)

    def prepare(self, champion: Champion, report: Report) -> Slot:
        """A model ready to answer, with its files on the shelf; nobody is sent to it yet. Raises as `take_over`."""
        card = self._card(champion, report)
        self._fetch(card, report)
        return self._proven(card, report)

    def prepare_challenger(self, version: str, report: Report) -> Slot:
        """As `prepare`, of a version that is complete in the registry and that nobody has decided on; within `alone`.

        Raises:
            WrongModelError: It is not, or may not be used; otherwise as `take_over`.
        """
        known = next((card for card in self._shelf.proven() if card.version == version), None)
        if known is None:
            found = self._source.version(version)
            objection = objection_to_tags(version, found.tags if found else None, bool(found and found.has_weights))
            if objection is not None:
                raise WrongModelError(objection)
        slot = self.prepare(Champion(version, known.digest if known else None), report)
        self._shelf.keep_beside(slot.card)
        return slot

    def take_last(self) -> bool:
        """Puts the model into service that served here last, or the one before; False if neither is usable."""
        for card in self._shelf.last():
            try:
                self._status.enter(ServerPhase.VERIFYING, card.version)
                verify(self._shelf.folder(card), card.digest)
                with self._alone():
                    self._retire(self._switch(self._proven(card, self._status.enter)))
            except ModelError as error:
                log.warning("kept_model_unusable", version=card.version, error=str(error))
            else:
                return True
        return False

    def _proven_beside(self, champion: Champion) -> Slot | None:
        """The challenger's slot, if that is who was promoted."""
        challenger = self._stage.challenger
        if challenger is None or not champion.is_the(challenger.slot.card):
            return None
        slot = challenger.slot
        slot.card = slot.card.model_copy(update={"promoted_at": champion.promoted_at})
        return slot

    def _card(self, champion: Champion, report: Report) -> Card:
        """Who the champion is, from the shelf if it was proven here, else from the registry."""
        for card in self._shelf.proven():
            if card.version == champion.version and champion.digest == card.digest:
                return card
        report(ServerPhase.DOWNLOADING, champion.version)
        if (found := self._source.version(champion.version)) is None:
            raise ModelError(f"version {champion.version} is not in the registry; promote another or roll back")
        digest = champion.digest or found.tags.get(DIGEST_TAG)
        if digest is None:
            raise ModelError(f"version {champion.version} has no recorded digest, so its files cannot be trusted")
        return Card(version=champion.version, digest=digest, promoted_at=champion.promoted_at, tags=found.tags)

    def _fetch(self, card: Card, report: Report) -> None:
        """Files on the shelf that no longer verify are fetched once more."""
        folder = self._shelf.folder(card)
        with suppress(ModelError):
            verify(folder, card.digest)
            return
        self._shelf.discard(card)
        report(ServerPhase.DOWNLOADING, card.version)
        self._source.download(card.version, folder)
        report(ServerPhase.VERIFYING, card.version)
        try:
            verify(folder, card.digest)
        except ModelError as error:
            self._shelf.discard(card)
            raise WrongModelError(str(error)) from error

    def _proven(self, card: Card, report: Report) -> Slot:
        """Loads and proves it."""
        report(ServerPhase.LOADING, card.version)
        model = self._load(self._shelf.folder(card))
        if tuple(model.labels) != self._labels:
            raise WrongModelError(f"version {card.version} has labels {model.labels}, the stream {self._labels}")
        report(ServerPhase.WARMING, card.version)
        within(self._patience, lambda: self._warm(model), f"version {card.version} answers the known questions")
        return Slot(card, model)

    def _switch(self, slot: Slot) -> Slot | None:
        """Returns the retired slot."""
        # Kept before it is switched to: a crash from here on restarts with a model that is proven, whichever it is.
        self._shelf.keep(slot.card)
        retired = self._stage.switch(slot)
        self._status.serves(slot.card, slot.model.plan)
        return retired

    def _retire(self, retired: Slot | None) -> None:
        if retired is not None:
            self._status.enter(ServerPhase.DRAINING, retired.card.version)
            self._stage.drain(retired)
        self._status.enter(ServerPhase.SERVING)

    def _warm(self, model: ServedModel) -> None:
        """Proves it, then asks what traffic will ask: one short text, and a full batch."""
        prove(model, self._labels)
        for _ in range(WARM_CALLS):
            model.predict(KNOWN_QUESTIONS[:1])
        model.predict([KNOWN_QUESTIONS[-1]] * max(1, self._budget // model.window))


def permanent(error: Exception) -> bool:
    """Whether trying the same model again is useless. A full memory or a busy machine are not the model's fault."""
    return isinstance(error, WrongModelError)


def within(seconds: float, call: Callable[[], None], promise: str) -> None:
    """Calls in a thread of its own, for at most so long: a hung model must not hang its caller.

    Raises:
        ModelError: It took longer, or an earlier call for the same promise has not ended yet. Whatever the call raises
            is raised here.
    """
    if any(thread.name == promise for thread in threading.enumerate()):
        raise ModelError(f"{promise}: an earlier attempt has not ended yet")  # each holds a whole model
    outcome: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=run, name=promise, daemon=True).start()
    try:
        error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise ModelError(f"{promise}: not within {seconds:.0f} s") from None
    if error is not None:
        raise error
