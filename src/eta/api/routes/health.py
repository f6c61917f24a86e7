"""Health probes and metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response

from eta.api.dependencies import Resources, SharedResources, json_response
from eta.api.schemas.common import rounded
from eta.api.schemas.health import Liveness, Readiness
from eta.api.strict_route import StrictRoute
from eta.domain.errors import EtaError
from eta.model.hot_swap import ActiveModel
from eta.store.clock_guard import ClockReading

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
    reading, can_write = resources.store.clock_reading, _can_write(resources)
    current, now = resources.active_model, resources.clock()
    details = [*_clock_problem(reading), *current.problems, *_age_problem(current, now)]
    status: Literal["ready", "degraded", "unavailable"] = "ready"
    if current.is_degraded_at(now) or details:
        status = "degraded"
    if not can_write:
        status = "unavailable"
        details.insert(0, "events cannot be stored at the moment")
    readiness = Readiness(
        status=status,
        model_version=current.version,
        promoted=current.promoted,
        data_through=current.learned_through,
        model_age_days=rounded(current.age_days(now), 2),
        details=details,
    )
    return json_response(readiness, status=200 if can_write else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(resources: SharedResources) -> Response:
    """Returns the metrics in the text format of Prometheus."""
    current, now = resources.active_model, resources.clock()
    is_degraded = current.is_degraded_at(now) or bool(current.problems)
    age_days = current.age_days(now)
    # Its result is in the next answer.
    with suppress(EtaError):
        resources.store.probe_write()
    resources.metrics.can_write.set(_can_write(resources))
    resources.metrics.clock_lead_seconds.set(resources.store.clock_lead_seconds)
    return resources.metrics.render(current.version, is_degraded=is_degraded, age_days=age_days)


def _can_write(resources: Resources) -> bool:
    """Whether events can be stored."""
    return resources.store.can_write and not resources.store.clock_reading.is_refused


def _age_problem(current: ActiveModel, now: datetime) -> list[str]:
    """The problem of an outdated model; a simulated one is no problem of the service."""
    problem = current.age_problem(now) if current.is_outdated(now) else None
    return [problem] if problem else []


def _clock_problem(reading: ClockReading) -> list[str]:
    """What is wrong with the clock, with both times."""
    return [reading.describe()] if reading.problem else []
