"""JSON read strictly: duplicate names, huge numbers and deep nesting are errors."""

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

#: Beyond this, readers in double precision disagree about whole numbers (RFC 7493).
MAX_INTEGER = 2**53 - 1
_MAX_INTEGER_DIGITS, _MAX_REAL_DIGITS = 32, 400

#: Escapes by which NUL and surrogates get past the UTF-8 decoder.
_SUSPECT_ESCAPES = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))
_STRING = re.compile(rb'"[^"]*"')


class _InvalidValue:
    """Stands in the tree for what cannot be used, until the walk has found its path."""

    def __init__(self, type_: str, msg: str) -> None:
        self.type, self.msg = type_, msg


def load(content: bytes) -> Any:
    """The value of a strict JSON text.

    Raises:
        Refused: 422 that names each field to blame; the first ``MAX_ERRORS`` of them.
    """
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH and _depth(content) > MAX_DEPTH:
        raise validation_problem(
            ["body"], "too_deep", f"the JSON is nested deeper than {MAX_DEPTH}; send a flatter one"
        )
    invalid_values: list[_InvalidValue] = []
    try:
        value = _decoder(invalid_values).decode(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise validation_problem(
            ["body"], "invalid_utf8", "the body is not UTF-8; encode it as UTF-8"
        ) from None
    except (ValueError, RecursionError):
        raise validation_problem(
            ["body"], "json_invalid", "the body is not JSON; send one JSON object"
        ) from None
    if invalid_values or _SUSPECT_ESCAPES.search(content):
        errors = [
            FieldError(loc=safe_path(("body", *loc)), msg=invalid.msg, type=invalid.type)
            for loc, invalid in islice(_invalid_values(value), MAX_ERRORS)
        ]
        if errors:
            raise ProblemError(422, INVALID_FIELD, errors=errors)
    return value


def load_lines(content: bytes) -> list[Any]:
    """The value of each line that is not blank; in the place of one that cannot be read, ``InvalidLine`` with what is wrong with it."""
    return [_load_line(line) for line in content.splitlines() if line.strip()]


class InvalidLine:
    """A line that is no strict JSON."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors


def _load_line(line: bytes) -> Any:
    try:
        return load(line)
    except ProblemError as error:
        # Paths are told from the item on, as for items of a list.
        return InvalidLine(
            [
                field_error.model_copy(update={"loc": field_error.loc[1:]})
                for field_error in error.errors
            ]
        )


def _depth(content: bytes) -> int:
    """How deep brackets outside of strings are nested, found without parsing."""
    bare = content.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NOT_BRACKETS)
    brackets = np.frombuffer(_STRING.sub(b"", bare), dtype=np.uint8)
    steps = np.where(
        (brackets == ord("[")) | (brackets == ord("{")), 1, np.where(brackets == ord('"'), 0, -1)
    )
    return int(np.cumsum(steps).max(initial=0))


def _decoder(invalid_values: list[_InvalidValue]) -> json.JSONDecoder:
    """A decoder that puts a fault where a value cannot be used."""

    def invalid(type_: str, msg: str) -> _InvalidValue:
        invalid_values.append(_InvalidValue(type_, msg))
        return invalid_values[-1]

    def parse_integer(text: str) -> int | _InvalidValue:
        if len(text) > _MAX_INTEGER_DIGITS or abs(int(text)) > MAX_INTEGER:
            return invalid(
                "number_too_large",
                f"the whole number is beyond {MAX_INTEGER}; send a smaller one",
            )
        return int(text)

    def parse_real(text: str) -> float | _InvalidValue:
        value = float(text) if len(text) <= _MAX_REAL_DIGITS else float("inf")
        return (
            value
            if abs(value) < float("inf")
            else invalid(
                "finite_number", "the number is beyond double precision; send a shorter one"
            )
        )

    def reject_constant(_: str) -> _InvalidValue:
        return invalid(
            "finite_number", "NaN and Infinity are no JSON; send a finite number, or null"
        )

    def build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    result[name] = invalid("duplicate_key", "the key comes twice; send it once")
                seen.add(name)
        return result

    return json.JSONDecoder(
        parse_int=parse_integer,
        parse_float=parse_real,
        parse_constant=reject_constant,
        object_pairs_hook=build_object,
    )


def _invalid_values(
    value: Any, loc: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], _InvalidValue]]:
    """Every fault in a tree, with its path."""
    if isinstance(value, _InvalidValue):
        yield loc, value
    elif isinstance(value, str):
        if _FORBIDDEN.search(value):
            yield (
                loc,
                _InvalidValue(
                    "forbidden_character",
                    "the text holds NUL or half a surrogate pair; leave it out",
                ),
            )
    elif isinstance(value, dict):
        for name, child in value.items():
            if _FORBIDDEN.search(name):
                yield (
                    (*loc, name),
                    _InvalidValue(
                        "forbidden_character",
                        "the key holds NUL or half a surrogate pair; leave it out",
                    ),
                )
            else:
                yield from _invalid_values(child, (*loc, name))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _invalid_values(child, (*loc, number))
