"""Ends a process in the middle of a step."""

from collections.abc import Callable

import pytest


class Killed(BaseException):
    """Stands for the end of the process: nothing in our code may catch it."""


def kill_before(patch: pytest.MonkeyPatch, owner: object, name: str, calls: int) -> None:
    """Lets `calls` calls pass, then ends the process instead of the next."""
    original: Callable[..., object] = getattr(owner, name)
    left = [calls]

    def call(*args: object, **kwargs: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return original(*args, **kwargs)

    patch.setattr(owner, name, call)
