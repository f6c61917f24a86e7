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
    InvalidValue,
    KeyReused,
    NotRecorded,
    RegisteredOtherwise,
    StoreBusy,
    StoreUnavailable,
)

BAD_FIELD = "a field cannot be used; errors name it and the mend"
MEDIA_TYPE = "application/problem+json"

#: A body with thousands of faults is told of the first ones.
MOST_ERRORS = 100
_LONGEST_NAME = 64

#: Names of statuses (RFC 9110), which the standard library words differently from one version to
#: the next.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
_DETAILS = {
    404: "there is no such path; /openapi.json lists those there are",
    405: "the path does not know this method; see Allow",
}

#: What our facts are called at the door.
_FIELD_OF = {
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
CORRECTABLE = frozenset(
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
_MENDS = {
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


class Refused(HTTPException):
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


def unprocessable(loc: Sequence[str | int], type_: str, msg: str) -> Refused:
    """A 422 for one field."""
    return Refused(422, BAD_FIELD, errors=[FieldError(loc=shown(loc), msg=msg, type=type_)])


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Errors of pydantic without the values that caused them."""
    return [
        FieldError(loc=shown(error["loc"]), msg=_mend(error), type=error["type"])
        for error in islice(errors, MOST_ERRORS)
    ]


def _mend(error: Mapping[str, Any]) -> str:
    return (
        _MENDS[error["type"]].format(**error.get("ctx", {}))
        if error["type"] in _MENDS
        else str(error["msg"])
    )


def shown(loc: Sequence[str | int]) -> list[str | int]:
    """A path whose names, which may be anybody's, are plain ASCII and short."""
    return [
        part
        if isinstance(part, int)
        else part.encode("unicode_escape", "backslashreplace").decode("ascii")[:_LONGEST_NAME]
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
            for template, known in templates
            if re.fullmatch(re.sub(r"{[^/}]+}", "[^/]+", template), path)
            for method in known
        }
    )


def install(app: FastAPI) -> None:
    """The table: which error is which status."""

    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        errors = error.errors if isinstance(error, Refused) else []
        detail = (
            str(error.detail)
            if isinstance(error, Refused)
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
        return to_response(problem(422, BAD_FIELD, request.url.path, field_errors(error.errors())))

    async def invalid_value(request: Request, error: InvalidValue) -> Response:
        errors = [
            FieldError(
                loc=["body", _FIELD_OF.get(error.field, error.field)],
                msg=f"the value cannot be right; {error.mend}",
                type="invalid_value",
            )
        ]
        return to_response(problem(422, BAD_FIELD, request.url.path, errors))

    async def is_registered_otherwise(request: Request, error: RegisteredOtherwise) -> Response:
        names = sorted({_FIELD_OF.get(name, name) for name in error.fields})
        mend = (
            "correct it with PATCH"
            if CORRECTABLE.issuperset(names)
            else "delete it and register it anew, or send what was sent before"
        )
        return to_response(
            problem(
                409,
                f"shipment {error.shipment_id} is registered with another {', '.join(names)}; {mend}",
                request.url.path,
            )
        )

    async def contradicts(request: Request, error: EtaError) -> Response:
        return to_response(problem(409, str(error), request.url.path))

    async def reuses_key(request: Request, error: EtaError) -> Response:
        errors = [FieldError(loc=["header", "Idempotency-Key"], msg=str(error), type="key_reused")]
        return to_response(problem(422, BAD_FIELD, request.url.path, errors))

    async def is_absent(request: Request, error: EtaError) -> Response:
        return to_response(problem(404, str(error), request.url.path))

    async def is_unavailable(request: Request, error: EtaError) -> Response:
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
        StarletteHTTPException: refused,
        RequestValidationError: invalid_body,
        InvalidValue: invalid_value,
        RegisteredOtherwise: is_registered_otherwise,
        Conflict: contradicts,
        KeyReused: reuses_key,
        NotRecorded: is_absent,
        StoreUnavailable: is_unavailable,
        StoreBusy: is_unavailable,
    }
    for error, handler in table.items():
        app.add_exception_handler(error, handler)
