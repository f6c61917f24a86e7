"""Route of stateless scoring."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from fastapi import APIRouter, Request, Response

from eta.api import openapi
from eta.api.dependencies import active_model, json_response
from eta.api.openapi import OF_BODIES, problems
from eta.api.problem_details import problem
from eta.api.schemas.common import Rejected, reply, to_fields
from eta.api.schemas.scores import ScoreRequest, Scores, ShipmentTold
from eta.api.strict_route import StrictRoute
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment, TrackingEvent
from eta.model.hot_swap import Current
from eta.promise import PromisePolicy
from eta.service.scoring.assessment import Answer, Terms
from eta.service.scoring.score_shipments import score_shipments

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/score", response_model=Scores, responses=problems(*OF_BODIES), openapi_extra=openapi.SCORE
)
async def score(request: Request, body: ScoreRequest) -> Response:
    """Dates and delay flags of shipments told whole: one entry a shipment, in order, a result or a problem."""
    state, current = request.app.state, active_model(request)
    as_of = body.as_of or state.clock()
    results = await state.workers.run(
        lambda: _results(body, current, as_of, state.settings.promise_policy, request.url.path),
        len(body.shipments),
    )
    state.metrics.count_answers(str(entry.get("confidence_code", "refused")) for entry in results)
    return await state.workers.run(
        lambda: json_response(reply("Scores", as_of, current, results)), len(results)
    )


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
