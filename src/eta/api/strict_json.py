"""Strict JSON: duplicate keys, numbers out of range and deep nesting are errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from eta.api.problem_details import (
    INVALID_FIELD,
    MAX_ERRORS,
    FieldError,
    ProblemError,
    safe_path,
    validation_problem,
)

MAX_DEPTH = 32

#: Beyond this, readers in double precision disagree about integers (RFC 7493).
MAX_INTEGER = 2**53 - 1
_MAX_INTEGER_DIGITS, _MAX_REAL_DIGITS = 32, 400

#: Escapes by which NUL and surrogates get past the UTF-8 decoder.
_SUSPECT_ESCAPES = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))
_STRING = re.compile(rb'"[^"]*"')

#: By byte: +1 for an opening bracket, -1 for a closing one.
_NESTING_STEP = np.zeros(256, dtype=np.int64)
_NESTING_STEP[list(b"[{")] = 1
_NESTING_STEP[list(b"]}")] = -1

_Loc = tuple[str | int, ...]


class _InvalidValue:
    """Takes the place of an unusable value in the tree until its path is known."""

    def __init__(self, type_: str, msg: str) -> None:
        self.type, self.msg = type_, msg


def load(content: bytes) -> Any:
    """The value of a strict JSON text.

    Raises:
        ProblemError: 422 with the first ``MAX_ERRORS`` invalid values.
    """
    brackets = content.count(b"[") + content.count(b"{")
    if brackets > MAX_DEPTH and _depth(content) > MAX_DEPTH:
        raise validation_problem(
            ["body"],
            "too_deep",
            f"the JSON is nested too deeply; send at most {MAX_DEPTH} levels",
        )
    decoder = _Decoder()
    try:
        value = decoder.decode(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise validation_problem(
            ["body"], "invalid_utf8", "the body is not valid UTF-8; encode it as UTF-8"
        ) from None
    except (ValueError, RecursionError):
        raise validation_problem(
            ["body"], "json_invalid", "the body is not valid JSON; send one JSON object"
        ) from None
    if decoder.has_invalid_values or _SUSPECT_ESCAPES.search(content):
        errors = [
            FieldError(loc=safe_path(("body", *loc)), msg=invalid.msg, type=invalid.type)
            for loc, invalid in islice(_invalid_values(value), MAX_ERRORS)
        ]
        if errors:
            raise ProblemError(422, INVALID_FIELD, errors=errors)
    return value


def load_lines(content: bytes) -> list[Any]:
    """The value of each line that is not blank; an ``InvalidLine`` for a line that is invalid."""
    values: list[Any] = []
    for line in content.splitlines():
        if line.strip():
            try:
                values.append(load(line))
            except ProblemError as error:
                # Paths of items start at the item.
                errors = [
                    field_error.model_copy(update={"loc": field_error.loc[1:]})
                    for field_error in error.errors
                ]
                values.append(InvalidLine(errors))
    return values


class InvalidLine:
    """A line that is not strict JSON."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors


def _depth(content: bytes) -> int:
    """The nesting depth of the brackets outside strings, without parsing."""
    without_escapes = content.replace(rb"\\", b"").replace(rb"\"", b"")
    bare = without_escapes.translate(None, _NOT_BRACKETS)
    brackets = _STRING.sub(b"", bare)
    steps = _NESTING_STEP[np.frombuffer(brackets, dtype=np.uint8)]
    return int(np.cumsum(steps).max(initial=0))


class _Decoder(json.JSONDecoder):
    """A decoder that puts an ``_InvalidValue`` where a value is unusable."""

    def __init__(self) -> None:
        super().__init__(
            parse_int=self._parse_integer,
            parse_float=self._parse_real,
            parse_constant=self._reject_constant,
            object_pairs_hook=self._build_object,
        )
        self.has_invalid_values = False

    def _invalid(self, type_: str, msg: str) -> _InvalidValue:
        self.has_invalid_values = True
        return _InvalidValue(type_, msg)

    def _parse_integer(self, text: str) -> int | _InvalidValue:
        if len(text) > _MAX_INTEGER_DIGITS or abs(int(text)) > MAX_INTEGER:
            return self._invalid(
                "number_too_large",
                f"integer out of range; send one of at most {MAX_INTEGER} in size",
            )
        return int(text)

    def _parse_real(self, text: str) -> float | _InvalidValue:
        value = float(text) if len(text) <= _MAX_REAL_DIGITS else float("inf")
        if abs(value) < float("inf"):
            return value
        return self._invalid(
            "finite_number", "number beyond double precision; send a smaller or shorter one"
        )

    def _reject_constant(self, _: str) -> _InvalidValue:
        return self._invalid(
            "finite_number", "NaN and Infinity are not JSON; send a finite number or null"
        )

    def _build_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    result[name] = self._invalid("duplicate_key", "duplicate key; send it once")
                seen.add(name)
        return result


def _invalid_values(value: Any, loc: _Loc = ()) -> Iterator[tuple[_Loc, _InvalidValue]]:
    """Every invalid value in a tree, with its path."""
    if isinstance(value, _InvalidValue):
        yield loc, value
    elif isinstance(value, str) and _FORBIDDEN.search(value):
        yield loc, _forbidden_character("text")
    elif isinstance(value, dict):
        for name, child in value.items():
            if _FORBIDDEN.search(name):
                yield (*loc, name), _forbidden_character("key")
            else:
                yield from _invalid_values(child, (*loc, name))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _invalid_values(child, (*loc, index))


def _forbidden_character(place: str) -> _InvalidValue:
    msg = f"the {place} contains NUL or a lone surrogate; remove it"
    return _InvalidValue("forbidden_character", msg)
