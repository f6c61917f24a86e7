"""Routes of estimates before the purchase."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.dependencies import Caller, Resources, SharedResources, Tenant, json_response
from eta.api.http_caching import cached, unchanged_or
from eta.api.model_calls import run_batch, run_in_time
from eta.api.openapi import BODY_ERRORS, READ_ERRORS, problem_responses
from eta.api.schemas.common import envelope
from eta.api.schemas.estimates import (
    EstimateRequest,
    EstimateResponse,
    OrderEstimateRequest,
    OrderEstimateResponse,
    ShipByRequest,
    ShipByResponse,
    ShippingDeliveryTimes,
    to_comparison,
    to_estimate,
    to_order_estimate,
    to_schema_org,
    to_ship_by,
)
from eta.api.schemas.fields import Id
from eta.api.schemas.messages import (
    choice_messages,
    lane_messages,
    order_place_messages,
    service_messages,
)
from eta.api.strict_route import StrictRoute
from eta.calendars.holidays import HolidayCalendar
from eta.delays import DelayPolicy
from eta.domain.errors import NotFound
from eta.domain.shipment import Shipment
from eta.model.hot_swap import ActiveModel
from eta.service.estimates.compare_services import compare_services
from eta.service.estimates.estimate_delivery import (
    Estimate,
    SaveEstimate,
    estimate_delivery,
    save_estimates,
)
from eta.service.estimates.estimate_order import estimate_order
from eta.service.estimates.find_ship_by import LOOK_BACK_DAYS, find_ship_by
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import PickupSchedule
from eta.service.scoring.assessment import AssessmentOptions

#: Seconds for which an estimate may be cached if there is no cut-off time.
MAX_AGE_SECONDS = 60
router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/estimates",
    response_model=EstimateResponse,
    responses=problem_responses(*BODY_ERRORS),
    openapi_extra=openapi.ESTIMATES,
)
async def create_estimate(
    body: EstimateRequest, resources: SharedResources, caller: Caller
) -> Response:
    """Estimates delivery dates of a lane: one result per carrier service, in order."""
    promise = resources.settings.promise_policy
    if body.promise_policy:
        promise = body.promise_policy.to_policy()
    pickup = body.estimated_pickup
    ordered_at = body.order_time or body.now_override or resources.clock()
    task = _EstimateTask(
        lane=body.to_shipment("lane", ordered_at),
        services=[carrier.to_service() for carrier in body.carriers],
        options=AssessmentOptions(
            coverage=body.confidence_level,
            promise=promise,
            desired_on=body.desired_delivery_date,
        ),
        pickup_schedule=pickup.to_pickup_schedule() if pickup else None,
        holidays=resources.settings.holidays,
    )
    estimates, current = await run_in_time(task.run, resources, caller, len(task.services))
    resources.metrics.count_answers(estimate.assessment.code for estimate in estimates)
    content = _estimate_content(body, task, estimates, current)
    if body.save:
        text = to_json(content).decode()
        command = SaveEstimate(caller.tenant, task.lane.ordered_at, current.version, text)
        content["id"] = await resources.writer.write(caller, save_estimates, command)
    return cached(content, _max_age(estimates, task.lane.ordered_at, current))


@router.post(
    "/order-estimates",
    response_model=OrderEstimateResponse,
    responses=problem_responses(*BODY_ERRORS),
    openapi_extra=openapi.ORDER_ESTIMATES,
)
async def create_order_estimate(
    body: OrderEstimateRequest, resources: SharedResources, caller: Caller
) -> Response:
    """Estimates when the first and last parcel of an order arrive, and each parcel's dates."""
    ordered_at = body.order_time or resources.clock()
    options = AssessmentOptions(
        coverage=body.confidence_level,
        promise=resources.settings.promise_policy,
        desired_on=body.desired_delivery_date,
    )
    parcels = body.to_order_parcels(ordered_at)
    estimate = partial(
        estimate_order,
        parcels,
        policy=DelayPolicy(),
        options=options,
        holidays=resources.settings.holidays,
    )
    estimated, current = await run_in_time(
        lambda model: estimate(model.predictor), resources, caller, len(parcels)
    )
    codes = (estimate.assessment.code for estimate in estimated.estimates)
    resources.metrics.count_answers(codes)
    results = [
        to_estimate(estimate, current, options, parcel.to_service(), ordered_at)
        for estimate, parcel in zip(estimated.estimates, body.parcels, strict=True)
    ]
    content = to_order_estimate(estimated, results, ordered_at, current, options)
    services = [parcel.service for parcel in parcels]
    content["messages"] = [
        *service_messages("parcels", services, current, ordered_at),
        *order_place_messages(parcels),
    ]
    return cached(content, _max_age(estimated.estimates, ordered_at, current))


