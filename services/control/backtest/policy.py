"""One way to run the mill that is to be tried: when windows close, how they are learned, and the gate."""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from services.control.session import RefusedError
from shared.settings import GateSettings, Settings, WindowSettings
from shared.training_settings import TrainingSettings

CURRENT = "current"
SECTIONS = ("ingestor.window", "training", "evaluator.gate")
Table = dict[str, Any]


class LearnerName(StrEnum):
    """What stands where the model does."""

    LINEAR = "linear"
    MODEL = "model"


class Policy(BaseModel):
    """The settings that a backtest may change; the names are those of `tidemill.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    window: WindowSettings
    training: TrainingSettings
    gate: GateSettings


def current_policy(settings: Settings) -> Policy:
    """The settings as they are."""
    return Policy(
        name=CURRENT,
        window=settings.ingestor.window,
        training=settings.training,
        gate=settings.evaluator.gate,
    )


def read_policy(file: Path, settings: Settings) -> Policy:
    """The current settings with what the file changes, named after the file.

    Raises:
        RefusedError: The file cannot be read, or names what no policy has.
    """
    try:
        changes = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RefusedError(f"policy {file} cannot be read: {error}") from error
    sections = [_take(changes, file, *section.split(".")) for section in SECTIONS]
    rest = sorted(name for name, content in changes.items() if content != {})
    if rest:
        raise RefusedError(f"policy {file} changes {', '.join(rest)}; a policy may change {', '.join(SECTIONS)}")
    before = current_policy(settings)
    try:
        window, training, gate = map(_changed, (before.window, before.training, before.gate), sections)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise RefusedError(f"policy {file} is refused: {wrong}") from error
    return Policy(name=file.stem, window=window, training=training, gate=gate)


def _take(changes: Table, file: Path, *path: str) -> Table:
    """Takes a section out of the file's table; what is left in the end names nothing that a policy has."""
    table: Any = changes
    for name in path[:-1]:
        table = table.get(name, {})
    found = table.pop(path[-1], {}) if isinstance(table, dict) else None
    if not isinstance(found, dict):
        raise RefusedError(f"policy {file}: {'.'.join(path)} is a section, [{'.'.join(path)}]")
    return found


def _changed(section: Any, changes: Table) -> Any:
    return type(section).model_validate(_merged(section.model_dump(), changes))


def _merged(before: Table, changes: Table) -> Table:
    """Tables are merged; anything else, lists too, is replaced, as in `tidemill.toml`."""
    merged = dict(before)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(before.get(name), dict)
        # Of a table of another kind nothing fits: its fields have other names.
        same_kind = both and value.get("kind", before[name].get("kind")) == before[name].get("kind")
        merged[name] = _merged(before[name], value) if same_kind else value
    return merged
