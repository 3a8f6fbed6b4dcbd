"""What every section of the settings is made of."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One part of the tree: frozen, nothing unknown, defaults checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
