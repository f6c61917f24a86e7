"""Routes of tracking events and of the quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.dependencies import SharedResources, Tenant, json_response, write_idempotently
from eta.api.openapi import BODY_ERRORS, READ_ERRORS, problem_responses
from eta.api.pagination import Cursor, Limit, open_cursor, seal_cursor
from eta.api.problem_details import FieldError, problem
from eta.api.schemas import events as event_schemas
from eta.api.schemas.common import InvalidItem
from eta.api.schemas.events import EventBatch, EventCreate
from eta.api.strict_route import StrictRoute
from eta.domain.errors import EtaError
from eta.service.storage.idempotency import WriteResponse
from eta.service.tracking.record_events import EventOutcome, RecordEvents, record_events

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/events",
    response_model=event_schemas.EventBatchResponse,
    responses=problem_responses(*BODY_ERRORS, 409),
    openapi_extra=openapi.CREATE_EVENTS,
)
async def create_events(request: Request, body: EventBatch, tenant: Tenant) -> Response:
    """Records events in any order, as JSON or as JSON Lines (`application/x-ndjson`)."""
    reports = [event.to_report() for event in body.events if isinstance(event, EventCreate)]
    return await write_idempotently(
        request,
        record_events,
        RecordEvents(tenant, reports),
        partial(_event_batch_response, body, request.url.path),
        weight=len(body.events),
    )


@router.get(
    "/quarantine",
    response_model=event_schemas.QuarantineList,
    responses=problem_responses(*READ_ERRORS),
    openapi_extra=openapi.READ_QUARANTINE,
)
async def list_quarantine(
    resources: SharedResources, tenant: Tenant, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Lists implausible events, which are recorded but not used."""
    secret = resources.store.secret
    after = open_cursor(secret, tenant, cursor)
    rows = await resources.read_pool.query(
        lambda session: session.quarantined(tenant, after, limit)
    )
    next_cursor = None
    if len(rows) == limit:
        next_cursor = seal_cursor(secret, tenant, rows[-1].event_id)
    return json_response(event_schemas.to_quarantine_list(rows, next_cursor))


def _event_batch_response(
    body: EventBatch, path: str, outcomes: Sequence[EventOutcome | EtaError]
) -> WriteResponse:
    """The response with one entry per event; ``outcomes`` are those of the valid events."""
    remaining = iter(outcomes)
    results = [
        _event_problem(path, index, event.errors)
        if isinstance(event, InvalidItem)
        else _event_result(path, index, next(remaining))
        for index, event in enumerate(body.events)
    ]
    content = to_json({"object": "event_batch", "results": results})
    has_problems = any("problem" in result for result in results)
    return WriteResponse(200, content.decode(), is_replayable=not has_problems)


def _event_result(path: str, index: int, outcome: EventOutcome | EtaError) -> dict[str, object]:
    if isinstance(outcome, EventOutcome):
        return event_schemas.to_event_result(outcome)
    message = str(outcome)
    error = FieldError(loc=["body", "events", index], msg=message, type="not_found")
    return {"problem": problem(404, message, path, [error])}


def _event_problem(path: str, index: int, errors: Sequence[FieldError]) -> dict[str, object]:
    errors_with_path = [
        error.model_copy(update={"loc": ["body", "events", index, *error.loc]}) for error in errors
    ]
    return {"problem": problem(422, "invalid event", path, errors_with_path)}
