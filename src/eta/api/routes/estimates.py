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
from eta.api.executors import ESTIMATE_SECONDS
from eta.api.http_caching import cached, unchanged_or
from eta.api.openapi import OF_BODIES, OF_READING, problems
from eta.api.schemas.common import reply
from eta.api.schemas.estimates import (
    EstimateRequest,
    Estimates,
    OrderEstimate,
    OrderEstimateRequest,
    ShipByRequest,
    ShipBys,
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
from eta.domain.errors import NotRecorded
from eta.model.hot_swap import Current
from eta.service.estimates.compare_services import compare_services
from eta.service.estimates.estimate_delivery import Quote, Showing, keep_estimates, quote_delivery
from eta.service.estimates.estimate_order import quote_order
from eta.service.estimates.find_ship_by import LOOK_BACK_DAYS, find_ship_by
from eta.service.scoring.assessment import Terms
from eta.settings import Settings

#: Seconds for which dates hold where no cut-off is declared.
HOLD_SECONDS = 60
router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/estimates",
    response_model=Estimates,
    responses=problems(*OF_BODIES),
    openapi_extra=openapi.ESTIMATES,
)
async def estimates(request: Request, body: EstimateRequest) -> Response:
    """Dates for one lane and several carrier services, as of the moment of the order: one result a service, in order."""
    state = request.app.state
    current: Current = state.serving.current
    settings: Settings = state.settings
    promise = body.draft.to_policy() if body.draft else settings.promise_policy
    terms = Terms(
        coverage=body.confidence_level, promise=promise, wanted_on=body.desired_delivery_date
    )
    lane = body.to_shipment("lane", body.order_time or body.now_override or state.clock())
    services = [carrier.to_service() for carrier in body.carriers]
    warehouse = body.estimated_pickup.to_warehouse() if body.estimated_pickup else None

    def quote(answering: Current) -> tuple[list[Quote], Current]:
        told = quote_delivery(
            lane,
            services,
            answering.answering,
            policy=DelayPolicy(),
            terms=terms,
            warehouse=warehouse,
            holidays=settings.holidays,
        )
        return told, answering

    if current.served and current.fallback:
        quotes, current = await state.quotes.run_within(
            ESTIMATE_SECONDS, partial(quote, current), partial(quote, current.without_model())
        )
    else:
        quotes, current = await state.workers.run(partial(quote, current), len(services))
    state.metrics.count_answers(quote.answer.code for quote in quotes)
    comparison = compare_services(
        [quote.answer for quote in quotes], [carrier.price for carrier in body.carriers]
    )
    results = [
        to_estimate(quote, current, terms, service.carrier, service.service_level, lane.ordered_at)
        for quote, service in zip(quotes, services, strict=True)
    ]
    answered = reply("Estimate", lane.ordered_at, current, results)
    answered |= {"comparison": to_comparison(comparison), "messages": to_messages(comparison)}
    if body.is_shown:
        shown = Showing(
            request.state.caller.tenant,
            lane.ordered_at,
            current.version,
            to_json(answered).decode(),
        )
        answered["id"] = await state.written.result(state.store.submit(keep_estimates, shown))
    return cached(answered, _seconds_left(quotes, lane.ordered_at, current))


@router.post(
    "/order-estimates",
    response_model=OrderEstimate,
    responses=problems(*OF_BODIES),
    openapi_extra=openapi.ORDER_ESTIMATES,
)
async def order_estimates(request: Request, body: OrderEstimateRequest) -> Response:
    """Dates of the first and the last parcel of an order that travels as several, as of the moment of the order, and those of each piece."""
    state, current = request.app.state, request.app.state.serving.current
    settings: Settings = state.settings
    terms = Terms(
        coverage=body.confidence_level,
        promise=settings.promise_policy,
        wanted_on=body.desired_delivery_date,
    )
    ordered_at = body.order_time or state.clock()
    pieces = [piece.to_piece(body.destination_address, ordered_at) for piece in body.pieces]
    work = partial(
        quote_order,
        pieces,
        current.answering,
        policy=DelayPolicy(),
        terms=terms,
        holidays=settings.holidays,
    )
    quote = await state.workers.run(work, len(pieces))
    state.metrics.count_answers(each.answer.code for each in quote.quotes)
    results = [
        to_estimate(
            each, current, terms, piece.service.carrier, piece.service.service_level, ordered_at
        )
        for each, piece in zip(quote.quotes, pieces, strict=True)
    ]
    return cached(
        to_order_estimate(quote, results, ordered_at, current, terms),
        _seconds_left(quote.quotes, ordered_at, current),
    )


@router.get(
    "/estimates/{estimate_id}",
    response_model=Estimates,
    responses=problems(*OF_READING, 404),
    openapi_extra=openapi.SHOWN,
)
async def estimate(request: Request, estimate_id: Id) -> Response:
    """An estimate as it was shown."""
    return unchanged_or(request, await _kept(request, estimate_id))


@router.get(
    "/estimates/{estimate_id}/schema-org",
    response_model=ShippingDeliveryTimes,
    responses=problems(*OF_READING, 404),
    openapi_extra=openapi.SHOWN,
)
async def estimate_schema_org(request: Request, estimate_id: Id) -> Response:
    """The same for a page that search engines read: one `ShippingDeliveryTime` (schema.org) a service that has dates."""
    return unchanged_or(request, to_schema_org(await _kept(request, estimate_id)))


@router.post(
    "/ship-by",
    response_model=ShipBys,
    responses=problems(*OF_BODIES),
    openapi_extra=openapi.SHIP_BY,
)
async def ship_by(request: Request, body: ShipByRequest) -> Response:
    """The latest hand-over that brings a parcel by a wanted day as often as is asked: one result a service, in order."""
    state, current = request.app.state, request.app.state.serving.current
    lane = body.to_shipment("lane", body.order_time or state.clock())
    services = [carrier.to_service() for carrier in body.carriers]
    wanted_on, level, handover = body.desired_delivery_date, body.probability, body.handover_time
    work = partial(
        find_ship_by,
        lane,
        services,
        current.served,
        wanted_on=wanted_on,
        level=level,
        handover=handover,
        holidays=state.settings.holidays,
    )
    told = await state.workers.run(work, len(services) * LOOK_BACK_DAYS)
    results = [
        to_ship_by(answer, service.carrier, service.service_level)
        for answer, service in zip(told, services, strict=True)
    ]
    state.metrics.count_answers(answer.code for answer in told)
    return Response(
        to_json(reply("ShipBy", lane.ordered_at, current, results)), media_type="application/json"
    )


async def _kept(request: Request, estimate_id: str) -> dict[str, Any]:
    """The estimate that a tenant showed.

    Raises:
        NotRecorded: if there is none.
    """
    tenant = request.state.caller.tenant
    answer = await request.app.state.readers.ask(
        lambda session: session.estimate(tenant, estimate_id)
    )
    if answer is None:
        raise NotRecorded("there is no such estimate")
    return {**json.loads(answer), "id": estimate_id}


def _seconds_left(quotes: Sequence[Quote], ordered_at: datetime, current: Current) -> int:
    """For how long an order would be told the same; 0 where no model answers."""
    if current.is_degraded:
        return 0
    return min(
        int((quote.order_by - ordered_at).total_seconds()) if quote.order_by else HOLD_SECONDS
        for quote in quotes
    )
