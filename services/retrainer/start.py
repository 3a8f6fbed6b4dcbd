"""Which model the next training starts from: a pure rule over what the ledgers say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from shared.training_settings import AdaptationSettings, TrainingSettings


@dataclass(frozen=True)
class WaitingChallenger:
    """A version that the gate is undecided about; `delta` is its edge over the champion as last measured."""

    version: str
    digest: str | None = None
    delta: float | None = None


def choose_start(
    training: TrainingSettings,
    champion: str | None,
    waiting: Sequence[WaitingChallenger],
    promoted: Sequence[str] = (),
) -> tuple[str, ...]:
    """The versions to start from: none is the base, one is a warm start, several are averaged.

    Learning goes on from the newest waiting challenger while serving waits for proof; a gate without this starves the
    learner. One whose measured edge is below the floor is passed over: what those before it learned is not lost for a
    bad window.

    Args: waiting: in the order of their arrival. promoted: newest first; only `soup` asks.
    """
    match training.start:
        case "base":
            return ()
        case "champion":
            return _present(champion)
        case "chain":
            return _present(_newest(waiting, training) or champion)
        case "soup":
            return _present(champion, _newest(waiting, training), *promoted)[: training.soup_versions]
        case _:
            assert_never(training.start)


def restarts(
    training: TrainingSettings, adaptation: AdaptationSettings, accepted: str | None, begun: Collection[str]
) -> bool:
    """Whether the next training starts from the adapted base in use instead of the models that learned so far.

    A line of models never looks at its base again, so an accepted one would change nothing. Once for each base: whether
    what came of it goes on is for the gate to say. Who starts from the base every time needs no such turn.
    Args: accepted: version of the adapted base in use. begun: versions of bases that some candidate's line began with.
    """
    if not adaptation.restart or training.start == "base":
        return False
    return accepted is not None and accepted not in begun


def of_one_base(versions: Sequence[str], bases: Mapping[str, str | None]) -> tuple[str, ...]:
    """The versions whose line began with the same base as the first one's: only such weights can be averaged.

    Args: bases: version -> adapted base that its line began with; one that is not there began with the configured one.
    """
    return tuple(version for version in versions if bases.get(version) == bases.get(versions[0]))


def _newest(waiting: Sequence[WaitingChallenger], training: TrainingSettings) -> str | None:
    """The newest that is not below the floor; one that was not measured is not."""
    above = (each.version for each in reversed(waiting) if each.delta is None or each.delta >= training.chain_floor)
    return next(above, None)


def _present(*versions: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(version for version in versions if version is not None))
