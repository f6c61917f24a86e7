"""Health probes and metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

from fastapi import APIRouter, Response

from eta.api.dependencies import SharedResources, json_response
from eta.api.schemas.health import Liveness, Readiness
from eta.api.strict_route import StrictRoute
from eta.domain.errors import EtaError

#: Seconds to wait for the empty write that a probe makes if nothing was written lately.
PROBE_TIMEOUT_SECONDS = 2.0
router = APIRouter(route_class=StrictRoute, tags=["probes"])


@router.get("/livez", response_model=Liveness)
async def livez() -> Response:
    """Checks that the event loop is running."""
    return json_response(Liveness())


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Events cannot be stored."}},
)
async def readyz(resources: SharedResources) -> Response:
    """Returns the active model and current problems; without a model the status is `degraded`."""
    # An empty write if nothing was written lately, so that the store knows its state.
    with suppress(EtaError, TimeoutError):
        if probe := resources.store.probe_write():
            completion = resources.write_completions.result(probe)
            await asyncio.wait_for(completion, PROBE_TIMEOUT_SECONDS)
    can_write = resources.store.can_write
    current = resources.active_model
    details = list(current.problems)
    status: Literal["ready", "degraded", "unavailable"] = "ready"
    if current.is_degraded or details:
        status = "degraded"
    if not can_write:
        status = "unavailable"
        details.insert(0, "events cannot be stored at the moment")
    readiness = Readiness(
        status=status, model_version=current.version, promoted=current.promoted, details=details
    )
    return json_response(readiness, status=200 if can_write else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(resources: SharedResources) -> Response:
    """Returns the metrics in the text format of Prometheus."""
    current = resources.active_model
    is_degraded = current.is_degraded or bool(current.problems)
    return resources.metrics.render(current.version, is_degraded=is_degraded)
