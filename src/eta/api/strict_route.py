"""A route that authenticates the caller, limits the load, and reads a body strictly.

A body must be small, uncompressed, strict JSON. Readers of JSON disagree about NaN and infinities,
numbers beyond double precision, duplicate keys, NUL, lone surrogates and deep nesting, so all of
these are rejected with the path to the value.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from eta.api.auth import authenticate
from eta.api.dependencies import resources_of
from eta.api.error_budget import ErrorBudget
from eta.api.fair_executor import FairExecutor
from eta.api.problem_details import (
    INVALID_FIELD,
    ProblemError,
    errors_of,
    field_errors,
    validation_problem,
)
from eta.api.request_body import is_json_lines, read_body
from eta.api.schemas.common import BatchModel
from eta.api.schemas.events import MAX_EVENTS
from eta.api.strict_json import MAX_SINGLE_VALUES, MAX_VALUES, load, load_lines
from eta.domain.access import Principal

#: Larger bodies, and those with more values, are parsed outside the event loop.
INLINE_BODY_BYTES, INLINE_VALUES = 16 * 2**10, 250

#: How many parameters a query string may have.
MAX_QUERY_PARAMETERS = 32

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
        # What the body must be; None for a route without a body.
        model: TypeAdapter[Any] | None = None
        max_values = MAX_SINGLE_VALUES
        if self.body_field:
            annotation = cast("Any", self.body_field.field_info.annotation)
            model = TypeAdapter(annotation)
            max_values = MAX_VALUES if issubclass(annotation, BatchModel) else max_values
        query_names = {parameter.alias for parameter in self.dependant.query_params}

        async def strict(request: Request) -> Response:
            resources = resources_of(request)
            principal = authenticate(request, resources.auth, scope)
            request.state.principal = principal
            _check_query(request, query_names)
            if not kind:
                return await handle(request)
            admission = resources.admission
            admission.check_rate(principal)
            with admission.body_bytes(principal) as body_bytes:
                content = b""
                if model is not None:
                    with admission.incoming_body(principal):
                        content = await read_body(request, body_bytes, reads_lines=bool(lines))
                with admission.slot(kind, principal):
                    if model is not None:
                        field = lines if is_json_lines(request) else None
                        body = _Body(content, model, field, max_values)
                        parser = resources.parsers[kind]
                        request = _ParsedRequest(request, body, await body.parse(parser, principal))
                    return await handle(request)

        return strict


def _check_query(request: Request, query_names: set[str]) -> None:
    """Raises a 422 for an unknown parameter, and for too many."""
    if request.scope["query_string"].count(b"&") >= MAX_QUERY_PARAMETERS:
        msg = f"too many parameters; send at most {MAX_QUERY_PARAMETERS}"
        raise validation_problem(["query"], "too_long", msg)
    for name in request.query_params:
        if name not in query_names:
            raise validation_problem(
                ["query", name],
                "extra_forbidden",
                "unknown parameter; check the spelling or remove it",
            )


@dataclass(frozen=True)
class _Body:
    """A body that was read, and what it must be."""

    content: bytes
    model: TypeAdapter[Any]
    #: The field that holds the values of JSON Lines; None if the body is JSON.
    lines: str | None
    #: How many values it may have.
    max_values: int

    async def parse(self, parser: FairExecutor, principal: Principal) -> Any:
        """The validated model; of a large body, it is built outside the event loop.

        Raises:
            ProblemError: 422 for a body that is not strict JSON, or not what it must be; 429 or 503
                if too many large bodies are waiting.
        """
        content = self.content
        if len(content) <= INLINE_BODY_BYTES and _value_count(content) <= INLINE_VALUES:
            return self._parse()
        return await parser.run(principal, self._parse)

    def _parse(self) -> Any:
        budget = ErrorBudget()
        if self.lines is None:
            value = load(self.content, budget, max_values=self.max_values)
        else:
            value = {self.lines: load_lines(self.content, MAX_EVENTS, budget)}
        try:
            return self.model.validate_python(value, from_attributes=True, context=budget)
        except ValidationError as error:
            errors = field_errors(errors_of(error), budget, "body")
            raise ProblemError(422, INVALID_FIELD, errors=errors) from None


def _value_count(content: bytes) -> int:
    """About how many values there are, without parsing."""
    return content.count(b",") + content.count(b"\n")


class _ParsedRequest(Request):
    """A request whose body has been parsed."""

    def __init__(self, request: Request, body: _Body, value: Any) -> None:
        self._content, self._value = body.content, value
        scope = request.scope
        if body.lines is not None:
            # The framework takes JSON Lines for a JSON body.
            headers = [header for header in scope["headers"] if header[0] != b"content-type"]
            headers.append((b"content-type", b"application/json"))
            scope = {**scope, "headers": headers}
        super().__init__(scope, request.receive)

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        """The validated model."""
        return self._value
