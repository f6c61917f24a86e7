"""Schemas of the health probes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from eta.api.schemas.common import ResponseModel


class Readiness(ResponseModel):
    """Whether the service can answer and record, and what is wrong."""

    status: Annotated[
        Literal["ready", "degraded", "unavailable"],
        Field(description="`unavailable` (503) only while events cannot be stored."),
    ]
    model_version: str | None
    promoted: str | None
    data_through: Annotated[
        datetime | None, Field(description="The end of the training data of the active model.")
    ]
    model_age_days: Annotated[
        float | None, Field(description="Days since `data_through`; null without a model.")
    ]
    details: Annotated[list[str], Field(description="Current problems.")]


class Liveness(ResponseModel):
    """The event loop is running."""

    status: Literal["alive"] = "alive"
