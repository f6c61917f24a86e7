"""Hostile requests: poisonous values in every place of valid bodies, and random damage."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from eta.api.openapi import (
    ESTIMATE_REQUESTS,
    EVENT_REQUESTS,
    ORDER_ESTIMATE_REQUESTS,
    SCORE_REQUESTS,
    SHIP_BY_REQUESTS,
    SHIPMENT_REQUESTS,
    SHIPMENT_UPDATE_REQUESTS,
)

GOOD: list[tuple[str, Any]] = [
    *(("/v1/estimates", body) for body in ESTIMATE_REQUESTS.values()),
    *(("/v1/order-estimates", body) for body in ORDER_ESTIMATE_REQUESTS.values()),
    *(("/v1/score", body) for body in SCORE_REQUESTS.values()),
    *(("/v1/ship-by", body) for body in SHIP_BY_REQUESTS.values()),
    *(("/v1/shipments", body) for body in SHIPMENT_REQUESTS.values()),
    *(("/v1/events", body) for body in EVENT_REQUESTS.values()),
    *(("/v1/shipments/shp_0", body) for body in SHIPMENT_UPDATE_REQUESTS.values()),
]
JSON_HEADERS = {"content-type": "application/json"}

#: JSON texts; hardly any field accepts them.
POISONS = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e-400",
        "1e308",
        "-0.0",
        "0",
        "-1",
        "5e-324",
        "true",
        "null",
        "{}",
        "[]",
        '""',
    ),
    *(
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "9007199254740993",
        "9" * 5000,
        "0." + "1" * 5000,
        "1." + "0" * 100_000,
    ),
    *(
        r'"\ud800"',
        r'"\udc00x"',
        r'"\u0000"',
        r'"a\u0000b"',
        r'"\ud83d\ude00"',
        '"\\u202e"',
        '"NaN"',
        '"Infinity"',
        '"' + "x" * 70_000 + '"',
    ),
    *(
        '"0001-01-01T00:00:00"',
        '"0001-01-01T00:00:00Z"',
        '"9999-12-31T23:59:59Z"',
        '"9999-12-31T23:59:59-01:00"',
        '"9999-12-31"',
        '"0000-00-00"',
    ),
    *(
        '"2026-05-20T24:00:00Z"',
        '"2026-05-20T23:59:60Z"',
        '"2026-05-20T10:00:00"',
        '"2026-05-20T10:00:00+14:00"',
        '"2026-05-20T10:00:00-14:00"',
    ),
    *(
        '"2026-05-20T10:00:00+14:01"',
        '"2026-05-20T10:00:00+99:99"',
        '"1970-01-01T00:00:00Z"',
        '"2100-12-31T23:59:59.999999Z"',
        '"2026-02-29"',
        '"2100-12-31"',
    ),
    *(
        '"1970-01-01"',
        '"2026-W21-3"',
        '"20260520"',
        '"2026-05-20T10:00:00,5Z"',
        '"\uff12\uff10\uff12\uff16-05-20"',
        '"2026-05-20T10:00:00Z\\n"',
    ),
    *(
        '"AT"',
        '"XX"',
        '"at"',
        '"A\\u0054"',
        '"ZZZ"',
        '"__proto__"',
        '"\'; DROP TABLE parcels; --"',
        '"<script>alert(1)</script>"',
        '"%00%s%n"',
        '"../../etc/passwd"',
    ),
    "[" * 20 + "]" * 20,
    '{"a":' * 40 + "1" + "}" * 40,
    '{"country": "AT", "country": "DE"}',
    '{"value": 0, "unit": "g"}',
    '{"value": 1000.001, "unit": "kg"}',
    '{"value": 5e-324, "unit": "oz"}',
    '{"value": 1e308, "unit": "lb"}',
    '{"value": 1, "unit": "stone"}',
    "[" + ",".join(["{}"] * 60) + "]",
]

#: Bodies that are invalid as a whole.
BODIES = [
    *(
        b"",
        b" ",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"NaN",
        b"{",
        b"}",
        b"{}",
        b'{"a":1}x',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"\xff": 1}',
        b"'{}'",
        b"{a: 1}",
    ),
    *(
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"x":"' + b"[" * 50_000 + b'"}',
        b'"\\',
        b"\x00",
        b"{}\x00",
        b"9" * 5000,
    ),
    b"{" + b",".join(b'"k%d":1' % number for number in range(50_000)) + b"}",
]

HEADERS: list[dict[str, str]] = [
    {},
    {"content-type": "text/plain"},
    {"content-type": "application/xml"},
    {"content-type": "application/json; charset=utf-16"},
    {"content-type": "application/jsonx"},
    {"content-type": "multipart/form-data; boundary=x"},
    {"content-type": "application/json", "content-encoding": "gzip"},
    {"content-type": "application/json", "content-encoding": "identity, gzip"},
    {"content-type": "application/json", "content-encoding": "zstd"},
    {"content-type": "application/json", "content-length": "99999999999999999999"},
    {"content-type": "application/json", "accept": "text/html"},
]


class HostileRequest(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all values in a JSON value."""
    yield path
    items: Any = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, child in items:
        yield from places(child, (*path, name))


