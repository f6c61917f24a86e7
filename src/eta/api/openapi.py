"""Parts of the OpenAPI document beside the schemas: tested examples, problems, keys and scopes."""

from __future__ import annotations

from typing import Any

from eta.api.load_shedding import WorkKind
from eta.api.problem_details import MEDIA_TYPE
from eta.api.strict_route import KIND, LINES, SCOPE
from eta.domain.access import Scope

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
    "an order with a promised date": {
        "origin_address": _ORIGIN,
        "destination_address": {"country": "AT", "state": "1"},
        "order_time": "2026-05-20T11:30:00+02:00",
        "order_promised_delivery_date": "2026-05-28",
        "confidence_level": 0.9,
    },
}
ORDER_ESTIMATE_REQUESTS: dict[str, Any] = {
    "two parcels from one warehouse, one from another": {
        "destination_address": _DESTINATION,
        "order_time": "2026-05-20T11:30:00+02:00",
        "desired_delivery_date": "2026-05-29",
        "parcels": [
            {
                "carrier_code": "post",
                "origin_address": _ORIGIN,
                "weight": {"value": 1.2, "unit": "kg"},
                "package_count": 2,
            },
            {
                "carrier_code": "other",
                "origin_address": {"country": "AT", "state": "6"},
                "estimated_pickup": {"order_cutoff_time": "15:00"},
            },
        ],
    }
}
SHIP_BY_REQUESTS: dict[str, Any] = {
    "for a birthday": {
        "carriers": [{"carrier_code": "post"}],
        "origin_address": _ORIGIN,
        "destination_address": _DESTINATION,
        "order_time": "2026-05-14T10:00:00+02:00",
        "desired_delivery_date": "2026-05-29",
        "probability": 0.8,
    }
}
SCORE_REQUESTS: dict[str, Any] = {
    "one in transit, one invalid": {
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
SHIPMENT_REQUESTS: dict[str, Any] = {
    "a shipment with a tracking number": {
        "external_id": "A-1001",
        "carrier_code": "post",
        "tracking_number": "1234567890",
        "origin_address": _ORIGIN,
        "destination_address": _DESTINATION,
        "weight": {"value": 850, "unit": "g"},
        "order_time": "2026-05-14T10:00:00+02:00",
        "order_promised_delivery_date": "2026-05-21",
    }
}
EVENT_REQUESTS: dict[str, Any] = {
    "two events, one of them in local time": {
        "events": [
            {
                "carrier_code": "post",
                "tracking_number": "1234567890",
                "event_code": "accepted",
                "occurred_at": "2026-05-15T12:00:00+02:00",
            },
            {
                "external_id": "A-1001",
                "event_code": "sorted",
                "occurred_local": "2026-05-15T21:40:00",
                "timezone": "Europe/Vienna",
                "place": "Wien",
            },
        ]
    }
}
SHIPMENT_UPDATE_REQUESTS: dict[str, Any] = {
    "a change of carrier": {"carrier_code": "other", "service_code": "express"}
}

EVENT_UPDATE_REQUESTS: dict[str, Any] = {
    "a scan that was mapped wrongly": {"event_code": "out_for_delivery"}
}

#: The ways to send a key, for the document alone: ``StrictRoute`` authenticates.
SECURITY_SCHEMES: dict[str, Any] = {
    "APIKeyHeader": {"in": "header", "name": "X-API-Key", "type": "apiKey"},
    "HTTPBearer": {"scheme": "bearer", "type": "http"},
}
_KEYS: dict[str, Any] = {"security": [{"HTTPBearer": []}, {"APIKeyHeader": []}]}
_PROBLEM_DESCRIPTIONS: dict[int, str] = {
    400: "The connection was closed before the body had arrived.",
    401: "Missing or invalid API key.",
    403: "The key lacks the scope, or a request to demo mode did not arrive on loopback.",
    404: "Not found.",
    408: "The body took too long to arrive.",
    409: "Conflicts with recorded data.",
    413: "The body is too large.",
    415: "The body is compressed, or its media type is not JSON.",
    422: "Invalid request; `errors` lists each field and how to fix it.",
    429: "Rate limit exceeded; see Retry-After.",
    500: "Internal error.",
    503: "Overloaded, or the store is unavailable; see Retry-After.",
}

#: Statuses of problems that any request, and any request with a body, may get.
READ_ERRORS = (401, 403, 422, 429, 500, 503)
BODY_ERRORS = (400, 408, 413, 415, *READ_ERRORS)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route."""
    schema = {"$ref": "#/components/schemas/Problem"}
    content = {MEDIA_TYPE: {"schema": schema}}
    return {
        status: {"description": _PROBLEM_DESCRIPTIONS[status], "content": content}
        for status in sorted(statuses)
    }


def _operation(scope: Scope, kind: WorkKind, **extra: Any) -> dict[str, Any]:
    return {**_KEYS, SCOPE: scope.value, KIND: kind, **extra}


def _body(requests: dict[str, Any]) -> dict[str, Any]:
    examples = {name: {"value": value} for name, value in requests.items()}
    return {"content": {"application/json": {"examples": examples}}}


_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": (
        "A request with the same key and body within 72 hours gets the same response "
        "and is not executed again."
    ),
}
ESTIMATES = _operation(Scope.ESTIMATE, "checkout", requestBody=_body(ESTIMATE_REQUESTS))
ORDER_ESTIMATES = _operation(Scope.ESTIMATE, "checkout", requestBody=_body(ORDER_ESTIMATE_REQUESTS))
STORED_ESTIMATE = _operation(Scope.ESTIMATE, "read")
SHIP_BY = _operation(Scope.ESTIMATE, "checkout", requestBody=_body(SHIP_BY_REQUESTS))
SCORE = _operation(Scope.ESTIMATE, "score", requestBody=_body(SCORE_REQUESTS))
MODELS = _operation(Scope.READ, "read")
COVERAGE = _operation(Scope.READ, "read")
CREATE_SHIPMENT = _operation(
    Scope.INGEST, "ingest", requestBody=_body(SHIPMENT_REQUESTS), parameters=[_KEY_HEADER]
)
CREATE_EVENTS = _operation(
    Scope.INGEST, "ingest", requestBody=_body(EVENT_REQUESTS), parameters=[_KEY_HEADER]
) | {LINES: "events"}
UPDATE_SHIPMENT = _operation(
    Scope.INGEST, "ingest", requestBody=_body(SHIPMENT_UPDATE_REQUESTS), parameters=[_KEY_HEADER]
)
UPDATE_EVENT = _operation(
    Scope.INGEST, "ingest", requestBody=_body(EVENT_UPDATE_REQUESTS), parameters=[_KEY_HEADER]
)
READ = _operation(Scope.READ, "read")
DELETE_SHIPMENT = _operation(Scope.ADMIN, "ingest")
READ_QUARANTINE = _operation(Scope.ADMIN, "read")
