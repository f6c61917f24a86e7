"""Error responses as ``application/problem+json`` (RFC 9457), and the status of each error.

A problem names the field and how to fix it. It never repeats the rejected value.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from eta.api.error_budget import ErrorBudget, FieldError
from eta.api.schemas.fields import WORDS_OF_PATTERN
from eta.domain.errors import (
    ClockRefused,
    Conflict,
    EtaError,
    IdempotencyKeyReused,
    InvalidValue,
    NotFound,
    ShipmentConflict,
    StoreBusy,
    StoreUnavailable,
    WriteUnconfirmed,
)

INVALID_FIELD = "invalid request; errors lists each field and how to fix it"
MEDIA_TYPE = "application/problem+json"

#: Headers of every response that does not set them: data for this caller alone, and not a page.
DEFAULT_HEADERS = {b"x-content-type-options": b"nosniff", b"cache-control": b"no-store"}

_MAX_MESSAGE_LENGTH = 300
_MAX_NAME_LENGTH = 64
_MAX_INSTANCE_LENGTH = 200

#: Seconds after which a write is worth another try while the clock is wrong.
_CLOCK_WAIT_SECONDS = 30

#: Status names of RFC 9110 that differ between versions of the standard library.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
_DETAILS = {
    404: "unknown path; see /openapi.json for the paths there are",
    405: "method not allowed; see the Allow header",
}

#: The header of the key by which a repeated request is recognized.
IDEMPOTENCY_HEADER = "Idempotency-Key"
_UNCONFIRMED = (
    "the store is unavailable, and it is unknown whether this request was recorded;"
    " repeat it with the same Idempotency-Key, or look up what was recorded first"
)

#: Request fields by the name of the domain's attribute.
_WIRE_FIELD_OF = {
    "ordered_at": "order_time",
    "carrier": "carrier_code",
    "service_level": "service_code",
    "origin": "origin_address",
    "destination": "destination_address",
    "promised_on": "order_promised_delivery_date",
    "price": "order_value",
    "weight_kg": "weight",
    **dict.fromkeys(("length_cm", "width_cm", "height_cm"), "dimensions"),
}

#: Fields that PATCH can change.
UPDATABLE_FIELDS = frozenset(
    {
        "carrier_code",
        "service_code",
        "tracking_number",
        "weight",
        "dimensions",
        "order_promised_delivery_date",
    }
)

#: Messages by pydantic's error type; names in braces are the bounds of the field.
_MESSAGES = {
    "missing": "required field is missing; add it",
    "extra_forbidden": "unknown field; check the spelling or remove it",
    "model_attributes_type": "wrong type; expected a JSON object",
    "model_type": "wrong type; expected a JSON object",
    "list_type": "wrong type; expected a JSON array",
    "string_type": "wrong type; expected a string",
    "float_type": "wrong type; expected a number",
    "int_type": "wrong type; expected an integer",
    "int_parsing": "wrong type; expected an integer",
    "enum": "unknown value; expected {expected}",
    "too_long": "too many entries; send at most {max_length}",
    "too_short": "too few entries; send at least {min_length}",
    "string_too_long": "text too long; send at most {max_length} characters",
    "string_too_short": "text too short; send at least {min_length} characters",
    "string_pattern_mismatch": "invalid format; send {words}",
    "literal_error": "unknown value; expected {expected}",
    "greater_than": "number too small; must be greater than {gt:g}",
    "greater_than_equal": "number too small; must be at least {ge:g}",
    "less_than": "number too large; must be less than {lt:g}",
    "less_than_equal": "number too large; must be at most {le:g}",
}


class RefusalReason(StrEnum):
    """Why a request was refused, as a whole."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    #: A method or a media type.
    UNSUPPORTED = "unsupported"
    INVALID = "invalid"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    #: The request did not arrive in time.
    TIMED_OUT = "timed_out"
    #: The key exceeds its rate.
    RATE = "rate"
    #: More is in progress than the key, the tenant or the service may have.
    CAPACITY = "capacity"
    #: More requests arrive than can be answered in time; refused by their head.
    OVERLOAD = "overload"
    STORE_BUSY = "store_busy"
    STORE_UNAVAILABLE = "store_unavailable"
    CLOCK = "clock"


