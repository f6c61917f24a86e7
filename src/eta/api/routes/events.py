"""Routes of tracking events and of the quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from eta.api import openapi
from eta.api.dependencies import tenant_of, write_idempotently
from eta.api.openapi import OF_BODIES, OF_READING, problems
from eta.api.pagination import Cursor, Limit, open_cursor, seal_cursor
from eta.api.problem_details import FieldError, problem
from eta.api.schemas import events as event_schemas
from eta.api.schemas.common import Rejected
from eta.api.schemas.events import EventSent, EventsSent
from eta.api.strict_route import StrictRoute
from eta.domain.errors import EtaError
from eta.service.storage.idempotency import Said
from eta.service.tracking.record_events import Recorded, Told, record_events

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])


@router.post(
    "/events",
    response_model=event_schemas.EventResults,
    responses=problems(*OF_BODIES, 409),
    openapi_extra=openapi.RECORD,
)
async def record(request: Request, body: EventsSent) -> Response:
    """Records scans, told in any order, late or again: one entry each, in order. JSON, or one scan a line (`application/x-ndjson`)."""
    told = Told(
        tenant_of(request),
        [event.to_report() for event in body.events if isinstance(event, EventSent)],
    )
    return await write_idempotently(
        request,
        record_events,
        told,
        partial(_event_results, body, request.url.path),
        weight=len(body.events),
    )


@router.get(
    "/quarantine",
    response_model=event_schemas.Quarantine,
    responses=problems(*OF_READING),
    openapi_extra=openapi.LOOK,
)
async def quarantine(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Scans that cannot be right: they count for nothing."""
    tenant, secret = tenant_of(request), request.app.state.store.secret
    after = open_cursor(secret, tenant, cursor)
    rows = await request.app.state.readers.ask(
        lambda session: session.quarantined(tenant, after, limit)
    )
    more = seal_cursor(secret, tenant, rows[-1].event_id) if len(rows) == limit else None
    return Response(to_json(event_schemas.quarantine(rows, more)), media_type="application/json")


def _event_results(body: EventsSent, path: str, done: Sequence[Recorded | EtaError]) -> Said:
    answers = iter(done)
    results = [
        _refusal(path, number, event.errors)
        if isinstance(event, Rejected)
        else _result(path, number, next(answers))
        for number, event in enumerate(body.events)
    ]
    told = to_json({"object": "EventResults", "results": results}).decode()
    return Said(200, told, is_kept=not any("problem" in result for result in results))


def _result(path: str, number: int, answer: Recorded | EtaError) -> dict[str, object]:
    if isinstance(answer, Recorded):
        return event_schemas.event_result(answer)
    return {
        "problem": problem(
            404,
            str(answer),
            path,
            [FieldError(loc=["body", "events", number], msg=str(answer), type="not_recorded")],
        )
    }


def _refusal(path: str, number: int, errors: Sequence[FieldError]) -> dict[str, object]:
    found = [
        error.model_copy(update={"loc": ["body", "events", number, *error.loc]}) for error in errors
    ]
    return {"problem": problem(422, "the scan cannot be used", path, found)}
