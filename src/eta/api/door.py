"""What every body must be before anything reads it: small, identity-coded, strict JSON.

One loader for every route. It refuses what JSON readers disagree on or choke on: NaN and
infinities, numbers beyond double precision, duplicate keys, NUL and lone surrogates, deep nesting.
Everything it refuses it refuses by name.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext, suppress
from itertools import islice
from typing import Any, cast

import numpy as np
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from eta.api.keys import authorise
from eta.api.problems import (
    BAD_FIELD,
    MOST_ERRORS,
    FieldError,
    Refused,
    field_errors,
    shown,
    unprocessable,
)
from eta.api.workers import Workers

LARGEST_BODY = 8 * 2**20
#: Bytes and seconds of a body that is too large that are taken in and forgotten.
LARGEST_READ_AWAY, READ_AWAY_SECONDS = 4 * LARGEST_BODY, 2.0
#: Larger bodies are parsed beside the event loop.
SMALL_BODY = 64 * 2**10
DEEPEST = 32
#: Seconds that a body may take to arrive.
SLOWEST = 30.0
#: Beyond this, readers in double precision disagree about whole numbers (RFC 7493).
LARGEST_INTEGER = 2**53 - 1
_LONGEST_INTEGER, _LONGEST_REAL = 32, 400

_JSON_TYPE = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_LINES_TYPE = re.compile(
    r"application/(?:x-ndjson|jsonl)(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE
)
#: Escapes by which NUL and surrogates get past the UTF-8 decoder.
_DOUBTFUL = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))
_STRING = re.compile(rb'"[^"]*"')


class _Fault:
    """Stands in the tree for what cannot be used, until the walk has found its path."""

    def __init__(self, type_: str, msg: str) -> None:
        self.type, self.msg = type_, msg


#: What the contract says of a route beside OpenAPI's own words: the scope it needs, its kind of
#: work, and whether it reads lines of JSON.
SCOPE, KIND, LINES = "x-scope", "x-kind", "x-lines"


class StrictRoute(APIRoute):
    """A route whose caller is known, and taken on, and whose body is strict JSON before the handler hears of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the door."""
        handle, facts = super().get_route_handler(), self.openapi_extra or {}
        model = (
            TypeAdapter[Any](cast("Any", self.body_field.field_info.annotation))
            if self.body_field
            else None
        )
        scope, kind, lines = facts.get(SCOPE), facts.get(KIND), facts.get(LINES)

        known = {parameter.alias for parameter in self.dependant.query_params}

        async def strict(request: Request) -> Response:
            caller = request.state.caller = authorise(request, scope)
            if unknown := next((name for name in request.query_params if name not in known), None):
                raise unprocessable(
                    ["query", unknown],
                    "extra_forbidden",
                    "there is no such parameter; mend its name, or leave it out",
                )
            with request.app.state.admission.admit(kind, caller) if kind else nullcontext():
                if model is None:
                    return await handle(request)
                content = await read_body(request, reads_lines=bool(lines))
                return await handle(
                    _Read(request, content, model, lines, is_ingest=kind == "ingest")
                )

        return strict


class _Read(Request):
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
        others = [
            (name, value) for name, value in request.scope["headers"] if name != b"content-type"
        ]
        scope = (
            {**request.scope, "headers": [*others, (b"content-type", b"application/json")]}
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
        if len(self._content) <= SMALL_BODY:
            return self._load()
        workers: Workers = self.app.state.parsers if self._is_ingest else self.app.state.workers
        return await workers.run(lambda: _validated(self._model, self._load()), len(self._content))


def _validated(model: TypeAdapter[Any], value: object) -> Any:
    try:
        return model.validate_python(value)
    except ValidationError as error:
        faults = field_errors(
            {**fault, "loc": ("body", *fault["loc"])}
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise Refused(422, BAD_FIELD, errors=faults) from None


async def read_body(request: Request, *, reads_lines: bool = False) -> bytes:
    """The body, whole, if it may be read at all; with ``reads_lines``, lines of JSON may be.

    Raises:
        Refused: 415 for another coding or type, 413 for too much, 408 for too slow, 422 for
            nothing.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused(
            415, "the body is compressed; send it as it is", headers={"Accept-Encoding": "identity"}
        )
    declared_type = request.headers.get("content-type", "").strip()
    if not (
        _JSON_TYPE.fullmatch(declared_type)
        or (reads_lines and _LINES_TYPE.fullmatch(declared_type))
    ):
        raise Refused(
            415,
            "the body is not declared as JSON; send Content-Type: application/json",
            headers={"Accept": "application/json"},
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > LARGEST_BODY):
        await _read_away(request)
        raise _too_large()
    try:
        async with asyncio.timeout(SLOWEST):
            content = await _collect(request)
    except TimeoutError:
        raise Refused(
            408,
            f"the body did not arrive within {SLOWEST:g} seconds; send it again",
            headers={"Connection": "close"},
        ) from None
    if not content:
        raise unprocessable(["body"], "missing", "the body is empty; send a JSON object")
    return content


