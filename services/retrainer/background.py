"""One blocking piece of work beside the loop, so that the loop goes on polling Kafka meanwhile."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Background(Generic[Value]):
    """Work in a thread that does not keep the process from ending: all such work may be done again."""

    def __init__(self, work: Callable[[], Value]) -> None:
        """Begins at once."""
        self._work = work
        self._value: list[Value] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="retrainer-background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._work())
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return not self._thread.is_alive()

    def result(self) -> Value:
        """Waits for the end; returns what the work returned or raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value[0]
