"""Schemas of the health probes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eta.api.schemas.common import ResponseModel


class Readiness(ResponseModel):
    """What the service can do now."""

    status: Annotated[
        Literal["ready", "degraded", "unavailable"],
        Field(description="`unavailable`, a 503, only while scans cannot be stored."),
    ]
    model_version: str | None
    promoted: str | None
    details: Annotated[list[str], Field(description="What is not as it should be.")]


class Liveness(ResponseModel):
    """The event loop turns."""

    status: Literal["alive"] = "alive"
