"""Route of model versions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from eta.api import openapi
from eta.api.dependencies import json_response
from eta.api.openapi import OF_READING, problems
from eta.api.schemas.models import ModelEntry, Models
from eta.api.strict_route import StrictRoute
from eta.model.hot_swap import Serving

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.get(
    "/models", response_model=Models, responses=problems(*OF_READING), openapi_extra=openapi.MODELS
)
async def models(request: Request) -> Response:
    """The versions there are, the one that learned furthest first, and which one serves."""
    serving: Serving = request.app.state.serving
    current = serving.current
    entries = [
        ModelEntry(
            version=known.version,
            data_through=known.data_through,
            examples=known.examples,
            is_serving=known.version == current.version,
            is_promoted=known.version == current.promoted,
            refused=known.refused,
        )
        for known in serving.versions
    ]
    return json_response(Models(serves=current.version, promoted=current.promoted, results=entries))
