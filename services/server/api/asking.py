"""The one way from a request to answers, under every protocol: limits, patience, and nobody asked for who hung up."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from random import uniform

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import Scope

from services.server.api.access_log import note_answers
from services.server.api.callers import caller_of
from services.server.api.disconnects import unless_gone
from services.server.api.problems import InvalidRequestError
from services.server.batcher import BusyError, TooLateError
from services.server.engine import Engine, Predictions, Question
from services.server.waiting import Flow
from shared.settings import ServerSettings

# Of a stream's texts, between tries to get into a full queue: a batch takes tens of milliseconds, a crowd seconds.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
TIMEOUT_HEADER = "X-Request-Timeout"


@dataclass(frozen=True, slots=True)
class Stream:
    """What the lines of one stream have in common.

    Attributes:
        patience: Seconds for each line, from when it was read to its answer.
        caller: Who sends it; None: nothing is known.
        flow: Their place in the queue.
    """

    patience: float
    caller: str | None
    flow: Flow = field(default_factory=Flow)


class Asking:
    """Asks the engine on behalf of a request."""

    def __init__(self, engine: Engine, limits: ServerSettings) -> None:
        self._engine, self._limits = engine, limits

    async def ask(self, request: Request, texts: Sequence[str], version: str | None = None) -> Predictions:
        """Answers to all texts by one model, in order. The request's body must have been read.

        Args: version: only this one may answer.
        Raises:
            InvalidRequestError: More or longer texts than may be, or a header that says nothing.
            ClientGoneError: Nobody waits for the answer any more.
            NoModelError, OtherVersionError, OverloadedError, TooLateError: As of `Engine.predict`.
        """
        self.check(texts)
        question = Question(texts, self.patience(request.headers), version, caller_of(request))
        answers = await unless_gone(request, self._engine.predict(question))
        note_answers(request, answers)
        return answers

    async def ask_in_turn(self, text: str, stream: Stream) -> Predictions:
        """As `ask`, for one text of a stream: while too much is waiting, it waits, too, until its patience ends.

        Whether the client is still there is for the stream to notice.
        Raises: As `ask`, but for OverloadedError and ClientGoneError.
        """
        self.check([text])
        until, pause = time.monotonic() + stream.patience, FIRST_PAUSE_SECONDS
        while True:
            left = until - time.monotonic()
            try:
                return await self._engine.predict(Question([text], left, caller=stream.caller, flow=stream.flow))
            except BusyError as error:
                if isinstance(error, TooLateError) or left <= 0:
                    message = f"not answered within {stream.patience:g} s"
                    raise TooLateError(message, error.retry_after_seconds) from None
            await asyncio.sleep(min(left, uniform(pause / 2, pause)))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def refusal(self, scope: Scope) -> BusyError | None:
        """Why even one short text would be refused now; None if it would not be, or the request has other faults."""
        try:
            patience = self.patience(Headers(scope=scope))
        except InvalidRequestError:
            return None
        return self._engine.batcher.refusal(patience)

    def check(self, texts: Sequence[str]) -> None:
        """Raises InvalidRequestError for no text, too many, too long ones, or one of white space only."""
        if not texts:
            raise InvalidRequestError("no text; send one at least")
        if len(texts) > self._limits.max_texts:
            raise InvalidRequestError(
                f"{len(texts)} texts in one request, {self._limits.max_texts} may be; send them in parts"
            )
        longest = max(map(len, texts))
        if longest > self._limits.max_text_chars:
            raise InvalidRequestError(
                f"a text of {longest} characters, {self._limits.max_text_chars} may be; shorten it"
            )
        if not all(text.strip() for text in texts):
            raise InvalidRequestError("a text with nothing but white space; leave it out")

    def patience(self, headers: Headers) -> float:
        """Seconds that the client will wait, by its header, and at most the server's own limit.

        Raises: InvalidRequestError if the header is no positive number.
        """
        longest = self._limits.request_timeout_seconds
        if (said := headers.get(TIMEOUT_HEADER)) is None:
            return longest
        try:
            seconds = float(said)
        except ValueError:
            seconds = 0.0
        if not (isfinite(seconds) and seconds > 0):
            raise InvalidRequestError(f"{TIMEOUT_HEADER} must be a positive number of seconds")
        return min(seconds, longest)
