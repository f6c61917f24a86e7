"""A route that authenticates the caller, limits the load, and reads a body strictly.

A body must be small, uncompressed, strict JSON. Readers of JSON disagree about NaN and infinities,
numbers beyond double precision, duplicate keys, NUL, lone surrogates and deep nesting, so all of
these are rejected with the path to the value.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from eta.api.auth import authenticate
from eta.api.dependencies import resources_of
from eta.api.problem_details import INVALID_FIELD, ProblemError, field_errors, validation_problem
from eta.api.request_body import is_json_lines, read_body
from eta.api.strict_json import load, load_lines

#: Larger bodies are parsed outside the event loop.
INLINE_BODY_BYTES = 64 * 2**10

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
        if self.body_field:
            model = TypeAdapter(cast("Any", self.body_field.field_info.annotation))
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
                if model is not None:
                    with admission.incoming_body(principal):
                        content = await read_body(request, body_bytes, reads_lines=bool(lines))
                    request = _BufferedRequest(
                        request, content, model, lines, is_ingest=kind == "ingest"
                    )
                with admission.slot(kind, principal):
                    return await handle(request)

        return strict


def _check_query(request: Request, query_names: set[str]) -> None:
    """Raises a 422 for an unknown parameter."""
    for name in request.query_params:
        if name not in query_names:
            raise validation_problem(
                ["query", name],
                "extra_forbidden",
                "unknown parameter; check the spelling or remove it",
            )


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
        self._lines = lines if is_json_lines(request) else None
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


def _validated(model: TypeAdapter[Any], value: object) -> Any:
    try:
        return model.validate_python(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        errors = field_errors({**detail, "loc": ("body", *detail["loc"])} for detail in details)
        raise ProblemError(422, INVALID_FIELD, errors=errors) from None
