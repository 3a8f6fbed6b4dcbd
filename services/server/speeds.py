"""What was learned on this machine about the speed of plans, so that the next model tries the winner first."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from shared.classifier.plan import Plan
from shared.events import utc_now

log = structlog.get_logger("speeds")


class _Timed(BaseModel):
    """Seconds by plan, for the same texts; null: it failed, or was hopeless."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    at: AwareDatetime
    seconds: dict[str, float | None]


class _Notes(BaseModel):
    """What the file holds, by model shape and machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    timed: dict[str, _Timed] = {}


class Speeds:
    """One file, made anew if it cannot be read: what it holds can be measured again."""

    def __init__(self, file: Path, machine: str, remember_seconds: float) -> None:
        """Args: machine: whatever changes speeds; notes of another one are passed over."""
        self._file, self._machine, self._lasting = file, machine, timedelta(seconds=remember_seconds)

    def known(self, shape: str, plans: Collection[Plan]) -> dict[Plan, float] | None:
        """Seconds of each of the plans for a model of this shape; None if they are not all known, or too old."""
        timed = self._read().timed.get(self._key(shape))
        if (
            timed is None
            or utc_now() - timed.at > self._lasting
            or not {plan.id for plan in plans} <= set(timed.seconds)
        ):
            return None
        return {plan: _seconds(timed.seconds[plan.id]) for plan in plans}

    def keep(self, shape: str, seconds: Mapping[Plan, float]) -> None:
        """Notes what was measured. A disk that is full loses the note and nothing else."""
        finite = {plan.id: took if took < float("inf") else None for plan, took in seconds.items()}
        notes = self._read().timed | {self._key(shape): _Timed(at=utc_now(), seconds=finite)}
        draft = self._file.with_suffix(".new")
        try:
            draft.write_text(_Notes(timed=notes).model_dump_json(indent=2))
            draft.replace(self._file)
        except OSError as error:
            log.warning("not_kept", file=str(self._file), error=str(error))

    def _key(self, shape: str) -> str:
        return f"{shape} on {self._machine}"

    def _read(self) -> _Notes:
        try:
            return _Notes.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return _Notes()
        except (OSError, ValidationError) as error:
            log.warning("unreadable", file=str(self._file), error=str(error))
            return _Notes()


def _seconds(noted: float | None) -> float:
    return float("inf") if noted is None else noted
