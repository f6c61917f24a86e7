"""Strict JSON: duplicate keys, numbers out of range, deep nesting and too many values are errors.

What can be counted without parsing is counted first, so that a rejected text costs next to nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, starmap
from typing import Any

import numpy as np

from eta.api.error_budget import ErrorBudget, FieldError
from eta.api.problem_details import INVALID_FIELD, ProblemError, safe_path, validation_problem

MAX_DEPTH = 32

#: How many values and keys a text may have, and one that is no batch; separators and brackets
#: inside texts count too.
MAX_VALUES, MAX_SINGLE_VALUES = 500_000, 20_000

#: How many keys an object may have: more than any schema knows.
MAX_KEYS = 64

#: How many blank lines JSON Lines may have beside each one that holds a value.
_BLANK_LINES = 2

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


def load(content: bytes, budget: ErrorBudget | None = None, *, max_values: int = MAX_VALUES) -> Any:
    """The value of a strict JSON text.

    Raises:
        ProblemError: 422 with the first invalid values, as many as ``budget`` allows.
    """
    try:
        return _read(content, max_values)
    except _InvalidJson as invalid:
        errors = (budget or ErrorBudget()).take(invalid.errors)
        raise ProblemError(422, INVALID_FIELD, errors=errors) from None


def load_lines(content: bytes, max_lines: int, budget: ErrorBudget) -> list[Any]:
    """The value of each line that is not blank; an ``InvalidLine`` for a line that is invalid.

    Raises:
        ProblemError: 422 for more than ``max_lines`` lines, before any of them is parsed.
    """
    values: list[Any] = []
    for line in _lines(content, max_lines):
        try:
            values.append(_read(line, MAX_VALUES))
        except _InvalidJson as invalid:
            values.append(InvalidLine(budget.take(map(_in_item, invalid.errors))))
    return values


class _InvalidJson(Exception):  # never leaves this module
    """A text that is not strict JSON; its errors are made as they are read."""

    def __init__(self, errors: Iterator[FieldError]) -> None:
        super().__init__()
        self.errors = errors


def _read(content: bytes, max_values: int) -> Any:
    """The value of a strict JSON text.

    Raises:
        _InvalidJson: if it is not one.
    """
    _check_counts(content, max_values)
    decoder = _Decoder()
    try:
        value = decoder.decode(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise _invalid_text("invalid_utf8", "not valid UTF-8; encode it as UTF-8") from None
    except (ValueError, RecursionError):
        raise _invalid_text("json_invalid", "not valid JSON; send one JSON object") from None
    if decoder.has_invalid_values or _SUSPECT_ESCAPES.search(content):
        invalid_values = _invalid_values(value)
        if first := next(invalid_values, None):
            raise _InvalidJson(starmap(_field_error, chain([first], invalid_values)))
    return value


def _invalid_text(type_: str, what: str) -> _InvalidJson:
    return _InvalidJson(iter([FieldError(loc=["body"], msg=f"the body is {what}", type=type_)]))


def _field_error(loc: _Loc, invalid: _InvalidValue) -> FieldError:
    return FieldError(loc=safe_path(("body", *loc)), msg=invalid.msg, type=invalid.type)


def _in_item(error: FieldError) -> FieldError:
    """The same error with its path from the item on."""
    return error.model_copy(update={"loc": error.loc[1:]})


def _lines(content: bytes, max_lines: int) -> list[bytes]:
    """The lines that are not blank."""
    lines: list[bytes] = []
    count, start = 0, 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        line = content[start:end].strip()
        start = end + 1
        count += 1
        if line:
            lines.append(line)
        if len(lines) > max_lines or count > max_lines * (1 + _BLANK_LINES):
            msg = f"too many lines; send at most {max_lines} a request, with few blank ones"
            raise validation_problem(["body"], "too_long", msg)
    return lines


def _check_counts(content: bytes, max_values: int) -> None:
    """Raises _InvalidJson for too many values or too deep a nesting, without parsing."""
    brackets = content.count(b"[") + content.count(b"{")
    separators = content.count(b",") + content.count(b":")
    if brackets + separators > max_values or content.count(b'"') > 2 * max_values:
        what = f"too large: it has too many values; send at most {max_values}, keys included"
        raise _invalid_text("too_many_values", what)
    if brackets > MAX_DEPTH and _depth(content) > MAX_DEPTH:
        what = f"nested too deeply; send at most {MAX_DEPTH} levels"
        raise _invalid_text("too_deep", what)


class InvalidLine:
    """A line that is not strict JSON."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors


def _depth(content: bytes) -> int:
    """The nesting depth of the brackets outside strings, without parsing."""
    without_escapes = content.replace(rb"\\", b"").replace(rb"\"", b"")
    bare = without_escapes.translate(None, _NOT_BRACKETS).replace(b'""', b"")
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

    def _build_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any] | _InvalidValue:
        if len(pairs) > MAX_KEYS:
            msg = f"too many keys; send at most {MAX_KEYS} an object"
            return self._invalid("too_many_keys", msg)
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