#: The reason of each status, unless the error has another one.
_REASONS = {
    400: RefusalReason.INVALID,
    401: RefusalReason.UNAUTHENTICATED,
    403: RefusalReason.FORBIDDEN,
    404: RefusalReason.NOT_FOUND,
    405: RefusalReason.UNSUPPORTED,
    408: RefusalReason.TIMED_OUT,
    409: RefusalReason.CONFLICT,
    413: RefusalReason.TOO_LARGE,
    415: RefusalReason.UNSUPPORTED,
    422: RefusalReason.INVALID,
    429: RefusalReason.RATE,
    431: RefusalReason.TOO_LARGE,
    503: RefusalReason.CAPACITY,
}
#: The name of the reason in the state of a request that was refused.
REFUSAL = "refusal"


class Problem(BaseModel):
    """An error response (RFC 9457)."""

    type: str = Field(description="Always `about:blank`: see `title` and `status`.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path of the request.")
    errors: list[FieldError] = Field(description="The invalid fields, if any.")


class ProblemError(HTTPException):
    """A request that is answered with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        reason: RefusalReason | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.errors = list(errors)
        #: None: that of the status.
        self.reason = reason


def capacity_problem(status: int, detail: str) -> ProblemError:
    """A refusal because more is in progress than may be, with when to try again."""
    return ProblemError(status, detail, headers=_retry_after(1), reason=RefusalReason.CAPACITY)


def _retry_after(seconds: int) -> dict[str, str]:
    # Callers that come again at the same moment would only be refused again.
    return {"Retry-After": str(seconds + secrets.randbelow(5))}


def validation_problem(loc: Sequence[str | int], type_: str, msg: str) -> ProblemError:
    """A 422 for one field."""
    error = FieldError(loc=safe_path(loc), msg=msg, type=type_)
    return ProblemError(422, INVALID_FIELD, errors=[error])


def field_errors(
    errors: Iterable[Mapping[str, Any]], budget: ErrorBudget | None = None, *prefix: str
) -> list[FieldError]:
    """The first errors of pydantic, without the values that caused them.

    ``prefix`` precedes their paths.
    """
    return (budget or ErrorBudget()).take(_field_error(error, prefix) for error in errors)


def errors_of(error: ValidationError) -> Iterator[Mapping[str, Any]]:
    """The errors of pydantic, which are made only if the first one is read."""
    yield from error.errors(include_url=False, include_input=False)


def _field_error(error: Mapping[str, Any], prefix: Sequence[str]) -> FieldError:
    message = str(error["msg"])
    if error["type"] in _MESSAGES:
        context = error.get("ctx", {})
        words = WORDS_OF_PATTERN.get(context.get("pattern"), "a text as documented")
        message = _MESSAGES[error["type"]].format(**context, words=words)
    path = safe_path((*prefix, *error["loc"]))
    return FieldError(loc=path, msg=message[:_MAX_MESSAGE_LENGTH], type=error["type"])


def safe_path(loc: Sequence[str | int]) -> list[str | int]:
    """A path to a field, with names that callers chose cut short and in plain ASCII."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(part, int):
            path.append(part)
        else:
            short = part[:_MAX_NAME_LENGTH]
            escaped = short.encode("unicode_escape", "backslashreplace")
            path.append(escaped.decode("ascii")[:_MAX_NAME_LENGTH])
    return path


def problem(status: int, detail: str, instance: str, errors: Sequence[FieldError] = ()) -> Problem:
    """The body of an error response; ``instance`` is the path of the request."""
    return Problem(
        type="about:blank",
        title=_TITLES.get(status, HTTPStatus(status).phrase),
        status=status,
        detail=detail,
        instance=quote(instance[:_MAX_INSTANCE_LENGTH], safe="/-._~")[:_MAX_INSTANCE_LENGTH],
        errors=list(errors),
    )


