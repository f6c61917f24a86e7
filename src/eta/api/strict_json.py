"""JSON read strictly: duplicate names, huge numbers and deep nesting are errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from eta.api.problem_details import (
    BAD_FIELD,
    MOST_ERRORS,
    FieldError,
    Refused,
    shown,
    unprocessable,
)

DEEPEST = 32

#: Beyond this, readers in double precision disagree about whole numbers (RFC 7493).
LARGEST_INTEGER = 2**53 - 1
_LONGEST_INTEGER, _LONGEST_REAL = 32, 400

#: Escapes by which NUL and surrogates get past the UTF-8 decoder.
_DOUBTFUL = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))
_STRING = re.compile(rb'"[^"]*"')


class _Fault:
    """Stands in the tree for what cannot be used, until the walk has found its path."""

    def __init__(self, type_: str, msg: str) -> None:
        self.type, self.msg = type_, msg


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
