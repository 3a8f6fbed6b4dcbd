"""Which model the next training starts from: a pure rule over what the ledger says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from shared.training_settings import TrainingSettings


@dataclass(frozen=True)
class WaitingChallenger:
    """A version that the gate is undecided about; `delta` is its edge over the champion as last measured."""

    version: str
    digest: str | None = None
    delta: float | None = None


def choose_start(
    training: TrainingSettings,
    champion: str | None,
    waiting: WaitingChallenger | None,
    promoted: Sequence[str] = (),
) -> tuple[str, ...]:
    """The versions to start from: none is the base, one is a warm start, several are averaged.

    Learning goes on from the newest waiting challenger while serving waits for proof; a gate without this starves the
    learner. One whose measured edge is below the floor is left behind.

    Args: waiting: the newest one. promoted: newest first; only `soup` asks.
    """
    match training.start:
        case "base":
            return ()
        case "champion":
            return _present(champion)
        case "chain":
            return (waiting.version,) if _goes_on(waiting, training) and waiting else _present(champion)
        case "soup":
            kept = waiting.version if _goes_on(waiting, training) and waiting else None
            return _present(champion, kept, *promoted)[: training.soup_versions]
        case _:
            assert_never(training.start)


def _goes_on(waiting: WaitingChallenger | None, training: TrainingSettings) -> bool:
    return waiting is not None and (waiting.delta is None or waiting.delta >= training.chain_floor)


def _present(*versions: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(version for version in versions if version is not None))
