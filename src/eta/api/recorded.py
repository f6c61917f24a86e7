"""The routes to what is recorded: shipments, scans, and what was put aside."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from eta.api import contract, shown
from eta.api.asked import Rejected
from eta.api.contract import OF_BODIES, OF_READING, problems
from eta.api.door import StrictRoute
from eta.api.fields import Id, IdempotencyKey, Moment
from eta.api.problems import FieldError, problem, unprocessable
from eta.api.sent import CorrectionSent, EventSent, EventsSent, ShipmentSent
from eta.api.told import reply
from eta.calendars.local_time import microseconds
from eta.delays import DelayPolicy
from eta.domain.access import Caller
from eta.domain.errors import EtaError, NotRecorded, StoreBusy, StoreUnavailable
from eta.domain.vocabulary import Status
from eta.model.hot_swap import Current
from eta.service.scoring.assessment import Terms
from eta.service.storage.idempotency import Asking, Said, answer_once
from eta.service.storage.retention import Erasing, erase_shipments
from eta.service.tracking.forecast_history import Issuing, issue_forecasts, with_news
from eta.service.tracking.read_shipments import Telling, known_at, tell_shipments
from eta.service.tracking.record_events import Recorded, Told, record_events
from eta.service.tracking.register_shipments import (
    Correcting,
    Registered,
    Registering,
    correct_shipments,
    register_shipments,
)
from eta.store.records import StoredForecast, StoredShipment
from eta.store.session import Session
from eta.store.store import Work

MOST_RESULTS = 100
_KEY = TypeAdapter[str](IdempotencyKey)

recorded = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["v1"])

Limit = Annotated[int, Query(ge=1, le=MOST_RESULTS)]
Cursor = Annotated[
    str | None, Query(max_length=512, description="`next_cursor` of the page before.")
]


@recorded.post(
    "/shipments",
    response_model=shown.Registered,
    responses={201: {"model": shown.Registered}, **problems(*OF_BODIES, 409)},
    openapi_extra=contract.REGISTER,
)
async def register(request: Request, body: ShipmentSent) -> Response:
    """Registers a shipment: 201 if it was not there, 200 if it was, with the same facts, 409 if it was with others."""
    return await _write(
        request,
        register_shipments,
        Registering(_tenant(request), body.to_registration()),
        _registered,
    )


@recorded.patch(
    "/shipments/{shipment_id}",
    response_model=shown.Registered,
    responses=problems(*OF_BODIES, 404, 409),
    openapi_extra=contract.CORRECT,
)
async def correct(request: Request, shipment_id: Id, body: CorrectionSent) -> Response:
    """Says something else of a shipment from now on; what was said before stays on record."""
    return await _write(
        request,
        correct_shipments,
        Correcting(_tenant(request), shipment_id, body.to_changes()),
        _registered,
    )


@recorded.post(
    "/events",
    response_model=shown.EventResults,
    responses=problems(*OF_BODIES, 409),
    openapi_extra=contract.RECORD,
)
async def record(request: Request, body: EventsSent) -> Response:
    """Records scans, told in any order, late or again: one entry each, in order. JSON, or one scan a line (`application/x-ndjson`)."""
    told = Told(
        _tenant(request),
        [event.to_report() for event in body.events if isinstance(event, EventSent)],
    )
    return await _write(
        request,
        record_events,
        told,
        partial(_event_results, body, request.url.path),
        weight=len(body.events),
    )


@recorded.get(
    "/shipments/{shipment_id}",
    response_model=shown.Shipment,
    responses=problems(*OF_READING, 404),
    openapi_extra=contract.READ,
)
async def shipment(
    request: Request,
    shipment_id: Id,
    as_of: Annotated[Moment | None, Query(description="As was known then; default: now.")] = None,
) -> Response:
    """A shipment: its journey, its forecast, and what was said of it before."""
    told, current, at = await _tell(
        request,
        lambda session: session.shipments(_tenant(request), "shipment_id", [shipment_id]),
        as_of,
    )
    if not told:
        raise NotRecorded("there is no such shipment")
    return Response(
        to_json(shown.shipment(told[0], current, at, _terms(request))),
        media_type="application/json",
    )


@recorded.get(
    "/shipments",
    response_model=shown.Shipments,
    responses=problems(*OF_READING),
    openapi_extra=contract.READ,
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
    tenant, secret = _tenant(request), request.app.state.store.secret
    after = _opened(secret, tenant, cursor)

    last: list[str] = []

    def chosen(session: Session) -> list[StoredShipment]:
        if ids is not None:
            return session.shipments(tenant, "shipment_id", _listed("ids", ids))
        if external_ids is not None:
            return session.shipments(tenant, "external_id", _listed("external_ids", external_ids))
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
    more = _sealed(secret, tenant, last[0]) if last else None
    results = [shown.shipment(telling, current, at, _terms(request)) for telling in told]
    return Response(
        to_json({**reply("Shipments", at, current, results), "next_cursor": more}),
        media_type="application/json",
    )


@recorded.delete(
    "/shipments/{shipment_id}",
    response_model=shown.Erased,
    responses=problems(*OF_READING, 404),
    openapi_extra=contract.ERASE,
)
async def erase(request: Request, shipment_id: Id) -> Response:
    """Erases a shipment with all that was told and said of it."""
    return await _erase(request, "shipment_id", shipment_id)


@recorded.delete(
    "/shipments",
    response_model=shown.Erased,
    responses=problems(*OF_READING, 404),
    openapi_extra=contract.ERASE,
)
async def erase_by_number(
    request: Request, external_id: Annotated[Id, Query(description="The shop's own number.")]
) -> Response:
    """Erases the shipment with the shop's own number, with all that was told and said of it."""
    return await _erase(request, "external_id", external_id)


