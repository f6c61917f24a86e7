"""The routes of scores, models and probes: from a request to a use-case and back, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from eta.api import contract
from eta.api.asked import Rejected, ScoreRequest, ShipmentTold
from eta.api.contract import OF_BODIES, OF_READING, problems
from eta.api.door import StrictRoute
from eta.api.problems import problem
from eta.api.told import Liveness, ModelEntry, Models, Readiness, Scores, reply, to_fields
from eta.delays import DelayPolicy
from eta.domain.errors import EtaError
from eta.domain.shipment import Shipment, TrackingEvent
from eta.model.hot_swap import Current, Serving
from eta.promise import PromisePolicy
from eta.service.scoring.assessment import Answer, Terms
from eta.service.scoring.score_shipments import score_shipments

#: A probe that finds nothing written lately has nothing written, and waits so long for it.
TRY_OUT_SECONDS = 2.0

v1 = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])
probes = APIRouter(route_class=StrictRoute, tags=["probes"])


@v1.post(
    "/score", response_model=Scores, responses=problems(*OF_BODIES), openapi_extra=contract.SCORE
)
async def score(request: Request, body: ScoreRequest) -> Response:
    """Dates and delay flags of shipments told whole: one entry a shipment, in order, a result or a problem."""
    state, current = request.app.state, _current(request)
    as_of = body.as_of or state.clock()
    results = await state.workers.run(
        lambda: _results(body, current, as_of, state.settings.promise_policy, request.url.path),
        len(body.shipments),
    )
    state.metrics.count_answers(str(entry.get("confidence_code", "refused")) for entry in results)
    return await state.workers.run(
        lambda: _json(reply("Scores", as_of, current, results)), len(results)
    )


@v1.get(
    "/models", response_model=Models, responses=problems(*OF_READING), openapi_extra=contract.MODELS
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
    return _json(Models(serves=current.version, promoted=current.promoted, results=entries))


@probes.get("/livez", response_model=Liveness)
async def livez() -> Response:
    """The event loop turns."""
    return _json(Liveness())


@probes.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Scans cannot be stored."}},
)
async def readyz(request: Request) -> Response:
    """What serves, and what is not as it should be; without a model the service still answers, and says `degraded`."""
    store, current = request.app.state.store, _current(request)
    with suppress(EtaError, TimeoutError):
        if tried := store.try_out():
            await asyncio.wait_for(request.app.state.written.result(tried), TRY_OUT_SECONDS)
    can_write = store.can_write
    is_ready = not (current.is_degraded or current.faults)
    status: Literal["ready", "degraded", "unavailable"] = (
        "unavailable" if not can_write else "ready" if is_ready else "degraded"
    )
    details = [*([] if can_write else ["scans cannot be stored at the moment"]), *current.faults]
    answered = _json(
        Readiness(
            status=status, model_version=current.version, promoted=current.promoted, details=details
        )
    )
    answered.status_code = 200 if can_write else 503
    return answered


@probes.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    current = _current(request)
    return cast(
        Response,
        request.app.state.metrics.page(
            current.version, is_degraded=current.is_degraded or bool(current.faults)
        ),
    )


def _current(request: Request) -> Current:
    """What serves now: taken once a request, so that the whole answer is one version's."""
    serving: Serving = request.app.state.serving
    return serving.current


def _results(
    body: ScoreRequest, current: Current, as_of: datetime, promise: PromisePolicy, path: str
) -> list[dict[str, object]]:
    told = cast("list[ShipmentTold | Rejected]", body.shipments)
    shipments: list[Shipment] = []
    events: list[TrackingEvent] = []
    for number, item in enumerate(told):
        if isinstance(item, ShipmentTold):
            shipment, scans = item.to_records(f"{number:06d}")
            shipments.append(shipment)
            events += scans
    terms = Terms(coverage=body.confidence_level, promise=promise)
    answers = iter(
        score_shipments(
            shipments, events, current.answering, as_of, policy=DelayPolicy(), terms=terms
        )
    )
    return [
        _refusal(item, number, path)
        if isinstance(item, Rejected)
        else _result(item, next(answers), current, terms)
        for number, item in enumerate(told)
    ]


def _result(
    item: ShipmentTold, answer: Answer, current: Current, terms: Terms
) -> dict[str, object]:
    return {
        **to_fields(answer, current, terms, item.carrier_code, item.service_code),
        "shipment_id": item.shipment_id,
    }


def _refusal(item: Rejected, number: int, path: str) -> dict[str, object]:
    errors = [
        error.model_copy(update={"loc": ["body", "shipments", number, *error.loc]})
        for error in item.errors
    ]
    return {
        "shipment_id": item.shipment_id,
        "problem": problem(422, "the shipment cannot be used", path, errors),
    }


def _json(told: object) -> Response:
    """An answer as it is: that it keeps the contract is what tests are for."""
    return Response(to_json(told), media_type="application/json")
