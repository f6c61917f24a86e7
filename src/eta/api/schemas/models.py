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
    """All versions, the one with the latest training data first.

    All tenants share them.
    """

    object: Literal["list"] = "list"
    is_shared: Annotated[
        Literal[True],
        Field(
            description="The registry is shared by all tenants: each is answered by the same"
            " version, which may have learned from what others recorded."
        ),
    ] = True
    active: str | None
    promoted: str | None
    results: list[ModelEntry]