@recorded.get(
    "/quarantine",
    response_model=shown.Quarantine,
    responses=problems(*OF_READING),
    openapi_extra=contract.LOOK,
)
async def quarantine(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Scans that cannot be right: they count for nothing."""
    tenant, secret = _tenant(request), request.app.state.store.secret
    after = _opened(secret, tenant, cursor)
    rows = await request.app.state.readers.ask(
        lambda session: session.quarantined(tenant, after, limit)
    )
    more = _sealed(secret, tenant, rows[-1].event_id) if len(rows) == limit else None
    return Response(to_json(shown.quarantine(rows, more)), media_type="application/json")


def _tenant(request: Request) -> str:
    caller: Caller = request.state.caller
    return caller.tenant


async def _write(
    request: Request,
    work: Work[Any, Any],
    item: object,
    say: Callable[[Any], Said],
    *,
    weight: int = 1,
) -> Response:
    """What was done, once it is on the disk; the same answer again where the same key comes again."""
    store, written, key = (
        request.app.state.store,
        request.app.state.written,
        request.headers.get("idempotency-key"),
    )
    if key is None:
        said = say(await written.result(store.submit(work, item, weight=weight)))
    else:
        digest = hashlib.sha256(
            b"\n".join((request.method.encode(), request.url.path.encode(), await request.body()))
        ).hexdigest()
        said = await written.result(
            store.submit(
                answer_once,
                Asking(_tenant(request), _checked(key), digest, work, item, say),
                weight=weight,
            )
        )
    return Response(said.body, said.status, media_type="application/json")


def _checked(key: str) -> str:
    try:
        return _KEY.validate_python(key)
    except ValidationError:
        raise unprocessable(
            ["header", "Idempotency-Key"],
            "string_pattern_mismatch",
            "the key is no key; send 1 to 255 visible ASCII characters",
        ) from None


def _registered(done: Registered) -> Said:
    body = to_json({"object": "Registered", "id": done.shipment_id, "is_new": done.is_new}).decode()
    return Said(201 if done.is_new else 200, body)


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
        return shown.event_result(answer)
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
            lambda session: known_at(session, _tenant(request), choose(session), at)
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
            issuing = Issuing(_tenant(request), forecasts)
            await state.written.result(
                state.store.submit(issue_forecasts, issuing, weight=len(forecasts))
            )
        except (StoreBusy, StoreUnavailable):
            state.metrics.unkept.inc(len(forecasts))


async def _erase(request: Request, column: str, value: str) -> Response:
    state = request.app.state
    count = await state.written.result(
        state.store.submit(erase_shipments, Erasing(_tenant(request), column, value))
    )
    if not count:
        raise NotRecorded("there is no such shipment")
    return Response(
        to_json({"object": "Erased", "shipments": count}), media_type="application/json"
    )


def _listed(field: str, text: str) -> list[str]:
    ids = [part for part in text.split(",") if part]
    if any(not part.isprintable() for part in ids):
        raise unprocessable(
            ["query", field],
            "forbidden_character",
            "an id holds what cannot be printed; leave it out",
        )
    if len(ids) > MOST_RESULTS:
        raise unprocessable(
            ["query", field],
            "too_long",
            f"the list is too long; send at most {MOST_RESULTS} entries",
        )
    return ids


def _sealed(secret: bytes, tenant: str, last: str) -> str:
    return base64.urlsafe_b64encode(_seal(secret, tenant, last) + last.encode()).decode()


def _opened(secret: bytes, tenant: str, cursor: str | None) -> str:
    """The id after which a page begins.

    Raises:
        Refused: 422 for a cursor that is not ours, or not this tenant's.
    """
    if cursor is None:
        return ""
    try:
        content = base64.urlsafe_b64decode(cursor.encode())
        last = content[16:].decode()
    except ValueError:
        content, last = b"", ""
    if not hmac.compare_digest(content[:16], _seal(secret, tenant, last)):
        raise unprocessable(
            ["query", "cursor"],
            "cursor",
            "the cursor is none of ours; send next_cursor as it came, or nothing",
        )
    return last


def _seal(secret: bytes, tenant: str, last: str) -> bytes:
    return hashlib.blake2b(f"{tenant}\n{last}".encode(), key=secret, digest_size=16).digest()