def poisoned(body: Any, path: tuple[str | int, ...], poison: str) -> bytes:
    """A valid body with a poison in one place, as JSON text."""
    mark = "@@poison@@"
    if not path:
        return poison.encode()
    changed = copy.deepcopy(body)
    at = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = mark
    return json.dumps(changed).replace(f'"{mark}"', poison).encode()


def damaged(chance: random.Random, content: bytes) -> bytes:
    """The content with some bytes removed, doubled or changed."""
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + chance.randrange(1, 40))
    middle = chance.choice(
        [
            b"",
            content[start:end] * 2,
            chance.randbytes(end - start),
            b"\x00",
            b"\xf0\x9f",
            b'"',
            b"[",
            b"}",
        ]
    )
    return content[:start] + middle + content[end:]


def requests(seed: int, count: int) -> Iterator[HostileRequest]:
    """``count`` random requests."""
    chance = random.Random(seed)
    for _ in range(count):
        path, body = chance.choice(GOOD)
        content = poisoned(body, chance.choice(list(places(body))), chance.choice(POISONS))
        kind = chance.random()
        if kind < 0.1:
            content = chance.choice(BODIES)
        elif kind < 0.25:
            content = damaged(chance, json.dumps(body).encode())
        headers = chance.choice(HEADERS) if chance.random() < 0.1 else JSON_HEADERS
        method = (
            chance.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
            if chance.random() < 0.05
            else "PATCH"
            if "shp_" in path
            else "POST"
        )
        if chance.random() < 0.05:
            path = chance.choice(
                [
                    "/v1/shipments?cursor=%00",
                    "/v1/shipments/%00",
                    "/v1/shipments?limit=0&ids=,",
                    "/v1/shipments?external_ids=%ff",
                    "/v1/models",
                    "/v1/score/",
                    "/v1//score",
                    "/v1/%00",
                    "/v2/score",
                    "/%2e%2e/etc/passwd",
                    "/livez",
                    "/readyz",
                    "/metrics",
                    "/",
                ]
            )
        yield HostileRequest(method, path, headers, content)


def faults_of(status: int, content_type: str, content: bytes) -> list[str]:
    """What is wrong with a response.

    It is a server error, an error without a problem, a 422 that names no field or no fix, or a body
    that is not JSON.
    """
    if status >= 500:
        return [f"{status}"]
    if status < 400:
        return _faults_of_success(content) if content_type == "application/json" and content else []
    if content_type != "application/problem+json":
        return [f"{status} is {content_type}"]
    if not content:  # HEAD
        return []
    problem = json.loads(content)
    wrong = (
        []
        if problem["status"] == status
        and set(problem) == {"type", "title", "status", "detail", "instance", "errors"}
        else ["not a problem"]
    )
    if status == 422 and not (
        problem["errors"]
        and all(
            error["loc"][0] in ("body", "query", "path", "header") and ";" in error["msg"]
            for error in problem["errors"]
        )
    ):
        wrong.append("a 422 names no field or no fix")
    return wrong if content.isascii() else [*wrong, "echoes what is not ASCII"]


def _faults_of_success(content: bytes) -> list[str]:
    constants: list[str] = []
    json.loads(content, parse_constant=constants.append)
    return [f"{constant} is not a number" for constant in constants]
