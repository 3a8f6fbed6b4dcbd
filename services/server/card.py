"""What is known about a model that answers, beside its weights."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.errors import ModelError
from shared.events import Sha256
from shared.lineage import Lineage


class Card(BaseModel):
    """A served model's identity and lineage; kept beside its files, so that a restart needs nobody to ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: str
    digest: Sha256
    promoted_at: AwareDatetime | None = None
    tags: dict[str, str] = {}

    @property
    def folder_name(self) -> str:
        """Version and digest: another model can never pass for this one."""
        return f"{self.version}-{self.digest}"

    def lineage(self) -> Lineage | None:
        """What it was made of; None if the registry does not say it completely."""
        try:
            return Lineage.from_tags(self.tags)
        except ModelError:
            return None

    def newest_published_at(self) -> datetime | None:
        """When the newest review that it learned from was published."""
        lineage = self.lineage()
        return lineage.newest_published_at if lineage else None
