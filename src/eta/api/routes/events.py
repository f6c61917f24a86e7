"""Routes of tracking events and of the quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.dependencies import tenant_of, write_idempotently
from eta.api.openapi import BODY_ERRORS, READ_ERRORS, problems
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
    responses=problems(*BODY_ERRORS, 409),
    openapi_extra=openapi.CREATE_EVENTS,
)
async def create_events(request: Request, body: EventBatch) -> Response:
    """Records scans, told in any order, late or again: one entry each, in order. JSON, or one scan a line (`application/x-ndjson`)."""
    batch = RecordEvents(
        tenant_of(request),
        [event.to_report() for event in body.events if isinstance(event, EventCreate)],
    )
    return await write_idempotently(
        request,
        record_events,
        batch,
        partial(_event_batch_response, body, request.url.path),
        weight=len(body.events),
    )


@router.get(
    "/quarantine",
    response_model=event_schemas.QuarantineList,
    responses=problems(*READ_ERRORS),
    openapi_extra=openapi.READ_QUARANTINE,
)
async def list_quarantine(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Scans that cannot be right: they count for nothing."""
    tenant, secret = tenant_of(request), request.app.state.store.secret
    after = open_cursor(secret, tenant, cursor)
    rows = await request.app.state.read_pool.query(
        lambda session: session.quarantined(tenant, after, limit)
    )
    more = seal_cursor(secret, tenant, rows[-1].event_id) if len(rows) == limit else None
    return Response(
        to_json(event_schemas.to_quarantine_list(rows, more)), media_type="application/json"
    )


def _event_batch_response(
    body: EventBatch, path: str, outcomes: Sequence[EventOutcome | EtaError]
) -> WriteResponse:
    answers = iter(outcomes)
    results = [
        _event_problem(path, number, event.errors)
        if isinstance(event, InvalidItem)
        else _event_result(path, number, next(answers))
        for number, event in enumerate(body.events)
    ]
    content = to_json({"object": "event_batch", "results": results}).decode()
    return WriteResponse(
        200, content, is_replayable=not any("problem" in result for result in results)
    )


def _event_result(path: str, number: int, answer: EventOutcome | EtaError) -> dict[str, object]:
    if isinstance(answer, EventOutcome):
        return event_schemas.to_event_result(answer)
    return {
        "problem": problem(
            404,
            str(answer),
            path,
            [FieldError(loc=["body", "events", number], msg=str(answer), type="not_found")],
        )
    }


def _event_problem(path: str, number: int, errors: Sequence[FieldError]) -> dict[str, object]:
    errors_with_path = [
        error.model_copy(update={"loc": ["body", "events", number, *error.loc]}) for error in errors
    ]
    return {"problem": problem(422, "the scan cannot be used", path, errors_with_path)}
