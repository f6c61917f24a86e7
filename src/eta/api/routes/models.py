"""Route of model versions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from eta.api import openapi
from eta.api.dependencies import json_response
from eta.api.openapi import READ_ERRORS, problems
from eta.api.schemas.models import ModelEntry, ModelList
from eta.api.strict_route import StrictRoute
from eta.model.hot_swap import ActiveModelLoader

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.get(
    "/models",
    response_model=ModelList,
    responses=problems(*READ_ERRORS),
    openapi_extra=openapi.MODELS,
)
async def list_models(request: Request) -> Response:
    """The versions there are, the one that learned furthest first, and which one serves."""
    model_loader: ActiveModelLoader = request.app.state.model_loader
    current = model_loader.current
    entries = [
        ModelEntry(
            version=status.version,
            data_through=status.data_through,
            examples=status.examples,
            is_active=status.version == current.version,
            is_promoted=status.version == current.promoted,
            rejected=status.rejected,
        )
        for status in model_loader.versions
    ]
    return json_response(
        ModelList(active=current.version, promoted=current.promoted, results=entries)
    )
