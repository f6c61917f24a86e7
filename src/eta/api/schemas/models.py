"""Schemas of model versions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from eta.api.schemas.common import ResponseModel


class ModelEntry(ResponseModel):
    """One version in the registry."""

    version: str
    data_through: Annotated[datetime | None, Field(description="The end of its training data.")]
    age_days: Annotated[float | None, Field(description="Days since `data_through`.")]
    examples: int | None
    is_active: bool
    is_promoted: bool
    rejected: Annotated[str | None, Field(description="Why it was rejected.")]


class ModelList(ResponseModel):
    """All versions, the one with the latest training data first."""

    object: Literal["list"] = "list"
    active: str | None
    promoted: str | None
    results: list[ModelEntry]
