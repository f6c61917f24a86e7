"""Routes of recorded shipments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.dependencies import (
    Caller,
    Resources,
    SharedResources,
    Tenant,
    Write,
    json_response,
    write_idempotently,
)
from eta.api.metrics import RowKind
from eta.api.model_calls import run_with_model
from eta.api.openapi import BODY_ERRORS, READ_ERRORS, problem_responses
from eta.api.pagination import MAX_PAGE_SIZE, Cursor, Limit, open_cursor, parse_ids, seal_cursor
from eta.api.problem_details import ProblemError, validation_problem
from eta.api.schemas import shipments as shipment_schemas
from eta.api.schemas.common import envelope
from eta.api.schemas.fields import Id, UtcQueryDatetime
from eta.api.schemas.messages import shipment_messages
from eta.api.schemas.shipments import ShipmentCreate, ShipmentUpdate
from eta.api.strict_route import StrictRoute
from eta.calendars.local_time import microseconds
from eta.delays import DelayPolicy
from eta.domain.access import Principal
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
    with_recorded_flag,
)
from eta.service.tracking.read_shipments import (
    PageQuery,
    ShipmentHistory,
    ShipmentView,
    page_of_histories,
    shipment_histories,
    view_shipments,
)
from eta.service.tracking.register_shipments import (
    RegisteredShipment,
    RegisterShipment,
    UpdateShipment,
    register_shipments,
    update_shipments,
)
from eta.store.session import Session

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])

#: Reads what was known of some shipments at a moment.
ReadHistories = Callable[[Session, datetime], list[ShipmentHistory]]

_MAX_IDS_LENGTH = 8_192
_NOT_FOUND = "shipment not found"

AsOf = Annotated[
    UtcQueryDatetime | None, Query(description="Use only what was received by then; default: now.")
]
Ids = Annotated[
    str | None,
    Query(
        max_length=_MAX_IDS_LENGTH,
        description=f"Up to {MAX_PAGE_SIZE} ids, comma-separated.",
    ),
]
ExternalIds = Annotated[
    str | None,
    Query(
        max_length=_MAX_IDS_LENGTH,
        description=f"Up to {MAX_PAGE_SIZE} of the shop's own numbers, comma-separated.",
    ),
]


@router.post(
    "/shipments",
    response_model=shipment_schemas.ShipmentReference,
    responses={
        201: {"model": shipment_schemas.ShipmentReference},
        **problem_responses(*BODY_ERRORS, 409),
    },
    openapi_extra=openapi.CREATE_SHIPMENT,
)
async def create_shipment(
    request: Request, body: ShipmentCreate, resources: SharedResources, tenant: Tenant
) -> Response:
    """Registers a shipment: 201 if it is new, 200 if it exists unchanged, 409 if it differs."""
    command = RegisterShipment(tenant, body.to_registration())
    # A request with the idempotency key of an earlier one is a repetition.
    kinds, current = [RowKind.DUPLICATE], resources.active_model

    def respond(registered: RegisteredShipment) -> WriteResponse:
        kinds[:] = [RowKind.ACCEPTED if registered.created else RowKind.DUPLICATE]
        return _shipment_reference(registered, current=current)

    response = await write_idempotently(request, Write(register_shipments, command, respond))
    resources.metrics.count_rows(kinds)
    return response


@router.patch(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.ShipmentReference,
    responses=problem_responses(*BODY_ERRORS, 404, 409),
    openapi_extra=openapi.UPDATE_SHIPMENT,
)
async def update_shipment(
    request: Request,
    shipment_id: Id,
    body: ShipmentUpdate,
    resources: SharedResources,
    tenant: Tenant,
) -> Response:
    """Updates a shipment from now on; earlier versions stay on record."""
    command = UpdateShipment(tenant, shipment_id, body.to_changes())
    to_response = partial(_shipment_reference, current=resources.active_model)
    return await write_idempotently(request, Write(update_shipments, command, to_response))


@router.get(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.Shipment,
    responses=problem_responses(*READ_ERRORS, 404),
    openapi_extra=openapi.READ,
)
async def get_shipment(
    resources: SharedResources, caller: Caller, shipment_id: Id, as_of: AsOf = None
) -> Response:
    """Returns a shipment: its events, its forecast, and its earlier forecasts."""

    def read_history(session: Session, at: datetime) -> list[ShipmentHistory]:
        shipments = session.shipments(caller.tenant, "shipment_id", [shipment_id])
        return shipment_histories(session, caller.tenant, shipments, at)

    answer = await _view_shipments(resources, caller, read_history, as_of)
    if not answer.views:
        raise NotFound(_NOT_FOUND)
    return json_response(answer.to_shipments()[0])


@router.get(
    "/shipments",
    response_model=shipment_schemas.ShipmentList,
    responses=problem_responses(*READ_ERRORS),
    openapi_extra=openapi.READ,
)
async def list_shipments(
    resources: SharedResources,
    caller: Caller,
    ids: Ids = None,
    external_ids: ExternalIds = None,
    status: Status | None = None,
    as_of: AsOf = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Lists shipments by ids, in no particular order, or page by page; omits unknown ids."""
    secret, tenant = resources.store.secret, caller.tenant
    after = open_cursor(secret, tenant, cursor)
    # Checked here: no thread of the store is taken for a request that is refused.
    id_list = None if ids is None else parse_ids("ids", ids)
    external_id_list = None if external_ids is None else parse_ids("external_ids", external_ids)
    selection = _Selection(tenant, id_list, external_id_list, status, after, limit, as_of)
    _check_selection(selection, has_cursor=cursor is not None)
    answer = await _view_shipments(resources, caller, selection.histories, as_of)
    content = envelope("list", answer.as_of, answer.current, answer.to_shipments())
    last_id = selection.last_id
    content["next_cursor"] = None if last_id is None else seal_cursor(secret, tenant, last_id)
    return json_response(content)


