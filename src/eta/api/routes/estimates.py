"""Routes of estimates before the purchase."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.executors import ESTIMATE_TIMEOUT_SECONDS
from eta.api.http_caching import cached, unchanged_or
from eta.api.openapi import BODY_ERRORS, READ_ERRORS, problems
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
    to_messages,
    to_order_estimate,
    to_schema_org,
    to_ship_by,
)
from eta.api.schemas.fields import Id
from eta.api.strict_route import StrictRoute
from eta.delays import DelayPolicy
from eta.domain.errors import NotFound
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
from eta.service.scoring.assessment import AssessmentOptions
from eta.settings import Settings

#: Seconds for which dates hold where no cut-off is declared.
MAX_AGE_SECONDS = 60
router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/estimates",
    response_model=EstimateResponse,
    responses=problems(*BODY_ERRORS),
    openapi_extra=openapi.ESTIMATES,
)
async def create_estimate(request: Request, body: EstimateRequest) -> Response:
    """Dates for one lane and several carrier services, as of the moment of the order: one result a service, in order."""
    state = request.app.state
    current: ActiveModel = state.model_loader.current
    settings: Settings = state.settings
    promise = body.promise_policy.to_policy() if body.promise_policy else settings.promise_policy
    options = AssessmentOptions(
        coverage=body.confidence_level, promise=promise, desired_on=body.desired_delivery_date
    )
    lane = body.to_shipment("lane", body.order_time or body.now_override or state.clock())
    services = [carrier.to_service() for carrier in body.carriers]
    pickup_schedule = body.estimated_pickup.to_pickup_schedule() if body.estimated_pickup else None

    def quote(model: ActiveModel) -> tuple[list[Estimate], ActiveModel]:
        estimates = estimate_delivery(
            lane,
            services,
            model.predictor,
            policy=DelayPolicy(),
            options=options,
            pickup_schedule=pickup_schedule,
            holidays=settings.holidays,
        )
        return estimates, model

    if current.served and current.fallback:
        quotes, current = await state.estimate_executor.run_with_timeout(
            ESTIMATE_TIMEOUT_SECONDS, partial(quote, current), partial(quote, current.as_fallback())
        )
    else:
        quotes, current = await state.batch_executor.run(partial(quote, current), len(services))
    state.metrics.count_answers(quote.assessment.code for quote in quotes)
    comparison = compare_services(
        [quote.assessment for quote in quotes], [carrier.price for carrier in body.carriers]
    )
    results = [
        to_estimate(
            quote, current, options, service.carrier, service.service_level, lane.ordered_at
        )
        for quote, service in zip(quotes, services, strict=True)
    ]
    response_body = envelope("estimate", lane.ordered_at, current, results)
    response_body |= {"comparison": to_comparison(comparison), "messages": to_messages(comparison)}
    if body.save:
        saved_estimate = SaveEstimate(
            request.state.principal.tenant,
            lane.ordered_at,
            current.version,
            to_json(response_body).decode(),
        )
        response_body["id"] = await state.write_completions.result(
            state.store.submit(save_estimates, saved_estimate)
        )
    return cached(response_body, _max_age(quotes, lane.ordered_at, current))


@router.post(
    "/order-estimates",
    response_model=OrderEstimateResponse,
    responses=problems(*BODY_ERRORS),
    openapi_extra=openapi.ORDER_ESTIMATES,
)
async def create_order_estimate(request: Request, body: OrderEstimateRequest) -> Response:
    """Dates of the first and the last parcel of an order that travels as several, as of the moment of the order, and those of each piece."""
    state, current = request.app.state, request.app.state.model_loader.current
    settings: Settings = state.settings
    options = AssessmentOptions(
        coverage=body.confidence_level,
        promise=settings.promise_policy,
        desired_on=body.desired_delivery_date,
    )
    ordered_at = body.order_time or state.clock()
    parcels = [
        parcel.to_order_parcel(body.destination_address, ordered_at) for parcel in body.parcels
    ]
    work = partial(
        estimate_order,
        parcels,
        current.predictor,
        policy=DelayPolicy(),
        options=options,
        holidays=settings.holidays,
    )
    quote = await state.batch_executor.run(work, len(parcels))
    state.metrics.count_answers(estimate.assessment.code for estimate in quote.estimates)
    results = [
        to_estimate(
            estimate,
            current,
            options,
            parcel.service.carrier,
            parcel.service.service_level,
            ordered_at,
        )
        for estimate, parcel in zip(quote.estimates, parcels, strict=True)
    ]
    return cached(
        to_order_estimate(quote, results, ordered_at, current, options),
        _max_age(quote.estimates, ordered_at, current),
    )


@router.get(
    "/estimates/{estimate_id}",
    response_model=EstimateResponse,
    responses=problems(*READ_ERRORS, 404),
    openapi_extra=openapi.STORED_ESTIMATE,
)
async def get_estimate(request: Request, estimate_id: Id) -> Response:
    """An estimate as it was shown."""
    return unchanged_or(request, await _load_estimate(request, estimate_id))


@router.get(
    "/estimates/{estimate_id}/schema-org",
    response_model=ShippingDeliveryTimes,
    responses=problems(*READ_ERRORS, 404),
    openapi_extra=openapi.STORED_ESTIMATE,
)
async def get_estimate_schema_org(request: Request, estimate_id: Id) -> Response:
    """The same for a page that search engines read: one `ShippingDeliveryTime` (schema.org) a service that has dates."""
    return unchanged_or(request, to_schema_org(await _load_estimate(request, estimate_id)))


@router.post(
    "/ship-by",
    response_model=ShipByResponse,
    responses=problems(*BODY_ERRORS),
    openapi_extra=openapi.SHIP_BY,
)
async def calculate_ship_by(request: Request, body: ShipByRequest) -> Response:
    """The latest hand-over that brings a parcel by a wanted day as often as is asked: one result a service, in order."""
    state, current = request.app.state, request.app.state.model_loader.current
    lane = body.to_shipment("lane", body.order_time or state.clock())
    services = [carrier.to_service() for carrier in body.carriers]
    desired_on, level, handover = body.desired_delivery_date, body.probability, body.handover_time
    work = partial(
        find_ship_by,
        lane,
        services,
        current.served,
        desired_on=desired_on,
        level=level,
        handover=handover,
        holidays=state.settings.holidays,
    )
    answers = await state.batch_executor.run(work, len(services) * LOOK_BACK_DAYS)
    results = [
        to_ship_by(answer, service.carrier, service.service_level)
        for answer, service in zip(answers, services, strict=True)
    ]
    state.metrics.count_answers(answer.code for answer in answers)
    return Response(
        to_json(envelope("ship_by", lane.ordered_at, current, results)),
        media_type="application/json",
    )


async def _load_estimate(request: Request, estimate_id: str) -> dict[str, Any]:
    """The estimate that a tenant showed.

    Raises:
        NotRecorded: if there is none.
    """
    tenant = request.state.principal.tenant
    answer = await request.app.state.read_pool.query(
        lambda session: session.estimate(tenant, estimate_id)
    )
    if answer is None:
        raise NotFound("there is no such estimate")
    return {**json.loads(answer), "id": estimate_id}


def _max_age(quotes: Sequence[Estimate], ordered_at: datetime, current: ActiveModel) -> int:
    """For how long an order would be told the same; 0 where no model answers."""
    if current.is_degraded:
        return 0
    return min(
        int((quote.order_by - ordered_at).total_seconds()) if quote.order_by else MAX_AGE_SECONDS
        for quote in quotes
    )
