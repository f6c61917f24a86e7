"""Routes of tracking events and of the quarantine."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.batch_refusal import refuse_useless
from eta.api.dependencies import (
    SharedResources,
    Tenant,
    Write,
    json_response,
    json_with_results,
    run_large,
    write_idempotently,
)
from eta.api.error_budget import FieldError
from eta.api.metrics import RowKind
from eta.api.openapi import BODY_ERRORS, READ_ERRORS, problem_responses
from eta.api.pagination import Cursor, Limit, open_cursor, seal_cursor
from eta.api.problem_details import problem
from eta.api.schemas import events as event_schemas
from eta.api.schemas.common import InvalidItem, unmapped_code_count
from eta.api.schemas.events import EventBatch, EventUpdate
from eta.api.schemas.fields import Id
from eta.api.strict_route import StrictRoute
from eta.domain.errors import EtaError
from eta.service.storage.idempotency import WriteResponse
from eta.service.tracking.correct_events import CorrectedEvent, CorrectEvent, correct_events
from eta.service.tracking.record_events import (
    EventOutcome,
    RecordEvents,
    RecordingStatus,
    record_events,
)

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])

_KIND_OF_STATUS: dict[RecordingStatus | None, RowKind] = {
    RecordingStatus.STORED: RowKind.ACCEPTED,
    RecordingStatus.DUPLICATE: RowKind.DUPLICATE,
}


@router.post(
    "/events",
    response_model=event_schemas.EventBatchResponse,
    responses=problem_responses(*BODY_ERRORS, 409),
    openapi_extra=openapi.CREATE_EVENTS,
)
async def create_events(
    request: Request, body: EventBatch, resources: SharedResources, tenant: Tenant
) -> Response:
    """Records events in any order, as JSON or as JSON Lines (`application/x-ndjson`)."""
    count = len(body.events)
    refuse_useless(body.events, "events", resources.metrics)
    reports = await run_large(request, body.to_reports, count)
    recorded: list[EventOutcome | EtaError] = []

    def respond(outcomes: Sequence[EventOutcome | EtaError]) -> WriteResponse:
        recorded[:] = outcomes
        return event_batch_response(body, request.url.path, outcomes)

    def is_replayable(outcomes: Sequence[EventOutcome | EtaError]) -> bool:
        return len(outcomes) == count and not any(isinstance(item, EtaError) for item in outcomes)

    command = RecordEvents(tenant, reports)
    write = Write(record_events, command, respond, is_replayable, weight=count)
    response = await write_idempotently(request, write)

    def count_rows() -> None:
        kinds, unmapped_codes = _row_kinds(body, recorded), unmapped_code_count(body.events)
        resources.metrics.count_rows(kinds, unmapped_codes=unmapped_codes)

    await run_large(request, count_rows, count)
    return response


@router.patch(
    "/events/{event_id}",
    response_model=event_schemas.Event,
    responses=problem_responses(*BODY_ERRORS, 404, 409),
    openapi_extra=openapi.UPDATE_EVENT,
)
async def update_event(
    request: Request,
    event_id: Id,
    body: EventUpdate,
    tenant: Tenant,
) -> Response:
    """Corrects an event's code from now on; what was known before stays as it was."""

    def respond(corrected: CorrectedEvent) -> WriteResponse:
        return WriteResponse(200, to_json(event_schemas.to_event(corrected, event_id)).decode())

    command = CorrectEvent(tenant, event_id, body.event_code)
    return await write_idempotently(request, Write(correct_events, command, respond))


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
    results = [event_schemas.to_quarantined_event(row) for row in rows]
    next_cursor = None
    if len(rows) == limit:
        next_cursor = seal_cursor(secret, tenant, rows[-1].event_id)
    return json_response({"object": "list", "results": results, "next_cursor": next_cursor})


def _row_kinds(body: EventBatch, outcomes: Sequence[EventOutcome | EtaError]) -> list[RowKind]:
    """What became of each event; without outcomes, the request itself was a repetition."""
    kinds = [RowKind.REJECTED for event in body.events if isinstance(event, InvalidItem)]
    if not outcomes:
        return kinds + [RowKind.DUPLICATE] * (len(body.events) - len(kinds))
    for outcome in outcomes:
        status = outcome.status if isinstance(outcome, EventOutcome) else None
        kinds.append(_KIND_OF_STATUS.get(status, RowKind.REJECTED))
    return kinds


def event_batch_response(
    body: EventBatch, path: str, outcomes: Sequence[EventOutcome | EtaError]
) -> WriteResponse:
    """The response with one entry per event; ``outcomes`` are those of the valid events."""
    remaining, budget = iter(outcomes), body.error_budget
    results: list[object] = []
    for index, event in enumerate(body.events):
        if isinstance(event, InvalidItem):
            errors = event.errors_at("body", "events", index)
            results.append({"problem": problem(422, event.detail("invalid event"), path, errors)})
            continue
        outcome = next(remaining)
        if isinstance(outcome, EventOutcome):
            results.append(event_schemas.to_event_result(outcome))
            continue
        error = FieldError(loc=["body", "events", index], msg=str(outcome), type="not_found")
        results.append({"problem": problem(404, str(outcome), path, budget.take([error]))})
    content = json_with_results({"object": "event_batch"}, results)
    return WriteResponse(200, content.decode())
