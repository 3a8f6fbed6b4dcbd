"""Who answers: the current model, replaced by one assignment, the retired one let go when its last request has ended.

Beside it there may be a challenger: a second model, and how much it is asked.

All of it happens on the event loop; counting in and reading the current model have no await between them, so a request
never meets a model that is being let go.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from services.server.card import Card
from services.server.latency import LatencyModel
from services.server.memory import give_back
from services.server.tally import Tally
from shared.canary import Canary
from shared.classifier.plan import Plan
from shared.classifier.predictor import Predictor, Scores
from shared.errors import RetryableError


class NoModelError(RetryableError):
    """There is no champion to answer yet."""


class ServedModel(Predictor, Protocol):
    """What the server asks of a classifier."""

    @property
    def window(self) -> int:
        """The most tokens that it reads of a text."""

    @property
    def plan(self) -> str:
        """How it computes; every answer says so."""

    @property
    def shape(self) -> str:
        """Its kind and size: models of one shape are as fast as each other."""

    def under(self, plan: Plan) -> "ServedModel":
        """The same weights under another plan of the same precision."""

    def predict(self, texts: Sequence[str], token_budget: int | None = None) -> Scores:
        """Answers in the order of the texts; the budget bounds the tokens of one forward pass. None: the plan's."""


class Slot:
    """One loaded model, the requests that it is answering, and how long it takes for them."""

    def __init__(self, card: Card, model: ServedModel) -> None:
        self.card, self.latency = card, LatencyModel()
        self._model: ServedModel | None = model
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def model(self) -> ServedModel:
        """The classifier.

        Raises:
            NoModelError: It was let go.
        """
        if self._model is None:
            raise NoModelError(f"model version {self.card.version} was retired; ask again")
        return self._model

    @contextmanager
    def occupied(self) -> Iterator["Slot"]:
        """Keeps the model until the block ends."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield self
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def drained(self) -> None:
        """Returns once no request is under way."""
        await self._idle.wait()

    def close(self) -> None:
        """Lets the weights go."""
        self._model = None


@dataclass(frozen=True, slots=True)
class Challenger:
    """The model beside the champion, what it is there for, and what was counted of it."""

    canary: Canary
    slot: Slot
    tally: Tally


class Slots:
    """The owner of the model in service and of the one beside it."""

    def __init__(self) -> None:
        self._current: Slot | None = None
        self._challenger: Challenger | None = None
        self._previous: str | None = None
        self._keep: Callable[[Collection[str]], None] = lambda versions: None

    def when_retired(self, keep: Callable[[Collection[str]], None]) -> None:
        """Who is told, when a model is let go, which versions still matter: those here, and the champion before."""
        self._keep = keep

    @property
    def current(self) -> Slot | None:
        """The model that the next request will get."""
        return self._current

    @property
    def challenger(self) -> Challenger | None:
        """The model beside it."""
        return self._challenger

    @property
    def versions(self) -> tuple[str, ...]:
        """Those that answer whoever asks for one by its name: the champion's, then its challenger's."""
        if self._current is None:
            return ()
        beside = (self._challenger.canary.version,) if self._challenger is not None else ()
        return (self._current.card.version, *beside)

    @contextmanager
    def use(self) -> Iterator[Slot]:
        """The current model, kept whole for the caller until the block ends.

        Raises:
            NoModelError: There is none yet.
        """
        current = self._current
        if current is None:
            raise NoModelError("no model has been promoted yet; publish labelled reviews and ask again")
        with current.occupied():
            yield current

    def switch(self, candidate: Slot) -> Slot | None:
        """Every request from now on gets the candidate. Returns the retired model, which still answers its own."""
        retired, self._current = self._current, candidate
        if retired is not None and retired.card.version != candidate.card.version:
            self._previous = retired.card.version
        if self._challenger is not None and self._challenger.slot is candidate:
            self._challenger = None
        return retired

    def place_beside(self, challenger: Challenger | None) -> Slot | None:
        """Puts a challenger beside the current model, or nobody. Returns the slot that nobody will be sent to again."""
        left, self._challenger = self._challenger, challenger
        return left.slot if left is not None and (challenger is None or left.slot is not challenger.slot) else None

    def replace(self, expected: Slot, better: Slot) -> bool:
        """As `switch`, if the expected model still serves; whether it did."""
        if self._current is not expected:
            return False
        self._current = better
        return True

    async def retire(self, retired: Slot) -> None:
        """Lets a retired model go once its last request has ended."""
        await drain(retired)
        self._keep({*self.versions} | ({self._previous} if self._previous is not None else set()))


async def drain(retired: Slot) -> None:
    """Lets a retired model go once its last request has ended."""
    await retired.drained()
    retired.close()


class Stage:
    """Switches and drains on the event loop, called from another thread."""

    def __init__(self, slots: Slots, loop: asyncio.AbstractEventLoop) -> None:
        self._slots, self._loop = slots, loop

    @property
    def challenger(self) -> Challenger | None:
        """As `Slots.challenger`."""
        return self._slots.challenger

    def switch(self, candidate: Slot) -> Slot | None:
        """As `Slots.switch`; returns once it is done."""
        return self._on_the_loop(lambda: self._slots.switch(candidate))

    def place_beside(self, challenger: Challenger | None) -> Slot | None:
        """As `Slots.place_beside`; returns once it is done."""
        return self._on_the_loop(lambda: self._slots.place_beside(challenger))

    def replace(self, expected: Slot, better: Slot) -> bool:
        """As `Slots.replace`; returns once it is done."""

        async def on_the_loop() -> bool:
            return self._slots.replace(expected, better)

        return asyncio.run_coroutine_threadsafe(on_the_loop(), self._loop).result()

    def drain(self, retired: Slot) -> None:
        """As `Slots.retire`; requests end by their own time limit, so this does."""
        asyncio.run_coroutine_threadsafe(self._slots.retire(retired), self._loop).result()
        give_back()

    def _on_the_loop(self, call: Callable[[], Slot | None]) -> Slot | None:
        async def called() -> Slot | None:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result()
