"""Route of what the active model has learned from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from eta.api import openapi
from eta.api.dependencies import SharedResources, json_response
from eta.api.openapi import READ_ERRORS, problem_responses
from eta.api.schemas.coverage import ModelCoverage, to_model_coverage
from eta.api.schemas.fields import Code
from eta.api.schemas.messages import shipment_messages
from eta.api.strict_route import StrictRoute
from eta.service.estimates.read_coverage import Coverage, read_coverage

#: The most groups of one list.
MAX_GROUPS = 1_000
router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.get(
    "/coverage",
    response_model=ModelCoverage,
    responses=problem_responses(*READ_ERRORS),
    openapi_extra=openapi.COVERAGE,
)
async def get_coverage(
    resources: SharedResources,
    carrier_code: Annotated[
        Code | None, Query(description="Only this carrier's parcels; default: all.")
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_GROUPS, description="The most groups of each list.")
    ] = 100,
) -> Response:
    """Lists the carriers, services, lanes and regions that the active version has seen."""
    current, coverage = resources.active_model, Coverage()
    seen = current.seen_services
    if seen is not None:
        coverage = read_coverage(seen, carrier=carrier_code, limit=limit)
    messages = shipment_messages(current, carrier_code, None, resources.clock())
    data_through = current.data_through
    return json_response(to_model_coverage(coverage, current.version, data_through, messages))