def to_response(value: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The response with a problem as its body."""
    content = json.dumps(value.model_dump())
    return Response(content, value.status, dict(headers or {}), MEDIA_TYPE)


def add_exception_handlers(app: FastAPI) -> None:
    """Registers the handler of every error that becomes a response."""
    for error, handler in _HANDLERS.items():
        app.add_exception_handler(error, handler)


def _respond(
    request: Request,
    status: int,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    reason: RefusalReason | None = None,
) -> Response:
    """The response to a request that is refused, for the reason of its status or another one."""
    setattr(request.state, REFUSAL, reason or _REASONS.get(status, RefusalReason.INVALID))
    return to_response(problem(status, detail, request.url.path, errors), headers)


async def _http_error(request: Request, error: StarletteHTTPException) -> Response:
    if isinstance(error, ProblemError):
        status, headers = error.status_code, error.headers
        return _respond(request, status, error.detail, error.errors, headers, reason=error.reason)
    headers = error.headers
    if error.status_code == 405:
        # The framework lists the methods of the first matching route only.
        # All methods of a path.
        app = request.app
        path = request.scope["path"]
        allowed_methods_methods: set[str] = set()
        for template, operations in app.openapi()["paths"].items():
            pattern = re.sub(r"{[^/}]+}", "[^/]+", template)
            if re.fullmatch(pattern, path):
                allowed_methods_methods.update(method.upper() for method in operations)
        methods = sorted(allowed_methods_methods)
        headers = {"Allow": ", ".join(methods)}
    detail = _DETAILS.get(error.status_code, str(error.detail))
    return _respond(request, error.status_code, detail, headers=headers)


async def _invalid_field(
    request: Request, error: RequestValidationError | InvalidValue | IdempotencyKeyReused
) -> Response:
    if isinstance(error, RequestValidationError):
        errors = field_errors(error.errors())
    elif isinstance(error, InvalidValue):
        wire_field = _WIRE_FIELD_OF.get(error.field, error.field)
        message = f"invalid value; {error.hint}"
        errors = [FieldError(loc=["body", wire_field], msg=message, type="invalid_value")]
    else:
        path: list[str | int] = ["header", IDEMPOTENCY_HEADER]
        errors = [FieldError(loc=path, msg=str(error), type="idempotency_key_reused")]
    return _respond(request, 422, INVALID_FIELD, errors)


async def _shipment_conflict(request: Request, error: ShipmentConflict) -> Response:
    names = sorted({_WIRE_FIELD_OF.get(name, name) for name in error.fields})
    fix = "delete it and register it again, or resend the original values"
    if UPDATABLE_FIELDS.issuperset(names):
        fix = "update it with PATCH"
    shipment, fields = error.shipment_id, ", ".join(names)
    detail = f"shipment {shipment} is already registered with a different {fields}; {fix}"
    return _respond(request, 409, detail)


async def _refused(request: Request, error: Conflict | NotFound) -> Response:
    status = 404 if isinstance(error, NotFound) else 409
    return _respond(request, status, str(error))


async def _unavailable(request: Request, error: EtaError) -> Response:
    # The cause is for the log alone.
    cause, reason = "too many writes are waiting", RefusalReason.STORE_BUSY
    if not isinstance(error, StoreBusy):
        cause, reason = "the store is unavailable", RefusalReason.STORE_UNAVAILABLE
    detail = f"{cause}; nothing of this request was recorded; try again"
    if isinstance(error, WriteUnconfirmed):
        detail = _UNCONFIRMED
        if IDEMPOTENCY_HEADER not in request.headers:
            # Without a key it is not safe to repeat, so nothing says when to.
            return _respond(request, 503, detail, reason=reason)
    return _respond(request, 503, detail, headers=_retry_after(1), reason=reason)


async def _clock_refused(request: Request, _: ClockRefused) -> Response:
    # Both times are in /readyz and in the log.
    detail = (
        "the clock of the service is not right; nothing of this request was recorded; try again"
    )
    headers = _retry_after(_CLOCK_WAIT_SECONDS)
    return _respond(request, 503, detail, headers=headers, reason=RefusalReason.CLOCK)


_HANDLERS: dict[type[Exception], Any] = {
    StarletteHTTPException: _http_error,
    RequestValidationError: _invalid_field,
    InvalidValue: _invalid_field,
    ShipmentConflict: _shipment_conflict,
    Conflict: _refused,
    IdempotencyKeyReused: _invalid_field,
    NotFound: _refused,
    ClockRefused: _clock_refused,
    StoreUnavailable: _unavailable,
    StoreBusy: _unavailable,
}
