"""Every refusal as ``application/problem+json`` (RFC 9457), and the one table from errors to statuses.

A refusal names the field and the mend; it never repeats the value that was refused.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from eta.domain.errors import (
    Conflict,
    EtaError,
    IdempotencyKeyReused,
    InvalidValue,
    NotFound,
    ShipmentConflict,
    StoreBusy,
    StoreUnavailable,
)

INVALID_FIELD = "a field cannot be used; errors name it and the mend"
MEDIA_TYPE = "application/problem+json"

#: A body with thousands of faults is told of the first ones.
MAX_ERRORS = 100
_MAX_NAME_LENGTH = 64

#: Names of statuses (RFC 9110), which the standard library words differently from one version to
#: the next.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
_DETAILS = {
    404: "there is no such path; /openapi.json lists those there are",
    405: "the path does not know this method; see Allow",
}

#: What our facts are called at the door.
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

#: What a correction may say.
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

#: pydantic's findings in our words, each with its mend; what is in braces are our own bounds.
_MESSAGES = {
    "missing": "the field is missing; add it",
    "extra_forbidden": "there is no such field; mend its name, or leave it out",
    "model_attributes_type": "this is no object; send a JSON object",
    "model_type": "this is no object; send a JSON object",
    "list_type": "this is no list; send a JSON array",
    "string_type": "this is no text; send a JSON string",
    "float_type": "this is no number; send a JSON number",
    "int_type": "this is no whole number; send one without a fraction",
    "int_parsing": "this is no whole number; send one without a fraction",
    "enum": "there is no such choice; send {expected}",
    "too_long": "the list is too long; send at most {max_length} entries",
    "too_short": "the list is too short; send at least {min_length}",
    "string_too_long": "the text is too long; send at most {max_length} characters",
    "string_too_short": "the text is too short; send at least {min_length} characters",
    "string_pattern_mismatch": "the text has another form than it must; mend it to match {pattern}",
    "literal_error": "there is no such choice; send {expected}",
    "greater_than": "the number is too small; send more than {gt:g}",
    "greater_than_equal": "the number is too small; send at least {ge:g}",
    "less_than": "the number is too large; send less than {lt:g}",
    "less_than_equal": "the number is too large; send at most {le:g}",
}


class FieldError(BaseModel):
    """What is wrong with one field, and how to mend it."""

    loc: list[str | int] = Field(description="The path to the field, from `body` down.")
    msg: str = Field(description="What is wrong, and the mend.")
    type: str = Field(description="A stable word for machines.")


class Problem(BaseModel):
    """A refusal (RFC 9457)."""

    type: str = Field(description="`about:blank`: the title says it all.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    errors: list[FieldError] = Field(description="One entry a field, where fields are to blame.")


class ProblemError(HTTPException):
    """A request that goes no further."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.errors = list(errors)


def validation_problem(loc: Sequence[str | int], type_: str, msg: str) -> ProblemError:
    """A 422 for one field."""
    return ProblemError(
        422, INVALID_FIELD, errors=[FieldError(loc=safe_path(loc), msg=msg, type=type_)]
    )


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Errors of pydantic without the values that caused them."""
    return [
        FieldError(loc=safe_path(error["loc"]), msg=_message_for(error), type=error["type"])
        for error in islice(errors, MAX_ERRORS)
    ]


def _message_for(error: Mapping[str, Any]) -> str:
    return (
        _MESSAGES[error["type"]].format(**error.get("ctx", {}))
        if error["type"] in _MESSAGES
        else str(error["msg"])
    )


def safe_path(loc: Sequence[str | int]) -> list[str | int]:
    """A path whose names, which may be anybody's, are plain ASCII and short."""
    return [
        part
        if isinstance(part, int)
        else part.encode("unicode_escape", "backslashreplace").decode("ascii")[:_MAX_NAME_LENGTH]
        for part in loc
    ]


