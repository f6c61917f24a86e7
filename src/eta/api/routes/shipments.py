"""Routes of recorded shipments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.dependencies import tenant_of, write_idempotently
from eta.api.openapi import BODY_ERRORS, READ_ERRORS, problems
from eta.api.pagination import MAX_PAGE_SIZE, Cursor, Limit, open_cursor, parse_ids, seal_cursor
from eta.api.problem_details import validation_problem
from eta.api.schemas import shipments as shipment_schemas
from eta.api.schemas.common import envelope
from eta.api.schemas.fields import Id, UtcDatetime
from eta.api.schemas.shipments import ShipmentCreate, ShipmentUpdate
from eta.api.strict_route import StrictRoute
from eta.calendars.local_time import microseconds
from eta.delays import DelayPolicy
from eta.domain.errors import NotFound, StoreBusy, StoreUnavailable
from eta.domain.vocabulary import Status
from eta.model.hot_swap import ActiveModel
from eta.service.scoring.assessment import AssessmentOptions
from eta.service.storage.idempotency import WriteResponse
from eta.service.storage.retention import EraseShipments, erase_shipments
from eta.service.tracking.forecast_history import (
    SaveForecasts,
    save_forecasts,
    with_latest_forecast,
)
from eta.service.tracking.read_shipments import ShipmentView, shipment_histories, view_shipments
from eta.service.tracking.register_shipments import (
    RegisteredShipment,
    RegisterShipment,
    UpdateShipment,
    register_shipments,
    update_shipments,
)
from eta.store.records import StoredForecast, StoredShipment
from eta.store.session import Session

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/shipments",
    response_model=shipment_schemas.ShipmentReference,
    responses={201: {"model": shipment_schemas.ShipmentReference}, **problems(*BODY_ERRORS, 409)},
    openapi_extra=openapi.CREATE_SHIPMENT,
)
async def create_shipment(request: Request, body: ShipmentCreate) -> Response:
    """Registers a shipment: 201 if it was not there, 200 if it was, with the same facts, 409 if it was with others."""
    return await write_idempotently(
        request,
        register_shipments,
        RegisterShipment(tenant_of(request), body.to_registration()),
        _shipment_reference,
    )


@router.patch(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.ShipmentReference,
    responses=problems(*BODY_ERRORS, 404, 409),
    openapi_extra=openapi.UPDATE_SHIPMENT,
)
async def update_shipment(request: Request, shipment_id: Id, body: ShipmentUpdate) -> Response:
    """Says something else of a shipment from now on; what was said before stays on record."""
    return await write_idempotently(
        request,
        update_shipments,
        UpdateShipment(tenant_of(request), shipment_id, body.to_changes()),
        _shipment_reference,
    )


@router.get(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.Shipment,
    responses=problems(*READ_ERRORS, 404),
    openapi_extra=openapi.READ,
)
async def get_shipment(
    request: Request,
    shipment_id: Id,
    as_of: Annotated[
        UtcDatetime | None, Query(description="As was known then; default: now.")
    ] = None,
) -> Response:
    """A shipment: its journey, its forecast, and what was said of it before."""
    views, current, at = await _view_shipments(
        request,
        lambda session: session.shipments(tenant_of(request), "shipment_id", [shipment_id]),
        as_of,
    )
    if not views:
        raise NotFound("there is no such shipment")
    return Response(
        to_json(shipment_schemas.to_shipment(views[0], current, at, _terms(request))),
        media_type="application/json",
    )


@router.get(
    "/shipments",
    response_model=shipment_schemas.ShipmentList,
    responses=problems(*READ_ERRORS),
    openapi_extra=openapi.READ,
)
async def list_shipments(
    request: Request,
    ids: Annotated[
        str | None,
        Query(max_length=8_192, description=f"Up to {MAX_PAGE_SIZE} ids, comma-separated."),
    ] = None,
    external_ids: Annotated[
        str | None,
        Query(
            max_length=8_192,
            description=f"Up to {MAX_PAGE_SIZE} of the shop's own numbers, comma-separated.",
        ),
    ] = None,
    status: Status | None = None,
    as_of: Annotated[
        UtcDatetime | None, Query(description="As was known then; default: now.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Shipments by their ids, in no order, or page by page; those that are not there are left out."""
    tenant, secret = tenant_of(request), request.app.state.store.secret
    after = open_cursor(secret, tenant, cursor)

    last: list[str] = []

    def select_shipments(session: Session) -> list[StoredShipment]:
        if ids is not None:
            return session.shipments(tenant, "shipment_id", parse_ids("ids", ids))
        if external_ids is not None:
            return session.shipments(tenant, "external_id", parse_ids("external_ids", external_ids))
        page = session.page(tenant, after, limit, status=status.value if status else None)
        # Of those, some may have been registered after the moment of the answer: the next page
        # begins after them all the same.
        last[:] = [page[-1].shipment_id] if len(page) == limit else []
        return page

    if sum(selector is not None for selector in (ids, external_ids, status)) > 1 or (
        (ids or external_ids) is not None and cursor is not None
    ):
        raise validation_problem(
            ["query"],
            "exclusive",
            "ids, external_ids and pages exclude each other; send one of them",
        )
    if status is Status.EXPIRED:
        raise validation_problem(
            ["query", "status"],
            "enum",
            "expired is no status that carriers tell; send another, and look at confidence_code",
        )
    views, current, at = await _view_shipments(request, select_shipments, as_of)
    more = seal_cursor(secret, tenant, last[0]) if last else None
    results = [shipment_schemas.to_shipment(view, current, at, _terms(request)) for view in views]
    return Response(
        to_json({**envelope("list", at, current, results), "next_cursor": more}),
        media_type="application/json",
    )