@router.delete(
    "/shipments/{shipment_id}",
    response_model=shipment_schemas.DeletedCount,
    responses=problem_responses(*READ_ERRORS, 404),
    openapi_extra=openapi.DELETE_SHIPMENT,
)
async def delete_shipment(resources: SharedResources, caller: Caller, shipment_id: Id) -> Response:
    """Deletes a shipment with its events and forecasts."""
    return await _delete(
        resources, caller, EraseShipments(caller.tenant, "shipment_id", shipment_id)
    )


@router.delete(
    "/shipments",
    response_model=shipment_schemas.DeletedCount,
    responses=problem_responses(*READ_ERRORS, 404),
    openapi_extra=openapi.DELETE_SHIPMENT,
)
async def delete_shipment_by_external_id(
    resources: SharedResources,
    caller: Caller,
    external_id: Annotated[Id, Query(description="The shop's own number.")],
) -> Response:
    """Deletes the shipment with the shop's own number, with its events and forecasts."""
    return await _delete(
        resources, caller, EraseShipments(caller.tenant, "external_id", external_id)
    )


def _shipment_reference(registered: RegisteredShipment, current: ActiveModel) -> WriteResponse:
    content = {
        "object": "shipment",
        "id": registered.shipment_id,
        "created": registered.created,
        "messages": shipment_messages(current, registered.carrier, registered.service_level),
    }
    return WriteResponse(201 if registered.created else 200, to_json(content).decode())


@dataclass
class _Selection:
    """The shipments of a list request, and the last id of a page that is not the last one."""

    tenant: str
    ids: list[str] | None
    external_ids: list[str] | None
    status: Status | None
    #: A page begins after this id.
    after: str
    limit: int
    #: None: now.
    as_of: datetime | None
    last_id: str | None = None

    def histories(self, session: Session, at: datetime) -> list[ShipmentHistory]:
        """What was known of the selected shipments at a moment."""
        if self.ids is not None:
            shipments = session.shipments(self.tenant, "shipment_id", self.ids)
            return shipment_histories(session, self.tenant, shipments, at)
        if self.external_ids is not None:
            shipments = session.shipments(self.tenant, "external_id", self.external_ids)
            return shipment_histories(session, self.tenant, shipments, at)
        status = self.status.value if self.status else None
        is_past = self.as_of is not None
        query = PageQuery(self.tenant, self.after, self.limit, status, is_past=is_past)
        histories, self.last_id = page_of_histories(session, query, at)
        return histories