def problem(status: int, detail: str, instance: str, errors: Sequence[FieldError] = ()) -> Problem:
    """The value behind every refusal."""
    path = quote(instance, safe="/-._~")[:200]
    return Problem(
        type="about:blank",
        title=_TITLES.get(status, HTTPStatus(status).phrase),
        status=status,
        detail=detail,
        instance=path,
        errors=list(errors),
    )


def to_response(value: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer of its status."""
    return Response(json.dumps(value.model_dump()), value.status, dict(headers or {}), MEDIA_TYPE)


def _methods(app: FastAPI, path: str) -> list[str]:
    """All methods that a path knows."""
    templates = app.openapi()["paths"].items()
    return sorted(
        {
            method.upper()
            for template, operations in templates
            if re.fullmatch(re.sub(r"{[^/}]+}", "[^/]+", template), path)
            for method in operations
        }
    )


def add_exception_handlers(app: FastAPI) -> None:
    """The table: which error is which status."""

    async def http_error(request: Request, error: StarletteHTTPException) -> Response:
        errors = error.errors if isinstance(error, ProblemError) else []
        detail = (
            str(error.detail)
            if isinstance(error, ProblemError)
            else _DETAILS.get(error.status_code, str(error.detail))
        )
        # The framework names the methods of the first route that fits.
        headers = (
            {"Allow": ", ".join(_methods(app, request.scope["path"]))}
            if error.status_code == 405
            else error.headers
        )
        return to_response(problem(error.status_code, detail, request.url.path, errors), headers)

    async def invalid_body(request: Request, error: RequestValidationError) -> Response:
        return to_response(
            problem(422, INVALID_FIELD, request.url.path, field_errors(error.errors()))
        )

    async def invalid_value(request: Request, error: InvalidValue) -> Response:
        errors = [
            FieldError(
                loc=["body", _WIRE_FIELD_OF.get(error.field, error.field)],
                msg=f"the value cannot be right; {error.hint}",
                type="invalid_value",
            )
        ]
        return to_response(problem(422, INVALID_FIELD, request.url.path, errors))

    async def shipment_conflict(request: Request, error: ShipmentConflict) -> Response:
        names = sorted({_WIRE_FIELD_OF.get(name, name) for name in error.fields})
        fix = (
            "correct it with PATCH"
            if UPDATABLE_FIELDS.issuperset(names)
            else "delete it and register it anew, or send what was sent before"
        )
        return to_response(
            problem(
                409,
                f"shipment {error.shipment_id} is registered with another {', '.join(names)}; {fix}",
                request.url.path,
            )
        )

    async def conflict(request: Request, error: EtaError) -> Response:
        return to_response(problem(409, str(error), request.url.path))

    async def idempotency_key_reused(request: Request, error: EtaError) -> Response:
        errors = [
            FieldError(
                loc=["header", "Idempotency-Key"], msg=str(error), type="idempotency_key_reused"
            )
        ]
        return to_response(problem(422, INVALID_FIELD, request.url.path, errors))

    async def missing(request: Request, error: EtaError) -> Response:
        return to_response(problem(404, str(error), request.url.path))

    async def unavailable(request: Request, error: EtaError) -> Response:
        # Callers that come back all at once would only be refused again.
        wait = {"Retry-After": str(1 + secrets.randbelow(5))}
        # What is wrong is for the log alone.
        detail = (
            "too much waits already"
            if isinstance(error, StoreBusy)
            else "nothing can be stored or read at the moment"
        )
        return to_response(
            problem(503, f"{detail}; nothing of this was recorded; try again", request.url.path),
            wait,
        )

    table: dict[type[Exception], Any] = {
        StarletteHTTPException: http_error,
        RequestValidationError: invalid_body,
        InvalidValue: invalid_value,
        ShipmentConflict: shipment_conflict,
        Conflict: conflict,
        IdempotencyKeyReused: idempotency_key_reused,
        NotFound: missing,
        StoreUnavailable: unavailable,
        StoreBusy: unavailable,
    }
    for error, handler in table.items():
        app.add_exception_handler(error, handler)
