"""What the contract says beside types: examples, every one of which tests run, and keys."""

from __future__ import annotations

from typing import Any

_ORIGIN = {"country": "AT", "state": "9", "postal_code": "1010"}
_DESTINATION = {"country": "AT", "state": "8", "postal_code": "6900"}

ESTIMATE_REQUESTS: dict[str, Any] = {
    "one lane, two carriers": {
        "carriers": [{"carrier_code": "post"}, {"carrier_code": "other"}],
        "origin_address": _ORIGIN,
        "destination_address": _DESTINATION,
        "weight": {"value": 1.2, "unit": "kg"},
        "order_time": "2026-05-20T11:30:00+02:00",
    },
    "a date that was promised": {
        "origin_address": _ORIGIN,
        "destination_address": {"country": "AT", "state": "1"},
        "order_time": "2026-05-20T11:30:00+02:00",
        "order_promised_delivery_date": "2026-05-28",
        "confidence_level": 0.9,
    },
}

SCORE_REQUESTS: dict[str, Any] = {
    "one on its way, one that cannot be used": {
        "as_of": "2026-05-20T08:00:00Z",
        "shipments": [
            {
                "shipment_id": "A-1001",
                "carrier_code": "post",
                "origin_address": _ORIGIN,
                "destination_address": _DESTINATION,
                "weight": {"value": 850, "unit": "g"},
                "order_time": "2026-05-14T10:00:00+02:00",
                "order_promised_delivery_date": "2026-05-22",
                "events": [{"event_code": "accepted", "occurred_at": "2026-05-15T12:00:00+02:00"}],
            },
            {
                "shipment_id": "A-1002",
                "origin_address": _ORIGIN,
                "destination_address": _DESTINATION,
                "weight": {"value": 0, "unit": "g"},
                "order_time": "2026-05-14T10:00:00+02:00",
            },
        ],
    }
}


#: How a caller is known, for the contract alone: the door itself asks for the key, before it reads a body.
SECURITY_SCHEMES: dict[str, Any] = {"APIKeyHeader": {"in": "header", "name": "X-API-Key", "type": "apiKey"}, "HTTPBearer": {"scheme": "bearer", "type": "http"}}
_KEYS: dict[str, Any] = {"security": [{"HTTPBearer": []}, {"APIKeyHeader": []}]}


def _extra(requests: dict[str, Any]) -> dict[str, Any]:
    examples = {name: {"value": value} for name, value in requests.items()}
    return {"requestBody": {"content": {"application/json": {"examples": examples}}}, **_KEYS}


ESTIMATES, SCORE, MODELS = _extra(ESTIMATE_REQUESTS), _extra(SCORE_REQUESTS), _KEYS
