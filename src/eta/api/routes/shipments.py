"""Routes of recorded shipments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.dependencies import tenant_of, write_idempotently
from eta.api.openapi import OF_BODIES, OF_READING, problems
from eta.api.pagination import MOST_RESULTS, Cursor, Limit, open_cursor, parse_ids, seal_cursor
from eta.api.problem_details import unprocessable
from eta.api.schemas import shipments as shipment_schemas
from eta.api.schemas.common import reply
from eta.api.schemas.fields import Id, Moment
from eta.api.schemas.shipments import CorrectionSent, ShipmentSent
from eta.api.strict_route import StrictRoute
from eta.calendars.local_time import microseconds
from eta.delays import DelayPolicy
from eta.domain.errors import NotRecorded, StoreBusy, StoreUnavailable
from eta.domain.vocabulary import Status
from eta.model.hot_swap import Current
from eta.service.scoring.assessment import Terms
from eta.service.storage.idempotency import Said
from eta.service.storage.retention import Erasing, erase_shipments
from eta.service.tracking.forecast_history import Issuing, issue_forecasts, with_news
from eta.service.tracking.read_shipments import Telling, known_at, tell_shipments
from eta.service.tracking.register_shipments import (
    Correcting,
    Registered,
    Registering,
    correct_shipments,
    register_shipments,
)
from eta.store.records import StoredForecast, StoredShipment
from eta.store.session import Session

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/shipments",
    response_model=shipment_schemas.Registered,
    responses={201: {"model": shipment_schemas.Registered}, **problems(*OF_BODIES, 409)},
    openapi_extra=openapi.REGISTER,
)
async def register(request: Request, body: ShipmentSent) -> Response:
    """Registers a shipment: 201 if it was not there, 200 if it was, with the same facts, 409 if it was with others."""
    return await write_idempotently(
        request,
        register_shipments,
        Registering(tenant_of(request), body.to_registration()),
        _registered,
    )


@router.patch(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.Registered,
    responses=problems(*OF_BODIES, 404, 409),
    openapi_extra=openapi.CORRECT,
)
async def correct(request: Request, shipment_id: Id, body: CorrectionSent) -> Response:
    """Says something else of a shipment from now on; what was said before stays on record."""
    return await write_idempotently(
        request,
        correct_shipments,
        Correcting(tenant_of(request), shipment_id, body.to_changes()),
        _registered,
    )


@router.get(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.Shipment,
    responses=problems(*OF_READING, 404),
    openapi_extra=openapi.READ,
)
async def shipment(
    request: Request,
    shipment_id: Id,
    as_of: Annotated[Moment | None, Query(description="As was known then; default: now.")] = None,
) -> Response:
    """A shipment: its journey, its forecast, and what was said of it before."""
    told, current, at = await _tell(
        request,
        lambda session: session.shipments(tenant_of(request), "shipment_id", [shipment_id]),
        as_of,
    )
    if not told:
        raise NotRecorded("there is no such shipment")
    return Response(
        to_json(shipment_schemas.shipment(told[0], current, at, _terms(request))),
        media_type="application/json",
    )


@router.get(
    "/shipments",
    response_model=shipment_schemas.Shipments,
    responses=problems(*OF_READING),
    openapi_extra=openapi.READ,
)
async def shipments(
    request: Request,
    ids: Annotated[
        str | None,
        Query(max_length=8_192, description=f"Up to {MOST_RESULTS} ids, comma-separated."),
    ] = None,
    external_ids: Annotated[
        str | None,
        Query(
            max_length=8_192,
            description=f"Up to {MOST_RESULTS} of the shop's own numbers, comma-separated.",
        ),
    ] = None,
    status: Status | None = None,
    as_of: Annotated[Moment | None, Query(description="As was known then; default: now.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Shipments by their ids, in no order, or page by page; those that are not there are left out."""
    tenant, secret = tenant_of(request), request.app.state.store.secret
    after = open_cursor(secret, tenant, cursor)

    last: list[str] = []

    def chosen(session: Session) -> list[StoredShipment]:
        if ids is not None:
            return session.shipments(tenant, "shipment_id", parse_ids("ids", ids))
        if external_ids is not None:
            return session.shipments(tenant, "external_id", parse_ids("external_ids", external_ids))
        found = session.page(tenant, after, limit, status=status.value if status else None)
        # Of those, some may have been registered after the moment of the answer: the next page
        # begins after them all the same.
        last[:] = [found[-1].shipment_id] if len(found) == limit else []
        return found

    if sum(each is not None for each in (ids, external_ids, status)) > 1 or (
        (ids or external_ids) is not None and cursor is not None
    ):
        raise unprocessable(
            ["query"],
            "exclusive",
            "ids, external_ids and pages exclude each other; send one of them",
        )
    if status is Status.EXPIRED:
        raise unprocessable(
            ["query", "status"],
            "enum",
            "expired is no status that carriers tell; send another, and look at confidence_code",
        )
    told, current, at = await _tell(request, chosen, as_of)
    more = seal_cursor(secret, tenant, last[0]) if last else None
    results = [shipment_schemas.shipment(telling, current, at, _terms(request)) for telling in told]
    return Response(
        to_json({**reply("Shipments", at, current, results), "next_cursor": more}),
        media_type="application/json",
    )


