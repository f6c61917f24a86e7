"""A route that authenticates the caller, limits the load, and reads a body strictly.

A body must be small, uncompressed, strict JSON. Readers of JSON disagree about NaN and infinities,
numbers beyond double precision, duplicate keys, NUL, lone surrogates and deep nesting, so all of
these are rejected with the path to the value.
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
from eta.api.dependencies import resources_of
from eta.api.problem_details import INVALID_FIELD, ProblemError, field_errors, validation_problem
from eta.api.strict_json import load, load_lines

MAX_BODY_BYTES = 8 * 2**20

#: How much of a body that is too large is received and discarded, in bytes and in seconds.
MAX_DRAIN_BYTES, DRAIN_TIMEOUT_SECONDS = 4 * MAX_BODY_BYTES, 2.0

#: Larger bodies are parsed outside the event loop.
INLINE_BODY_BYTES = 64 * 2**10

#: Seconds within which a body must arrive.
BODY_TIMEOUT_SECONDS = 30.0
_JSON_TYPE = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_LINES_TYPE = re.compile(
    r"application/(?:x-ndjson|jsonl)(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE
)

#: Longer lengths are too large, and are not converted to a number.
_MAX_LENGTH_DIGITS = 18

#: OpenAPI extensions of a route: the scope it needs, its kind of work, and the field that JSON
#: Lines become.
SCOPE, KIND, LINES = "x-scope", "x-kind", "x-lines"

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRoute(APIRoute):
    """A route whose handler runs only for an authenticated caller and a strict JSON body."""

    def get_route_handler(self) -> _Handler:
        """The handler, preceded by all checks."""
        handle = super().get_route_handler()
        extra = self.openapi_extra or {}
        scope, kind, lines = extra.get(SCOPE), extra.get(KIND), extra.get(LINES)
        is_ingest = kind == "ingest"
        # What the body must be; None for a route without a body.
        model: TypeAdapter[Any] | None = None
        if self.body_field:
            model = TypeAdapter(cast("Any", self.body_field.field_info.annotation))
        query_names = {parameter.alias for parameter in self.dependant.query_params}

        async def strict(request: Request) -> Response:
            resources = resources_of(request)
            principal = authenticate(request, resources.auth, scope)
            request.state.principal = principal
            for name in request.query_params:
                if name not in query_names:
                    raise validation_problem(
                        ["query", name],
                        "extra_forbidden",
                        "unknown parameter; check the spelling or remove it",
                    )
            limiter = resources.rate_limiter
            with limiter.acquire(kind, principal) if kind else nullcontext():
                if model is not None:
                    content = await read_body(request, reads_lines=bool(lines))
                    request = _BufferedRequest(request, content, model, lines, is_ingest=is_ingest)
                return await handle(request)

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
        self._content, self._model, self._is_ingest = content, model, is_ingest
        #: The field that holds the values of JSON Lines; None if the body is JSON.
        self._lines = lines if _LINES_TYPE.fullmatch(_content_type(request)) else None
        scope = request.scope
        if self._lines is not None:
            # The framework takes JSON Lines for a JSON body.
            headers = [header for header in scope["headers"] if header[0] != b"content-type"]
            headers.append((b"content-type", b"application/json"))
            scope = {**scope, "headers": headers}
        super().__init__(scope, request.receive)

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        """The parsed body, or the validated model of a large one, built outside the event loop."""
        if len(self._content) <= INLINE_BODY_BYTES:
            return self._load()
        resources = resources_of(self)
        executor = resources.parse_executor if self._is_ingest else resources.batch_executor
        return await executor.run(lambda: _validated(self._model, self._load()), len(self._content))

    def _load(self) -> Any:
        if self._lines is None:
            return load(self._content)
        return {self._lines: load_lines(self._content)}


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").strip()


def _validated(model: TypeAdapter[Any], value: object) -> Any:
    try:
        return model.validate_python(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        errors = field_errors({**detail, "loc": ("body", *detail["loc"])} for detail in details)
        raise ProblemError(422, INVALID_FIELD, errors=errors) from None


async def read_body(request: Request, *, reads_lines: bool = False) -> bytes:
    """The whole body; with ``reads_lines`` it may also be JSON Lines.

    Raises:
        ProblemError: 415 for an encoding or type that is not supported, 413 for a body that is
            too large, 408 for one that is too slow, 422 for an empty one.
    """
    encoding = request.headers.get("content-encoding", "identity").strip()
    if encoding.lower() != "identity":
        raise ProblemError(
            415,
            "compressed bodies are not supported; send the body uncompressed",
            headers={"Accept-Encoding": "identity"},
        )
    content_type = _content_type(request)
    is_json = _JSON_TYPE.fullmatch(content_type)
    is_lines = reads_lines and _LINES_TYPE.fullmatch(content_type)
    if not (is_json or is_lines):
        raise ProblemError(
            415,
            "unsupported media type; send Content-Type: application/json",
            headers={"Accept": "application/json"},
        )
    if _declares_too_much(request):
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
        raise validation_problem(["body"], "missing", "empty body; send a JSON object")
    return content


def _declares_too_much(request: Request) -> bool:
    content_length = request.headers.get("content-length", "")
    if not content_length.isdecimal():
        return False
    return len(content_length) > _MAX_LENGTH_DIGITS or int(content_length) > MAX_BODY_BYTES


async def _collect(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
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
    """Receives and discards the rest of a body, within bounds.

    A caller that is cut off while it sends never reads the response.
    """
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
        f"the body is larger than {MAX_BODY_BYTES} bytes; split it into several requests",
        headers={"Connection": "close"},
    )
