"""Route of model versions."""

from __future__ import annotations

from fastapi import APIRouter, Response

from eta.api import openapi
from eta.api.dependencies import SharedResources, json_response
from eta.api.openapi import READ_ERRORS, problem_responses
from eta.api.schemas.common import rounded
from eta.api.schemas.models import ModelEntry, ModelList
from eta.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.get(
    "/models",
    response_model=ModelList,
    responses=problem_responses(*READ_ERRORS),
    openapi_extra=openapi.MODELS,
)
async def list_models(resources: SharedResources) -> Response:
    """Lists the model versions, the one with the latest training data first."""
    current, now = resources.active_model, resources.clock()
    entries = []
    for status in resources.model_loader.versions:
        entry = ModelEntry(
            version=status.version,
            data_through=status.data_through,
            age_days=rounded(status.age_days(now), 2),
            examples=status.examples,
            is_active=status.version == current.version,
            is_promoted=status.version == current.promoted,
            rejected=status.rejected,
        )
        entries.append(entry)
    model_list = ModelList(active=current.version, promoted=current.promoted, results=entries)
    return json_response(model_list)
