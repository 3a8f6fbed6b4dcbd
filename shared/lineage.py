"""Where a model came from: enough to explain it, and to train it again."""

import json
import subprocess
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ModelError
from shared.events import Sha256, SplitRecord

PREFIX = "tidemill."
# Registries older than MLflow 3 hold 5,000 characters in a tag of a model version; a longer value becomes several tags.
MAX_TAG_CHARS = 5_000
PROJECT = Path(__file__).resolve().parent.parent


class AnyLineage(BaseModel):
    """What a model version was made of; kept as tags of the version, readable by people and by `from_tags`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    window_ids: tuple[str, ...] = Field(description="Windows of new rows, the newest last.")
    offset_ranges: tuple[tuple[int, int], ...] = Field(description="Per window: first and last offset, inclusive.")
    snapshot_sha256s: tuple[Sha256, ...] = Field(description="Per window.")
    replay_window_ids: tuple[str, ...] = ()
    parent_version: str | None = Field(None, description="Version that training started from; null: the base model.")
    base: str
    base_digest: str
    seed: int
    normaliser_version: str
    split: SplitRecord
    model_digest: Sha256
    code_version: str
    plan_sha256: Sha256
    newest_published_at: datetime = Field(description="Of the newest review that it learned from.")

    def to_tags(self) -> dict[str, str]:
        """One tag a field, `tidemill.FIELD`: strings as they are, the rest as JSON, null left out.

        A value beyond `MAX_TAG_CHARS` goes on in `tidemill.FIELD.1`, `tidemill.FIELD.2` and so on.
        """
        tags: dict[str, str] = {}
        for field, value in self.model_dump(mode="json", exclude_none=True).items():
            tags |= _split(PREFIX + field, _text(value))
        return tags

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self:
        """Reads back what `to_tags` wrote; tags of others are passed over.

        Raises:
            ModelError: A field is missing or not what it should be.
        """
        texts = {field: _joined(PREFIX + field, tags) for field in cls.model_fields if PREFIX + field in tags}
        try:
            return cls.model_validate({field: _value(cls, field, text) for field, text in texts.items()})
        except (ValidationError, json.JSONDecodeError) as error:
            raise ModelError(f"the version's tags hold no complete lineage: {error}") from error


class Lineage(AnyLineage):
    """What a version of the stream's classifier was made of."""

    averaged_versions: tuple[str, ...] = Field((), description="All versions whose mean training started from.")
    rebuild_of: str | None = Field(None, description="Version whose history was trained again.")
    without: tuple[str, ...] = Field((), description="What its line was rebuilt without.")
    base_version: str | None = Field(None, description="Version of the adapted base that its line began with.")
    labels: tuple[str, ...]
    temperature: float


class BaseLineage(AnyLineage):
    """What a version of the base, adapted to the stream's unlabelled text, was made of."""

    probe_window_ids: tuple[str, ...] = Field(description="Windows whose labels both bases were fine-tuned on.")
    exam_digest: Sha256 = Field(description="Of what the gate compares: the parent, and both fine-tuned.")


@cache
def code_version() -> str:
    """The package's version, and the commit where the code is a git checkout: `0.1.0+g1a2b3c4d5e6f`.

    `.dirty` at the end: tracked files differ from that commit.
    """
    version, commit = _package_version(), _commit()
    return f"{version}+g{commit.replace('-', '.')}" if commit else version


def _package_version() -> str:
    try:
        return metadata.version("tidemill")
    except metadata.PackageNotFoundError:
        return "not-installed"


def _commit() -> str:
    # A package installed below somebody else's checkout must not report that one's commit.
    if not (PROJECT / ".git").exists():
        return ""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _value(cls: type[BaseModel], field: str, text: str) -> Any:
    plain = cls.model_fields[field].annotation in (str, str | None, datetime)
    return text if plain else json.loads(text)


def _split(key: str, text: str) -> dict[str, str]:
    parts = [text[start : start + MAX_TAG_CHARS] for start in range(0, len(text), MAX_TAG_CHARS)] or [""]
    return {key if part == 0 else f"{key}.{part}": value for part, value in enumerate(parts)}


def _joined(key: str, tags: Mapping[str, str]) -> str:
    parts = [tags[key]]
    while (following := f"{key}.{len(parts)}") in tags:
        parts.append(tags[following])
    return "".join(parts)
