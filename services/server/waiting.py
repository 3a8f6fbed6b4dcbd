"""Texts that wait for the model, in fair order: a request of hundreds of texts does not keep a small one waiting.

Start-time fair queueing: each text carries a tag, the tokens that its request asks for before it, counted from where
the queue stood when the request came. Texts are taken by their tags, so requests that wait side by side get tokens side
by side, and requests of one text are answered in the order in which they came. Where the queue stands moves on with the
tokens taken, so that no stream of newcomers keeps a large request waiting for ever.

Requests that are one flow, as the lines of a stream are, follow each other as the texts of one request do: the first
tag of each is where the one before it ends, or where the queue stands if that is further.

Source: Goyal, Vin and Cheng, "Start-time fair queueing", SIGCOMM 1996.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Asker = TypeVar("Asker")
Model = TypeVar("Model")

# A request waits for what came before it, and for newcomers at most so many times its own tokens.
OVERTAKEN_AT_MOST = 4


@dataclass(frozen=True, slots=True, order=True)
class Waiting(Generic[Asker]):
    """One text. `tag` and `number`, its turn among all, give the order; `place` is the one in its request."""

    tag: float
    number: int
    asker: Asker = field(compare=False)
    place: int = field(compare=False)
    text: str = field(compare=False)
    tokens: int = field(compare=False)


@dataclass(eq=False, slots=True)
class Flow:
    """Requests that have their turn after each other. `end` is the tag at which the last of them ends."""

    end: float = 0.0


@dataclass(slots=True)
class _Share(Generic[Model]):
    """What still waits of one request."""

    model: Model
    texts: int
    tokens: int
    flow: Flow | None


class FairQueue(Generic[Asker, Model]):
    """The waiting texts. Who asks is any hashable object; whoever fills the queue bounds it.

    By `tokens`, of all that waits, and `flowing_tokens`, of that what belongs to flows.
    """

    def __init__(self) -> None:
        self._order: list[Waiting[Asker]] = []
        self._shares: dict[Asker, _Share[Model]] = {}
        self._reached, self._numbers = 0.0, count()
        self._texts = 0
        self.tokens = self.flowing_tokens = 0

    def __len__(self) -> int:
        return self._texts

    def add(
        self, asker: Asker, model: Model, texts: Sequence[str], tokens: Sequence[int], flow: Flow | None = None
    ) -> None:
        """Puts a request's texts in, each with its tokens, for this model to answer."""
        tag = self._first_tag(flow)
        for place, (text, size) in enumerate(zip(texts, tokens, strict=True)):
            waiting = Waiting(tag, next(self._numbers), asker, place, text, size)
            self._order.insert(bisect_right(self._order, waiting), waiting)
            tag += size
        if flow is not None:
            flow.end = tag
        share = self._shares[asker] = _Share(model, len(texts), sum(tokens), flow)
        self._count(share, share.texts, share.tokens)

    def _first_tag(self, flow: Flow | None) -> float:
        return self._reached if flow is None else max(self._reached, flow.end)

    def drop(self, asker: Asker) -> None:
        """Forgets the texts of a request that nobody waits for; nothing if none of it waits."""
        if (share := self._shares.pop(asker, None)) is None:
            return
        self._count(share, -share.texts, -share.tokens)
        if share.flow is not None:
            share.flow.end -= share.tokens  # what was not taken is not to be made up for
        # Its entries are passed over when their turn comes; cleared away once they are the most of the list.
        if len(self._order) > 2 * self._texts:
            self._order = [waiting for waiting in self._order if waiting.asker in self._shares]

    def take(self, budget: int) -> list[Waiting[Asker]]:
        """The next batch, all for one model: the first in turn, then whatever else in turn fits into the budget.

        Tokens together stay within the budget, unless the first alone is above it. Since the first is always in, a
        text is passed over at most as often as there were texts before it.
        """
        batch: list[Waiting[Asker]] = []
        passed: list[Waiting[Asker]] = []
        turn, room, model = iter(self._order), budget, None
        while room > 0 and (waiting := next(turn, None)) is not None:
            if (share := self._shares.get(waiting.asker)) is None:
                continue
            if not batch or (waiting.tokens <= room and share.model is model):
                batch.append(waiting)
                room, model = room - waiting.tokens, share.model
            else:
                passed.append(waiting)
        self._order = [*passed, *turn]
        self._leave(batch)
        return batch

    def _leave(self, batch: Sequence[Waiting[Asker]]) -> None:
        for waiting in batch:
            share = self._shares[waiting.asker]
            share.texts, share.tokens = share.texts - 1, share.tokens - waiting.tokens
            if share.texts == 0:
                del self._shares[waiting.asker]
            self._count(share, -1, -waiting.tokens)
        if batch:  # never behind who is served: else a flow that was alone would be far ahead, and wait for that later
            moved = self._reached + sum(waiting.tokens for waiting in batch) / OVERTAKEN_AT_MOST
            self._reached = max(moved, batch[0].tag)

    def tokens_before(self, tokens: Sequence[int]) -> int:
        """Of the texts that would be taken before the last of a request that came now with texts of these tokens.

        It belongs to no flow.
        """
        last_tag = self._reached + sum(tokens[:-1])
        end = bisect_right(self._order, last_tag, key=lambda waiting: waiting.tag)
        return sum(waiting.tokens for waiting in self._order[:end] if waiting.asker in self._shares)

    def _count(self, share: _Share[Model], texts: int, tokens: int) -> None:
        self._texts, self.tokens = self._texts + texts, self.tokens + tokens
        if share.flow is not None:
            self.flowing_tokens += tokens
