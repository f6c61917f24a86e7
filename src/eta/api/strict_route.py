"""What every body must be before anything reads it: small, identity-coded, strict JSON.

One loader for every route. It refuses what JSON readers disagree on or choke on: NaN and
infinities, numbers beyond double precision, duplicate keys, NUL and lone surrogates, deep nesting.
Everything it refuses it refuses by name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from eta.api.auth import authenticate
from eta.api.executors import BatchExecutor
from eta.api.problem_details import INVALID_FIELD, ProblemError, field_errors, validation_problem
from eta.api.strict_json import load, load_lines

MAX_BODY_BYTES = 8 * 2**20

#: Bytes and seconds of a body that is too large that are taken in and forgotten.
MAX_DRAIN_BYTES, DRAIN_TIMEOUT_SECONDS = 4 * MAX_BODY_BYTES, 2.0

#: Larger bodies are parsed beside the event loop.
INLINE_BODY_BYTES = 64 * 2**10

#: Seconds that a body may take to arrive.
BODY_TIMEOUT_SECONDS = 30.0
_JSON_TYPE = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_LINES_TYPE = re.compile(
    r"application/(?:x-ndjson|jsonl)(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE
)

#: What the contract says of a route beside OpenAPI's own words: the scope it needs, its kind of
#: work, and whether it reads lines of JSON.
SCOPE, KIND, LINES = "x-scope", "x-kind", "x-lines"


class StrictRoute(APIRoute):
    """A route whose caller is known, and taken on, and whose body is strict JSON before the handler hears of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the door."""
        handle, extra = super().get_route_handler(), self.openapi_extra or {}
        model = (
            TypeAdapter[Any](cast("Any", self.body_field.field_info.annotation))
            if self.body_field
            else None
        )
        scope, kind, lines = extra.get(SCOPE), extra.get(KIND), extra.get(LINES)

        query_names = {parameter.alias for parameter in self.dependant.query_params}

        async def strict(request: Request) -> Response:
            principal = request.state.principal = authenticate(request, scope)
            if unknown := next(
                (name for name in request.query_params if name not in query_names), None
            ):
                raise validation_problem(
                    ["query", unknown],
                    "extra_forbidden",
                    "there is no such parameter; mend its name, or leave it out",
                )
            with request.app.state.rate_limiter.acquire(kind, principal) if kind else nullcontext():
                if model is None:
                    return await handle(request)
                content = await read_body(request, reads_lines=bool(lines))
                return await handle(
                    _BufferedRequest(request, content, model, lines, is_ingest=kind == "ingest")
                )

        return strict


class _BufferedRequest(Request):
    """A request whose body has been read."""

    def __init__(
        self,
        request: Request,
        content: bytes,
        model: TypeAdapter[Any],
        lines: str | None,
        *,
        is_ingest: bool,
    ) -> None:
        is_lines = lines and _LINES_TYPE.fullmatch(request.headers.get("content-type", "").strip())
        # To the framework, lines of JSON are the list that they are.
        other_headers = [
            (name, value) for name, value in request.scope["headers"] if name != b"content-type"
        ]
        scope = (
            {**request.scope, "headers": [*other_headers, (b"content-type", b"application/json")]}
            if is_lines
            else request.scope
        )
        super().__init__(scope, request.receive)
        self._content, self._model, self._is_ingest = content, model, is_ingest
        self._load = (lambda: {lines: load_lines(content)}) if is_lines else (lambda: load(content))

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        """The value, or, of a body that would hold up the event loop, the model itself, made beside it."""
        if len(self._content) <= INLINE_BODY_BYTES:
            return self._load()
        batch_executor: BatchExecutor = (
            self.app.state.parse_executor if self._is_ingest else self.app.state.batch_executor
        )
        return await batch_executor.run(
            lambda: _validated(self._model, self._load()), len(self._content)
        )


def _validated(model: TypeAdapter[Any], value: object) -> Any:
    try:
        return model.validate_python(value)
    except ValidationError as error:
        errors = field_errors(
            {**detail, "loc": ("body", *detail["loc"])}
            for detail in error.errors(include_url=False, include_input=False)
        )
        raise ProblemError(422, INVALID_FIELD, errors=errors) from None


async def read_body(request: Request, *, reads_lines: bool = False) -> bytes:
    """The body, whole, if it may be read at all; with ``reads_lines``, lines of JSON may be.

    Raises:
        Refused: 415 for another coding or type, 413 for too much, 408 for too slow, 422 for
            nothing.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProblemError(
            415, "the body is compressed; send it as it is", headers={"Accept-Encoding": "identity"}
        )
    content_type = request.headers.get("content-type", "").strip()
    if not (
        _JSON_TYPE.fullmatch(content_type) or (reads_lines and _LINES_TYPE.fullmatch(content_type))
    ):
        raise ProblemError(
            415,
            "the body is not declared as JSON; send Content-Type: application/json",
            headers={"Accept": "application/json"},
        )
    content_length = request.headers.get("content-length", "")
    if content_length.isdecimal() and (
        len(content_length) > 18 or int(content_length) > MAX_BODY_BYTES
    ):
        await _drain(request)
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            content = await _collect(request)
    except TimeoutError:
        raise ProblemError(
            408,
            f"the body did not arrive within {BODY_TIMEOUT_SECONDS:g} seconds; send it again",
            headers={"Connection": "close"},
        ) from None
    if not content:
        raise validation_problem(["body"], "missing", "the body is empty; send a JSON object")
    return content


async def _collect(request: Request) -> bytes:
    chunks, size = [], 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ProblemError(400, "the connection was closed before the body had arrived")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            await _drain(request)
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _drain(request: Request) -> None:
    """Lets a caller who is still sending finish, within bounds: who is cut off while sending never reads the answer."""
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS):
            while size < MAX_DRAIN_BYTES:
                message = await request.receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _too_large() -> ProblemError:
    return ProblemError(
        413,
        f"the body is larger than {MAX_BODY_BYTES} bytes; send it in parts",
        headers={"Connection": "close"},
    )
