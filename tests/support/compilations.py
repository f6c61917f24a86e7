"""Prints which loops are compiled by the first requests to a server that says it is ready.

Run in a process of its own, with the folder of a registry: nothing is compiled there yet.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from numba.core.registry import CPUDispatcher

from support.model_app import KEY, application

_LANE = {
    "origin_address": {"country": "AT", "state": "9"},
    "destination_address": {"country": "AT", "state": "8"},
}
_ORDERED = {"order_time": "2026-05-18T11:30:00+02:00"}
_PICKUP: dict[str, Any] = {"order_cutoff_time": "15:00"}
_DECLARED = {**_PICKUP, "order_processing_time": {"unit": "business_days", "value": 1}}
_SERVICES: dict[str, Any] = {
    "carriers": [{"carrier_code": "post"}, {"carrier_code": "other", "price": 3.0}]
}
_DELIVERS: dict[str, Any] = {"carriers": [{"delivery_days": [1, 2, 3], "pickup_days": [1, 4]}]}
_COSTS: dict[str, Any] = {"promise_policy": {"costs": {"late": 10.0, "late_day": 2.0}}}
_WEIGHT: dict[str, Any] = {"weight": {"value": 1.2, "unit": "kg"}}
_PROMISED: dict[str, Any] = {"order_promised_delivery_date": "2026-05-22"}
_SCANS = [
    {"event_code": "accepted", "occurred_at": "2026-05-19T08:00:00Z", "place": "Wien"},
    {"event_code": "held", "occurred_at": "2026-05-19T18:00:00Z"},
]
_DELIVERED = [*_SCANS, {"event_code": "delivered", "occurred_at": "2026-05-20T07:00:00Z"}]
_PARCEL: dict[str, Any] = {"origin_address": {"country": "AT", "state": "9"}}


def first_requests() -> list[tuple[str, dict[str, Any]]]:
    """Requests of every kind: route and body."""
    lane: dict[str, Any] = {**_LANE, **_ORDERED}
    nothing: dict[str, Any] = {}
    estimates = [
        nothing,
        _SERVICES,
        {"estimated_pickup": _PICKUP},
        {**_SERVICES, "estimated_pickup": _DECLARED, **_WEIGHT},
        {**_DELIVERS, "estimated_pickup": _PICKUP, "desired_delivery_date": "2026-05-25"},
        {**_COSTS, **_PROMISED, "confidence_level": 0.95},
    ]
    shipments = [
        lane | extra | {"events": events}
        for extra in (nothing, _PROMISED, _WEIGHT)
        for events in ([], _SCANS, _DELIVERED)
    ]
    order = {"destination_address": _LANE["destination_address"], **_ORDERED}
    parcels = [_PARCEL, {**_PARCEL, "carrier_code": "post", "package_count": 3}]
    picked_up = [{**parcel, "estimated_pickup": _DECLARED} for parcel in parcels]
    due = {**lane, "desired_delivery_date": "2026-05-29"}
    return [
        *(("/v1/estimates", lane | extra) for extra in estimates),
        ("/v1/order-estimates", {**order, "parcels": parcels}),
        ("/v1/order-estimates", {**order, "parcels": picked_up[:1], "confidence_level": 0.6}),
        ("/v1/ship-by", due),
        ("/v1/ship-by", {**due, **_DELIVERS, "probability": 0.5}),
        *(("/v1/score", {"shipments": [shipment]}) for shipment in shipments),
        ("/v1/score", {"shipments": shipments * 10}),
        *(("/v1/shipments", {**lane, "external_id": f"A{days}", **_PROMISED}) for days in range(2)),
    ]


def compiled() -> set[str]:
    """The compiled loops of the program, with the types of their arguments."""
    loops = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("eta."):
            for value in list(vars(module).values()):
                if isinstance(value, CPUDispatcher):
                    loops |= {
                        f"{name}.{value.py_func.__name__}{types}" for types in value.signatures
                    }
    return loops


def main(folder: Path) -> None:
    """Prints the loops that requests compile, and the codes of their answers, as JSON."""
    codes = set()
    with TestClient(application(folder), headers={"X-API-Key": KEY}) as client:
        status = client.get("/readyz").json()["status"]
        before = compiled()
        for path, body in first_requests():
            response = client.post(path, json=body)
            answer = response.json()
            if response.status_code not in (200, 201):
                raise RuntimeError(response.text)
            for result in answer.get("results", answer.get("parcels", [])):
                codes.add(result.get("confidence_code", result.get("code")))
        client.get("/v1/shipments").raise_for_status()
        late = sorted(compiled() - before)
    figures = {"status": status, "before": len(before), "late": late, "codes": sorted(codes)}
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