@router.get(
    "/estimates/{estimate_id}",
    response_model=EstimateResponse,
    responses=problem_responses(*READ_ERRORS, 404),
    openapi_extra=openapi.STORED_ESTIMATE,
)
async def get_estimate(
    request: Request, resources: SharedResources, tenant: Tenant, estimate_id: Id
) -> Response:
    """Returns a saved estimate."""
    return unchanged_or(request, await _load_estimate(resources, tenant, estimate_id))


@router.get(
    "/estimates/{estimate_id}/schema-org",
    response_model=ShippingDeliveryTimes,
    responses=problem_responses(*READ_ERRORS, 404),
    openapi_extra=openapi.STORED_ESTIMATE,
)
async def get_estimate_schema_org(
    request: Request, resources: SharedResources, tenant: Tenant, estimate_id: Id
) -> Response:
    """Returns a saved estimate as schema.org `ShippingDeliveryTime`, for search engines."""
    estimate = await _load_estimate(resources, tenant, estimate_id)
    return unchanged_or(request, to_schema_org(estimate))


@router.post(
    "/ship-by",
    response_model=ShipByResponse,
    responses=problem_responses(*BODY_ERRORS),
    openapi_extra=openapi.SHIP_BY,
)
async def calculate_ship_by(
    body: ShipByRequest, resources: SharedResources, caller: Caller
) -> Response:
    """Calculates the latest hand-over for a desired date: one result per service, in order."""
    lane = body.to_shipment("lane", body.order_time or resources.clock())
    services = [carrier.to_service() for carrier in body.carriers]
    wish, holidays = body.wish(), resources.settings.holidays
    ship_bys, current = await run_batch(
        lambda model: find_ship_by(lane, services, model.served, **wish, holidays=holidays),
        resources,
        caller,
        len(services) * LOOK_BACK_DAYS,
    )
    resources.metrics.count_answers(ship_by.code for ship_by in ship_bys)
    results = [
        to_ship_by(ship_by, service) for ship_by, service in zip(ship_bys, services, strict=True)
    ]
    content = envelope("ship_by", lane.ordered_at, current, results)
    content["messages"] = [
        *service_messages("carriers", services, current, lane.ordered_at),
        *lane_messages(lane),
    ]
    return json_response(content)


@dataclass(frozen=True)
class _EstimateTask:
    """What an estimate is calculated from, except the model."""

    lane: Shipment
    services: list[CarrierService]
    options: AssessmentOptions
    pickup_schedule: PickupSchedule | None
    holidays: HolidayCalendar

    def run(self, model: ActiveModel) -> list[Estimate]:
        """The estimate of each service."""
        return estimate_delivery(
            self.lane,
            self.services,
            model.predictor,
            policy=DelayPolicy(),
            options=self.options,
            pickup_schedule=self.pickup_schedule,
            holidays=self.holidays,
        )


def _estimate_content(
    body: EstimateRequest, task: _EstimateTask, estimates: list[Estimate], current: ActiveModel
) -> dict[str, object]:
    """The fields of an ``EstimateResponse``, in its order."""
    ordered_at = task.lane.ordered_at
    results = [
        to_estimate(estimate, current, task.options, service, ordered_at)
        for estimate, service in zip(estimates, task.services, strict=True)
    ]
    assessments = [estimate.assessment for estimate in estimates]
    prices = [carrier.price for carrier in body.carriers]
    comparison = compare_services(assessments, prices)
    content = envelope("estimate", ordered_at, current, results)
    content["comparison"] = to_comparison(comparison)
    content["messages"] = [
        *service_messages("carriers", task.services, current, ordered_at),
        *choice_messages(current.seen_services, task.lane, task.services),
        *lane_messages(task.lane),
    ]
    return content


async def _load_estimate(resources: Resources, tenant: str, estimate_id: str) -> dict[str, Any]:
    """A saved estimate of a tenant.

    Raises:
        NotFound: if there is none.
    """
    text = await resources.read_pool.query(lambda session: session.estimate(tenant, estimate_id))
    if text is None:
        raise NotFound("estimate not found")
    return {**json.loads(text), "id": estimate_id}


def _max_age(estimates: Sequence[Estimate], ordered_at: datetime, current: ActiveModel) -> int:
    """Seconds until an order could get other dates; 0 if the fallback answers."""
    if current.is_degraded:
        return 0
    max_ages = [
        int((estimate.order_by - ordered_at).total_seconds())
        if estimate.order_by
        else MAX_AGE_SECONDS
        for estimate in estimates
    ]
    return min(max_ages)
