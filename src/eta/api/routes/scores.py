"""Route of stateless scoring."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import cast

from fastapi import APIRouter, Request, Response

from eta.api import openapi
from eta.api.batch_refusal import refuse_useless
from eta.api.dependencies import Caller, SharedResources, json_with_results
from eta.api.metrics import Metrics, RowKind
from eta.api.model_calls import finish_batch, run_batch
from eta.api.openapi import BODY_ERRORS, problem_responses
from eta.api.problem_details import problem
from eta.api.schemas.common import (
    InvalidItem,
    to_prediction,
    unmapped_code_count,
)
from eta.api.schemas.messages import Message, age_messages, place_messages, unseen_messages
from eta.api.schemas.scores import (
    ItemProblem,
    ScoreList,
    ScoreRequest,
    ShipmentInput,
    ShipmentScore,
)
from eta.api.strict_route import StrictRoute
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment, TrackingEvent
from eta.model.hot_swap import ActiveModel
from eta.promise import PromisePolicy
from eta.service.scoring.assessment import AssessmentOptions
from eta.service.scoring.score_shipments import score_shipments as score

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/score",
    response_model=ScoreList,
    responses=problem_responses(*BODY_ERRORS),
    openapi_extra=openapi.SCORE,
)
async def score_shipments(
    request: Request, body: ScoreRequest, resources: SharedResources, caller: Caller
) -> Response:
    """Dates and delay flags of shipments that are sent whole.

    One entry a shipment, in order: a result or a problem.
    """
    refuse_useless(body.shipments, "shipments", resources.metrics)
    as_of = body.as_of or resources.clock()
    promise = resources.settings.promise_policy
    results, current = await run_batch(
        lambda model: _score_items(body, model, as_of, promise, request.url.path),
        resources,
        caller,
        body.size,
    )
    respond = partial(_score_response, body, results, current, as_of, resources.metrics)
    return await finish_batch(respond, resources, caller, body.size)


def _score_response(
    body: ScoreRequest,
    results: list[ShipmentScore | ItemProblem],
    current: ActiveModel,
    as_of: datetime,
    metrics: Metrics,
) -> Response:
    """The response with one result a shipment, which it counts."""
    metrics.count_answers(map(_code, results))
    metrics.count_rows(_row_kinds(body), unmapped_codes=unmapped_code_count(body.shipments))
    fields: dict[str, object] = {
        "object": "list",
        "as_of": as_of,
        "model_version": current.version,
        "degraded": current.is_degraded_at(as_of),
        "messages": _messages(body, current, as_of),
    }
    return Response(json_with_results(fields, results), media_type="application/json")


def _row_kinds(body: ScoreRequest) -> list[RowKind]:
    """What became of each shipment and of its events; the events of a rejected one are unknown."""
    kinds: list[RowKind] = []
    for item in cast("list[ShipmentInput | InvalidItem]", body.shipments):
        if isinstance(item, InvalidItem):
            kinds.append(RowKind.REJECTED)
            continue
        contents = {event.content for event in item.events}
        kinds += [RowKind.ACCEPTED] * (1 + len(contents))
        kinds += [RowKind.DUPLICATE] * (len(item.events) - len(contents))
    return kinds


def _score_items(
    body: ScoreRequest, current: ActiveModel, as_of: datetime, promise: PromisePolicy, path: str
) -> list[ShipmentScore | ItemProblem]:
    """One result an item of the request, in order."""
    items = cast("list[ShipmentInput | InvalidItem]", body.shipments)
    shipments: list[Shipment] = []
    events: list[TrackingEvent] = []
    for number, item in enumerate(items):
        if isinstance(item, ShipmentInput):
            shipment, shipment_events = item.to_records(f"{number:06d}")
            shipments.append(shipment)
            events += shipment_events
    options = AssessmentOptions(coverage=body.confidence_level, promise=promise)
    policy = DelayPolicy()
    assessments = score(shipments, events, current.predictor, as_of, policy=policy, options=options)
    remaining = iter(assessments)
    results: list[ShipmentScore | ItemProblem] = []
    for number, item in enumerate(items):
        if isinstance(item, InvalidItem):
            results.append(_item_problem(item, number, path))
            continue
        assessment, carrier, service = next(remaining), item.carrier_code, item.service_code
        scored = to_prediction(assessment, current, options, carrier, service, as_of)
        results.append({**scored, "shipment_id": item.shipment_id})
    return results


def _code(result: ShipmentScore | ItemProblem) -> str:
    return str(result.get("confidence_code", "rejected"))


def _messages(body: ScoreRequest, current: ActiveModel, as_of: datetime) -> list[Message]:
    """What makes the scores less certain than they look."""
    items = cast("list[ShipmentInput | InvalidItem]", body.shipments)
    shipments = [
        (f"shipments[{number}]", item)
        for number, item in enumerate(items)
        if isinstance(item, ShipmentInput)
    ]
    choices = ((path, item.carrier_code, item.service_code) for path, item in shipments)
    ends = (
        (f"{path}.{field}", address.to_place())
        for path, item in shipments
        for field, address in item.addresses().items()
    )
    return [
        *unseen_messages(current.seen_services, choices),
        *age_messages(current, as_of),
        *place_messages(ends),
    ]


def _item_problem(item: InvalidItem, number: int, path: str) -> ItemProblem:
    errors = item.errors_at("body", "shipments", number)
    return {
        "shipment_id": item.shipment_id,
        "problem": problem(422, item.detail("the shipment cannot be used"), path, errors),
    }