def _check_selection(selection: _Selection, *, has_cursor: bool) -> None:
    selectors = (selection.ids, selection.external_ids, selection.status)
    selector_count = sum(selector is not None for selector in selectors)
    selects_ids = (selection.ids or selection.external_ids) is not None
    if selector_count > 1 or (selects_ids and has_cursor):
        raise validation_problem(
            ["query"],
            "exclusive",
            "ids, external_ids and pages are mutually exclusive; send one of them",
        )
    if selection.status is Status.EXPIRED:
        raise validation_problem(
            ["query", "status"],
            "enum",
            "expired is not a recorded status; send another one and look at confidence_code",
        )


@dataclass(frozen=True)
class _ShipmentAnswer:
    """Shipments as of a moment, and what their JSON needs."""

    views: list[ShipmentView]
    current: ActiveModel
    as_of: datetime
    options: AssessmentOptions

    def to_shipments(self) -> list[dict[str, object]]:
        """The fields of each ``Shipment``."""
        views = [with_recorded_flag(view) for view in self.views]
        return [
            shipment_schemas.to_shipment(view, self.current, self.as_of, self.options)
            for view in views
        ]


async def _view_shipments(
    resources: Resources,
    caller: Principal,
    read_histories: ReadHistories,
    as_of: datetime | None,
) -> _ShipmentAnswer:
    """The selected shipments. As of now, forecasts that changed are saved."""
    options = AssessmentOptions(promise=resources.settings.promise_policy)
    now = await resources.read_pool.run(resources.store.safe_now)
    if as_of is not None and as_of > now:
        raise validation_problem(
            ["query", "as_of"],
            "date_out_of_range",
            "as_of is in the future; send a past moment or omit it",
        )
    at = as_of or now

    assess = partial(_assess_shipments, resources, read_histories, at, options)
    views, current = await resources.read_pool.run(assess)
    resources.metrics.count_answers(view.assessment.code for view in views)
    answer = _ShipmentAnswer(views, current, at, options)
    if as_of is not None:
        return answer
    return await _with_saved_forecasts(resources, caller, answer)


def _assess_shipments(
    resources: Resources,
    read_histories: ReadHistories,
    at: datetime,
    options: AssessmentOptions,
) -> tuple[list[ShipmentView], ActiveModel]:
    """The selected shipments with their assessments, and the model that made them."""
    histories = resources.store.read(lambda session: read_histories(session, at))
    view = partial(view_shipments, histories, as_of=at, policy=DelayPolicy(), options=options)
    return run_with_model(
        lambda model: view(served=model.predictor), resources.active_model, resources.metrics
    )


async def _with_saved_forecasts(
    resources: Resources, caller: Principal, answer: _ShipmentAnswer
) -> _ShipmentAnswer:
    """The answer with new forecasts appended to its histories; they are saved if possible."""
    at, version = microseconds(answer.as_of), answer.current.version
    updated = [with_latest_forecast(view, at, version) for view in answer.views]
    new_forecasts = [
        after.history.forecasts[-1]
        for before, after in zip(answer.views, updated, strict=True)
        if after is not before
    ]
    if new_forecasts:
        command, count = SaveForecasts(caller.tenant, new_forecasts), len(new_forecasts)
        try:
            await resources.writer.write(caller, save_forecasts, command, weight=count)
        except (ProblemError, StoreBusy, StoreUnavailable):
            # Reads go on while the disk is full.
            resources.metrics.forecast_writes_failed.inc(count)
    return replace(answer, views=updated)


async def _delete(resources: Resources, caller: Principal, command: EraseShipments) -> Response:
    count = await resources.writer.write(caller, erase_shipments, command)
    if not count:
        raise NotFound(_NOT_FOUND)
    return json_response({"deleted": count})
