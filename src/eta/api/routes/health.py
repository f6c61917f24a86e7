"""Health probes and metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal, cast

from fastapi import APIRouter, Request, Response

from eta.api.dependencies import active_model, json_response
from eta.api.schemas.health import Liveness, Readiness
from eta.api.strict_route import StrictRoute
from eta.domain.errors import EtaError

#: A probe that finds nothing written lately has nothing written, and waits so long for it.
PROBE_TIMEOUT_SECONDS = 2.0
router = APIRouter(route_class=StrictRoute, tags=["probes"])


@router.get("/livez", response_model=Liveness)
async def livez() -> Response:
    """The event loop turns."""
    return json_response(Liveness())


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Scans cannot be stored."}},
)
async def readyz(request: Request) -> Response:
    """What serves, and what is not as it should be; without a model the service still answers, and says `degraded`."""
    store, current = request.app.state.store, active_model(request)
    with suppress(EtaError, TimeoutError):
        if probe := store.probe_write():
            await asyncio.wait_for(
                request.app.state.write_completions.result(probe), PROBE_TIMEOUT_SECONDS
            )
    can_write = store.can_write
    is_ready = not (current.is_degraded or current.problems)
    status: Literal["ready", "degraded", "unavailable"] = (
        "unavailable" if not can_write else "ready" if is_ready else "degraded"
    )
    details = [*([] if can_write else ["scans cannot be stored at the moment"]), *current.problems]
    response = json_response(
        Readiness(
            status=status, model_version=current.version, promoted=current.promoted, details=details
        )
    )
    response.status_code = 200 if can_write else 503
    return response


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    current = active_model(request)
    return cast(
        Response,
        request.app.state.metrics.render(
            current.version, is_degraded=current.is_degraded or bool(current.problems)
        ),
    )
