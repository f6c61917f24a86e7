"""Schemas of model versions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from eta.api.schemas.common import ResponseModel


class ModelEntry(ResponseModel):
    """One version of the registry."""

    version: str
    data_through: Annotated[
        datetime | None, Field(description="The moment up to which it has learned.")
    ]
    examples: int | None
    is_active: bool
    is_promoted: bool
    rejected: Annotated[str | None, Field(description="Why it cannot serve.")]


class ModelList(ResponseModel):
    """All versions, the one that learned furthest first."""

    object: Literal["list"] = "list"
    active: str | None
    promoted: str | None
    results: list[ModelEntry]
