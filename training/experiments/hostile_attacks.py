"""The attacks: how one caller with a valid key of its own tries to hurt the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hostile_target import (
    MAX_BODY_BYTES,
    Attack,
    bodies,
    endless_bodies,
    generated,
    held_bodies,
    keyed,
    reads,
    slow_bodies,
    unfinished_heads,
)

from eta.api.openapi import ESTIMATE_REQUESTS, EVENT_REQUESTS, SCORE_REQUESTS

ESTIMATE = next(iter(ESTIMATE_REQUESTS.values()))
SCORE = next(iter(SCORE_REQUESTS.values()))
SCAN = next(iter(EVENT_REQUESTS.values()))["events"][0]
LINES = "application/x-ndjson"


def _scans(count: int, **fields: Any) -> bytes:
    """A body of scans, all alike but for their number."""
    events = [{**SCAN, "tracking_number": f"T{number}", **fields} for number in range(count)]
    return json.dumps({"events": events}).encode()


def _list_of(name: str, item: bytes, size: int = MAX_BODY_BYTES, **fields: Any) -> bytes:
    """A body whose list ``name`` repeats an item up to the size."""
    rest = json.dumps(fields)[1:-1].encode()
    start = b"{" + (rest + b"," if rest else b"") + f'"{name}":['.encode()
    count = (size - len(start) - 2) // (len(item) + 1)
    return start + b",".join([item] * count) + b"]}"


def _wide_object(size: int) -> bytes:
    """An object of as many keys as fit into a size."""
    names = b",".join(b'"k%07d":1' % number for number in range(size // 13))
    return b"{" + names + b"}"


def _scores(count: int) -> bytes:
    """A valid body of scores."""
    shipments = [{**SCORE["shipments"][0], "shipment_id": f"S{number}"} for number in range(count)]
    return json.dumps({**SCORE, "shipments": shipments}).encode()


def _bad_scans(names: int) -> bytes:
    """5,000 scans, each with unknown fields and a missing one."""
    event = {**{f"f{number}": 1 for number in range(names)}, "occurred_at": "yesterday"}
    return json.dumps({"events": [event] * 5_000}).encode()


_OTHER_ESTIMATE = {name: value for name, value in ESTIMATE.items() if name != "carriers"}

#: A slot or memory is held, and nothing is worked on.
SLOW: Mapping[str, Attack] = {
    "slow_scores": slow_bodies("/v1/score", 50),
    "slow_estimates": slow_bodies("/v1/estimates", 500),
    "slow_scans": slow_bodies("/v1/events", 1_000),
    "held_scans": held_bodies("/v1/events", 100),
    "held_estimates": held_bodies("/v1/estimates", 100),
    "oversized_bodies": held_bodies("/v1/score", 20, 5 * MAX_BODY_BYTES),
    "endless_bodies": endless_bodies("/v1/events", 20),
    "slow_heads": unfinished_heads(b"POST /v1/estimates HTTP/1.1\r\nhost: localhost\r\n", 500),
    "idle_connections": unfinished_heads(b"", 1_000),
}
#: A limit that is checked too late.
LIMITS: Mapping[str, Attack] = {
    "lines_512_kib": bodies("/v1/events", lambda: b"x\n" * 2**18, LINES),
    "lines_8_mib": bodies("/v1/events", lambda: b"x\n" * 2**22, LINES),
    "empty_lines": bodies("/v1/events", lambda: b"\n" * MAX_BODY_BYTES, LINES),
    "object_lines": bodies("/v1/events", lambda: b"{}\n" * (MAX_BODY_BYTES // 3), LINES),
    "numbers_as_scans": bodies("/v1/events", lambda: _list_of("events", b"1")),
    "objects_as_scans": bodies("/v1/events", lambda: _list_of("events", b"{}")),
    "many_shipments": bodies("/v1/score", lambda: _list_of("shipments", b"{}")),
    "many_carriers": bodies(
        "/v1/estimates", lambda: _list_of("carriers", b"{}", **_OTHER_ESTIMATE)
    ),
    "many_parcels": bodies("/v1/order-estimates", lambda: _list_of("parcels", b"{}")),
    "many_names": bodies("/v1/shipments", lambda: _wide_object(MAX_BODY_BYTES)),
    "long_text": bodies(
        "/v1/shipments", lambda: b'{"external_id":"' + b"x" * (MAX_BODY_BYTES - 32) + b'"}'
    ),
    "long_number": bodies(
        "/v1/estimates", lambda: b'{"weight":' + b"9" * (MAX_BODY_BYTES - 16) + b"}"
    ),
    "deep_nesting": bodies("/v1/score", lambda: b"[" * (MAX_BODY_BYTES - 1)),
    "doubled_names": bodies("/v1/score", lambda: b"{" + b'"a":1,' * 1_300_000 + b'"a":1}'),
    "compressed": bodies("/v1/events", lambda: b"\x1f\x8b" * 2**20, content_encoding="gzip"),
}
#: Errors that cost more than answers.
ERRORS: Mapping[str, Attack] = {
    "bad_scans": bodies("/v1/events", lambda: _bad_scans(10)),
    "bad_scans_with_keys": keyed("/v1/events", lambda: _bad_scans(10)),
    "bad_scans_of_many_fields": bodies("/v1/events", lambda: _bad_scans(100)),
    "bad_lines": bodies("/v1/events", lambda: b'{"events":1}\n' * 5_000, LINES),
    "unknown_shipments": bodies("/v1/events", lambda: _scans(5_000, carrier_code=None)),
    "bad_scores": bodies("/v1/score", lambda: _list_of("shipments", b'{"a":1,"b":2}', 60_000)),
    "bad_carriers": bodies(
        "/v1/estimates", lambda: _list_of("carriers", b'{"a":1}', 60_000, **_OTHER_ESTIMATE)
    ),
}
#: Much of what is allowed.
FLOODS: Mapping[str, Attack] = {
    "estimates": bodies("/v1/estimates", lambda: json.dumps(ESTIMATE).encode(), callers=32),
    "full_batches": bodies("/v1/events", lambda: _scans(5_000)),
    "large_scores": bodies("/v1/score", lambda: _scores(500), callers=16),
    "single_scans": bodies("/v1/events", lambda: _scans(1), callers=64),
    "rejected_keys": bodies("/v1/events", lambda: _scans(1), callers=16, x_api_key="wrong"),
    "large_answers": reads("/openapi.json", "/docs", "/metrics", "/v1/coverage"),
    "recorded_shipments": reads("/v1/shipments?limit=100", "/v1/quarantine?limit=100"),
    "many_ids": reads("/v1/shipments?ids=" + ",".join(f"s{n}" for n in range(8_000))),
    "odd_ids": reads("/v1/shipments/A,B", "/v1/shipments/A%C2%A0B", "/v1/shipments/%1F"),
}
ATTACKS: Mapping[str, Attack] = {**SLOW, **LIMITS, **ERRORS, **FLOODS, "generated": generated}