@router.delete(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.DeletedCount,
    responses=problems(*READ_ERRORS, 404),
    openapi_extra=openapi.DELETE_SHIPMENT,
)
async def delete_shipment(request: Request, shipment_id: Id) -> Response:
    """Erases a shipment with all that was told and said of it."""
    return await _delete(request, "shipment_id", shipment_id)


@router.delete(
    "/shipments",
    response_model=shipment_schemas.DeletedCount,
    responses=problems(*READ_ERRORS, 404),
    openapi_extra=openapi.DELETE_SHIPMENT,
)
async def delete_shipment_by_external_id(
    request: Request, external_id: Annotated[Id, Query(description="The shop's own number.")]
) -> Response:
    """Erases the shipment with the shop's own number, with all that was told and said of it."""
    return await _delete(request, "external_id", external_id)


def _shipment_reference(done: RegisteredShipment) -> WriteResponse:
    body = to_json({"object": "shipment", "id": done.shipment_id, "created": done.created}).decode()
    return WriteResponse(201 if done.created else 200, body)


async def _view_shipments(
    request: Request,
    select_shipments: Callable[[Session], list[StoredShipment]],
    as_of: datetime | None,
) -> tuple[list[ShipmentView], ActiveModel, datetime]:
    """What there is to say of shipments; what is news, and is said as of now, is kept."""
    state = request.app.state
    current: ActiveModel = state.model_loader.current
    now: datetime = await state.read_pool.run(state.store.safe_now)
    if as_of is not None and as_of > now:
        raise validation_problem(
            ["query", "as_of"],
            "date_out_of_range",
            "nothing is known of the future; send a moment that has passed, or nothing",
        )
    at = as_of or now

    def make_views() -> list[ShipmentView]:
        histories = state.store.read(
            lambda session: shipment_histories(
                session, tenant_of(request), select_shipments(session), at
            )
        )
        return view_shipments(
            histories, current.predictor, at, policy=DelayPolicy(), options=_terms(request)
        )

    views: list[ShipmentView] = await state.read_pool.run(make_views)
    state.metrics.count_answers(shipment_view.assessment.code for shipment_view in views)
    if as_of is None:
        updated = [
            with_latest_forecast(shipment_view, microseconds(at), current.version)
            for shipment_view in views
        ]
        await _save_forecasts(
            request,
            [
                after.history.forecasts[-1]
                for before, after in zip(views, updated, strict=True)
                if after is not before
            ],
        )
        views = updated
    return views, current, at


def _terms(request: Request) -> AssessmentOptions:
    return AssessmentOptions(promise=request.app.state.settings.promise_policy)


async def _save_forecasts(request: Request, forecasts: Sequence[StoredForecast]) -> None:
    """Keeps what is news. An answer that cannot be kept is given all the same, and counted: reading goes on when the disk is full."""
    state = request.app.state
    if forecasts:
        try:
            work_item = SaveForecasts(tenant_of(request), forecasts)
            await state.write_completions.result(
                state.store.submit(save_forecasts, work_item, weight=len(forecasts))
            )
        except (StoreBusy, StoreUnavailable):
            state.metrics.forecast_writes_failed.inc(len(forecasts))


async def _delete(request: Request, column: str, value: str) -> Response:
    state = request.app.state
    count = await state.write_completions.result(
        state.store.submit(erase_shipments, EraseShipments(tenant_of(request), column, value))
    )
    if not count:
        raise NotFound("there is no such shipment")
    return Response(to_json({"deleted": count}), media_type="application/json")
