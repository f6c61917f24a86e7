"""Attacks on time and memory: valid callers whose requests cost the service more than they should.

Each attack is a list of requests that one caller sends over and over, on so many connections, all
at once. ``path`` may hold a query string.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eta.api.openapi import ESTIMATE_REQUESTS, EVENT_REQUESTS, SCORE_REQUESTS

JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}
_KIB, _MIB = 2**10, 2**20
_BODY_LIMIT = 8 * _MIB
_ESTIMATE = next(iter(ESTIMATE_REQUESTS.values()))
_SHIPMENT = SCORE_REQUESTS["one in transit, one invalid"]["shipments"][0]
_EVENT = EVENT_REQUESTS["two events, one of them in local time"]["events"][0]


@dataclass(frozen=True)
class LoadRequest:
    """One request of an attack."""

    path: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    method: str = "POST"
    #: Bytes a second at which the body is sent; None: as fast as the connection takes it.
    body_rate: float | None = None
    #: The same for the request line and the headers.
    head_rate: float | None = None
    #: Whether the body is sent in chunks, without its length.
    is_chunked: bool = False
    #: Whether the caller reads the answer.
    reads_answer: bool = True


@dataclass(frozen=True)
class Attack:
    """Requests that one caller sends again and again, in turn, on each of its connections."""

    name: str
    connections: int
    requests: Callable[[], list[LoadRequest]]


def _events(events: list[Any], **options: Any) -> LoadRequest:
    return LoadRequest("/v1/events", json.dumps({"events": events}).encode(), **options)


def _scores(shipments: list[Any], **options: Any) -> LoadRequest:
    return LoadRequest("/v1/score", json.dumps({"shipments": shipments}).encode(), **options)


def _events_text(items: bytes) -> LoadRequest:
    return LoadRequest("/v1/events", b'{"events": [' + items + b"]}")


def _filled(item: bytes, size: int, separator: bytes = b",") -> bytes:
    return separator.join([item] * (size // (len(item) + len(separator))))


def _lines(line: bytes, size: int) -> LoadRequest:
    return LoadRequest("/v1/events", line * (size // len(line)), LINES)


def _score_of_11_kb(**options: Any) -> LoadRequest:
    shipments = [{**_SHIPMENT, "shipment_id": f"S-{number}"} for number in range(26)]
    return _scores(shipments, **options)


def _numbered_events(count: int) -> list[dict[str, Any]]:
    return [{**_EVENT, "tracking_number": f"T{number:07d}"} for number in range(count)]


def _bad_events(count: int) -> list[dict[str, Any]]:
    """Events with a dozen errors each, about 1.3 MiB for 5,000."""
    unknown = {f"field_{number}": "x" for number in range(12)}
    return [{"event_code": "no such code", **unknown} for _ in range(count)]


def _wide(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(count)) + b"}"


def _nested(depth: int, size: int) -> bytes:
    return _filled(b"[" * depth + b"]" * depth, size)


def _slow_bodies() -> list[LoadRequest]:
    return [_score_of_11_kb(body_rate=380.0)]


def _slow_events() -> list[LoadRequest]:
    return [_events(_numbered_events(50), body_rate=300.0, is_chunked=True)]


def _slow_heads() -> list[LoadRequest]:
    padding = {f"x-padding-{number}": "x" * 100 for number in range(40)}
    return [LoadRequest("/v1/score", b"{}", {**JSON, **padding}, head_rate=40.0)]


def _large_bodies() -> list[LoadRequest]:
    padded = _SHIPMENT | {"destination_address": _SHIPMENT["destination_address"]}
    content = json.dumps({"shipments": [padded] * 10}).encode()
    return [LoadRequest("/v1/score", content.ljust(_BODY_LIMIT))]


def _large_slow_bodies() -> list[LoadRequest]:
    """8 MiB that arrive within 28 seconds."""
    return [LoadRequest("/v1/events", b" " * _BODY_LIMIT, body_rate=300_000.0, is_chunked=True)]


def _short_lines() -> list[LoadRequest]:
    lines = (b"x\n", b"{}\n", b"1\n", b'""\n', b"[]\n", b"\n", b" \n", b"\r\n")
    return [_lines(line, 512 * _KIB) for line in lines]


def _many_short_lines() -> list[LoadRequest]:
    return [_lines(line, _BODY_LIMIT) for line in (b"x\n", b"{}\n", b"\n", b"x")]


def _many_items() -> list[LoadRequest]:
    items = (b"{}", b"1", b'""', b"[]", b"null", b'{"a":1}', b"[[[]]]", b"1.5", b"NaN")
    small = [_events_text(_filled(item, 48 * _KIB)) for item in items]
    large = [_events_text(_filled(item, _BODY_LIMIT - 64)) for item in items]
    scores = LoadRequest("/v1/score", b'{"shipments": [' + _filled(b"{}", _MIB) + b"]}")
    carriers = {**_ESTIMATE, "carriers": [{}] * 20_000}
    return [*small, *large, scores, LoadRequest("/v1/estimates", json.dumps(carriers).encode())]


def _lists_inside_items() -> list[LoadRequest]:
    """Lists that are too long, in fields of valid items."""
    days = {**_ESTIMATE, "carriers": [{"delivery_days": [1] * 40_000}]}
    chances = {"unit": "business_days", "probabilities": [0.0] * 400_000}
    pickup = {"order_cutoff_time": "15:00", "order_processing_time": chances}
    parcels = {"parcels": [{}] * 100_000, "destination_address": {"country": "AT"}}
    return [
        _scores([{**_SHIPMENT, "events": [{}] * 200_000}]),
        _scores([{**_SHIPMENT, "events": [1] * 2_000}] * 500),
        LoadRequest("/v1/estimates", json.dumps(days).encode()),
        LoadRequest(
            "/v1/estimates", json.dumps({**_ESTIMATE, "estimated_pickup": pickup}).encode()
        ),
        LoadRequest("/v1/order-estimates", json.dumps(parcels).encode()),
    ]


def _odd_texts() -> list[LoadRequest]:
    """Nesting, wide objects, duplicate keys, long numbers and long texts."""
    duplicates = b"{" + _filled(b'"a":1', _BODY_LIMIT - 2) + b"}"
    longest = _BODY_LIMIT - 64
    bodies = [
        _wide(500_000),
        b'{"events": [' + _wide(500_000) + b"]}",
        duplicates,
        b'{"events": [' + _nested(30, longest) + b"]}",
        b"[" * longest,
        b"9" * longest,
        b'{"events": [' + b"9" * longest + b"]}",
        b'{"events": [0.' + b"1" * longest + b"]}",
        b'{"events": "' + b"x" * longest + b'"}',
        b'{"' + b"x" * longest + b'": 1}',
        b'{"events": "' + b"\\u0041" * (longest // 6) + b'"}',
        b'{"events": "' + b"\\\\" * (longest // 2) + b'"}',
        b'{"events": ["' + b"\xc3\xa9" * (longest // 2) + b'"]}',
        b'{"events": ["' + b'","'.join([b"\\u0000"] * 100_000) + b'"]}',
    ]
    return [LoadRequest("/v1/events", body) for body in bodies]


def _bad_batches() -> list[LoadRequest]:
    key = {**JSON, "idempotency-key": "bad"}
    bad_shipment = {**_SHIPMENT, **{f"field_{number}": 1 for number in range(12)}}
    bad_scans = {**_SHIPMENT, "events": [{"event_code": "no such code"}] * 60}
    return [
        _events(_bad_events(5_000)),
        _events(_bad_events(5_000), headers=key),
        _events([{}] * 5_000),
        _scores([bad_shipment] * 5_000),
        _scores([bad_scans] * 2_000),
        _events([{**event, "external_id": "none"} for event in _numbered_events(5_000)]),
    ]


def _long_queries() -> list[LoadRequest]:
    names = "&".join(f"k{number}=1" for number in range(5_000))
    repeated = "&".join(["limit=1"] * 5_000)
    ids = ",".join(["a"] * 4_000)
    paths = [
        f"/v1/shipments?{names}",
        f"/v1/shipments?{repeated}",
        f"/v1/shipments?ids={ids}",
        f"/v1/shipments?ids={'%2C' * 8_000}",
        f"/v1/shipments/{'a' * 40_000}",
        f"/{'a/' * 20_000}",
    ]
    return [LoadRequest(path, method="GET") for path in paths]


def _many_headers() -> list[LoadRequest]:
    headers = {f"x-{number}": "1" for number in range(4_000)}
    return [
        LoadRequest("/v1/models", headers=headers, method="GET"),
        LoadRequest("/v1/models", headers={"x-long": "x" * _MIB}, method="GET"),
    ]


def _full_batches() -> list[LoadRequest]:
    shipments = [{**_SHIPMENT, "shipment_id": f"S-{number}"} for number in range(5_000)]
    return [_scores(shipments), _events(_numbered_events(5_000))]


def _unread_answers() -> list[LoadRequest]:
    shipments = [{**_SHIPMENT, "shipment_id": f"S-{number}"} for number in range(2_000)]
    return [_scores(shipments, reads_answer=False)]


#: Every attack, by what it wastes.
ATTACKS: list[Attack] = [
    Attack("slow_bodies", 50, _slow_bodies),
    Attack("slow_events", 200, _slow_events),
    Attack("slow_heads", 200, _slow_heads),
    Attack("large_bodies", 100, _large_bodies),
    Attack("large_slow_bodies", 100, _large_slow_bodies),
    Attack("short_lines", 4, _short_lines),
    Attack("many_short_lines", 4, _many_short_lines),
    Attack("many_items", 4, _many_items),
    Attack("lists_inside_items", 4, _lists_inside_items),
    Attack("odd_texts", 4, _odd_texts),
    Attack("bad_batches", 4, _bad_batches),
    Attack("long_queries", 8, _long_queries),
    Attack("many_headers", 8, _many_headers),
    Attack("full_batches", 8, _full_batches),
    Attack("unread_answers", 20, _unread_answers),
]