@router.delete(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.Erased,
    responses=problems(*OF_READING, 404),
    openapi_extra=openapi.ERASE,
)
async def erase(request: Request, shipment_id: Id) -> Response:
    """Erases a shipment with all that was told and said of it."""
    return await _erase(request, "shipment_id", shipment_id)


@router.delete(
    "/shipments",
    response_model=shipment_schemas.Erased,
    responses=problems(*OF_READING, 404),
    openapi_extra=openapi.ERASE,
)
async def erase_by_number(
    request: Request, external_id: Annotated[Id, Query(description="The shop's own number.")]
) -> Response:
    """Erases the shipment with the shop's own number, with all that was told and said of it."""
    return await _erase(request, "external_id", external_id)


def _registered(done: Registered) -> Said:
    body = to_json({"object": "Registered", "id": done.shipment_id, "is_new": done.is_new}).decode()
    return Said(201 if done.is_new else 200, body)


async def _tell(
    request: Request, choose: Callable[[Session], list[StoredShipment]], as_of: datetime | None
) -> tuple[list[Telling], Current, datetime]:
    """What there is to say of shipments; what is news, and is said as of now, is kept."""
    state = request.app.state
    current: Current = state.serving.current
    now: datetime = await state.readers.run(state.store.as_of)
    if as_of is not None and as_of > now:
        raise unprocessable(
            ["query", "as_of"],
            "date_out_of_range",
            "nothing is known of the future; send a moment that has passed, or nothing",
        )
    at = as_of or now

    def tell() -> list[Telling]:
        known = state.store.read(
            lambda session: known_at(session, tenant_of(request), choose(session), at)
        )
        return tell_shipments(
            known, current.answering, at, policy=DelayPolicy(), terms=_terms(request)
        )

    told: list[Telling] = await state.readers.run(tell)
    state.metrics.count_answers(telling.answer.code for telling in told)
    if as_of is None:
        fresh = [with_news(telling, microseconds(at), current.version) for telling in told]
        await _issue(
            request,
            [
                after.known.forecasts[-1]
                for before, after in zip(told, fresh, strict=True)
                if after is not before
            ],
        )
        told = fresh
    return told, current, at


def _terms(request: Request) -> Terms:
    return Terms(promise=request.app.state.settings.promise_policy)


async def _issue(request: Request, forecasts: Sequence[StoredForecast]) -> None:
    """Keeps what is news. An answer that cannot be kept is given all the same, and counted: reading goes on when the disk is full."""
    state = request.app.state
    if forecasts:
        try:
            issuing = Issuing(tenant_of(request), forecasts)
            await state.written.result(
                state.store.submit(issue_forecasts, issuing, weight=len(forecasts))
            )
        except (StoreBusy, StoreUnavailable):
            state.metrics.unkept.inc(len(forecasts))


async def _erase(request: Request, column: str, value: str) -> Response:
    state = request.app.state
    count = await state.written.result(
        state.store.submit(erase_shipments, Erasing(tenant_of(request), column, value))
    )
    if not count:
        raise NotRecorded("there is no such shipment")
    return Response(
        to_json({"object": "Erased", "shipments": count}), media_type="application/json"
    )
