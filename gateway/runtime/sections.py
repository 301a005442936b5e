"""What every part of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of the configuration: frozen, and without a key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
