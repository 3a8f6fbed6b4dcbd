"""The one way from a request to answers, under every protocol: limits, patience, and nobody asked for who hung up."""

from collections.abc import Sequence
from math import isfinite

from fastapi import Request

from services.server.api.access_log import note_answers
from services.server.api.disconnects import unless_gone
from services.server.api.problems import InvalidRequestError
from services.server.engine import Engine, Predictions, Question
from shared.settings import ServerSettings

TIMEOUT_HEADER = "X-Request-Timeout"


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
            NoModelError, OtherVersionError, OverloadedError, TimedOutError: As of `Engine.predict`.
        """
        self.check(texts)
        question = Question(texts, self.patience(request), version)
        answers = await unless_gone(request, self._engine.predict(question))
        note_answers(request, answers)
        return answers

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

    def patience(self, request: Request) -> float:
        """Seconds that the client will wait, by its header, and at most the server's own limit.

        Raises: InvalidRequestError if the header is no positive number.
        """
        longest = self._limits.request_timeout_seconds
        if (said := request.headers.get(TIMEOUT_HEADER)) is None:
            return longest
        try:
            seconds = float(said)
        except ValueError:
            seconds = 0.0
        if not (isfinite(seconds) and seconds > 0):
            raise InvalidRequestError(f"{TIMEOUT_HEADER} must be a positive number of seconds")
        return min(seconds, longest)