async def _collect(request: Request) -> bytes:
    chunks, size = [], 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the connection was closed before the body had arrived")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > LARGEST_BODY:
            await _read_away(request)
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _read_away(request: Request) -> None:
    """Lets a caller who is still sending finish, within bounds: who is cut off while sending never reads the answer."""
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(READ_AWAY_SECONDS):
            while size < LARGEST_READ_AWAY:
                message = await request.receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _too_large() -> Refused:
    return Refused(
        413,
        f"the body is larger than {LARGEST_BODY} bytes; send it in parts",
        headers={"Connection": "close"},
    )


def load(content: bytes) -> Any:
    """The value of a strict JSON text.

    Raises:
        Refused: 422 that names each field to blame; the first ``MOST_ERRORS`` of them.
    """
    if content.count(b"[") + content.count(b"{") > DEEPEST and _depth(content) > DEEPEST:
        raise unprocessable(
            ["body"], "too_deep", f"the JSON is nested deeper than {DEEPEST}; send a flatter one"
        )
    faults: list[_Fault] = []
    try:
        value = _decoder(faults).decode(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise unprocessable(
            ["body"], "invalid_utf8", "the body is not UTF-8; encode it as UTF-8"
        ) from None
    except (ValueError, RecursionError):
        raise unprocessable(
            ["body"], "json_invalid", "the body is not JSON; send one JSON object"
        ) from None
    if faults or _DOUBTFUL.search(content):
        found = [
            FieldError(loc=shown(("body", *loc)), msg=fault.msg, type=fault.type)
            for loc, fault in islice(_faults(value), MOST_ERRORS)
        ]
        if found:
            raise Refused(422, BAD_FIELD, errors=found)
    return value


def load_lines(content: bytes) -> list[Any]:
    """The value of each line that is not blank; in the place of one that cannot be read, ``Unread`` with what is wrong with it."""
    return [_load_line(line) for line in content.splitlines() if line.strip()]


class Unread:
    """A line that is no strict JSON."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors


def _load_line(line: bytes) -> Any:
    try:
        return load(line)
    except Refused as error:
        # Paths are told from the item on, as for items of a list.
        return Unread([fault.model_copy(update={"loc": fault.loc[1:]}) for fault in error.errors])


def _depth(content: bytes) -> int:
    """How deep brackets outside of strings are nested, found without parsing."""
    bare = content.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NOT_BRACKETS)
    brackets = np.frombuffer(_STRING.sub(b"", bare), dtype=np.uint8)
    steps = np.where(
        (brackets == ord("[")) | (brackets == ord("{")), 1, np.where(brackets == ord('"'), 0, -1)
    )
    return int(np.cumsum(steps).max(initial=0))


def _decoder(faults: list[_Fault]) -> json.JSONDecoder:
    """A decoder that puts a fault where a value cannot be used."""

    def fault(type_: str, msg: str) -> _Fault:
        faults.append(_Fault(type_, msg))
        return faults[-1]

    def whole(text: str) -> int | _Fault:
        if len(text) > _LONGEST_INTEGER or abs(int(text)) > LARGEST_INTEGER:
            return fault(
                "number_too_large",
                f"the whole number is beyond {LARGEST_INTEGER}; send a smaller one",
            )
        return int(text)

    def real(text: str) -> float | _Fault:
        value = float(text) if len(text) <= _LONGEST_REAL else float("inf")
        return (
            value
            if abs(value) < float("inf")
            else fault("finite_number", "the number is beyond double precision; send a shorter one")
        )

    def constant(_: str) -> _Fault:
        return fault("finite_number", "NaN and Infinity are no JSON; send a finite number, or null")

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    result[name] = fault("duplicate_key", "the key comes twice; send it once")
                seen.add(name)
        return result

    return json.JSONDecoder(
        parse_int=whole, parse_float=real, parse_constant=constant, object_pairs_hook=mapping
    )


def _faults(
    value: Any, loc: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], _Fault]]:
    """Every fault in a tree, with its path."""
    if isinstance(value, _Fault):
        yield loc, value
    elif isinstance(value, str):
        if _FORBIDDEN.search(value):
            yield (
                loc,
                _Fault(
                    "forbidden_character",
                    "the text holds NUL or half a surrogate pair; leave it out",
                ),
            )
    elif isinstance(value, dict):
        for name, child in value.items():
            if _FORBIDDEN.search(name):
                yield (
                    (*loc, name),
                    _Fault(
                        "forbidden_character",
                        "the key holds NUL or half a surrogate pair; leave it out",
                    ),
                )
            else:
                yield from _faults(child, (*loc, name))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _faults(child, (*loc, number))
