"""Schemas of the health probes."""

from __future__ import annotations

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
    details: Annotated[list[str], Field(description="Current problems.")]


class Liveness(ResponseModel):
    """The event loop is running."""

    status: Literal["alive"] = "alive"
