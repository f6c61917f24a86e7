"""Shipments and events over HTTP, from the side of a shop and its carriers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.api.admission import CONCURRENCY_LIMITS
from eta.api.app import create_app
from eta.calendars.local_time import wall_to_instant
from eta.domain.access import Principal
from eta.domain.errors import StoreUnavailable, WriteUnconfirmed
from eta.settings import Settings
from eta.store.store import SqlStore
from support.model_app import fixed
from support.store import NOW, Clock

# One worker process, which loads the models and compiled loops once.
pytestmark = pytest.mark.xdist_group("api")

PLACE = {"country": "AT", "state": "9"}
SHIPMENT: dict[str, Any] = {
    "external_id": "A-1",
    "carrier_code": "post",
    "tracking_number": "AB 12 34",
    "origin_address": PLACE,
    "destination_address": {"country": "BR", "state": "SP"},
    "order_time": "2026-05-18T10:00:00+02:00",
    "order_promised_delivery_date": "2026-05-22",
}
SCAN = {
    "carrier_code": "post",
    "tracking_number": "ab1234",
    "event_code": "accepted",
    "occurred_at": "2026-05-19T09:30:00+05:30",
}


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> FastAPI:
    return create_app(Settings(models=tmp_path / "models", is_demo=True), clock=clock)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        app.state.resources.model_loader.current = fixed(400)
        yield client


WALL = NOW.replace(tzinfo=None)
ZONES = ("Europe/Vienna", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata", "UTC")


def register(client: TestClient, **changes: Any) -> str:
    response = client.post("/v1/shipments", json={**SHIPMENT, **changes})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def post_events(client: TestClient, *events: dict[str, Any]) -> list[Any]:
    response = client.post("/v1/events", json={"events": events})
    assert response.status_code == 200, response.text
    return list(response.json()["results"])


def get_shipment(client: TestClient, shipment_id: str, **params: str) -> Any:
    response = client.get(f"/v1/shipments/{shipment_id}", params=params)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_shipment_is_tracked_from_order_to_delivery(client: TestClient, clock: Clock) -> None:
    shipment_id = register(client)
    first = get_shipment(client, shipment_id)
    assert (first["forecast"]["status"], first["forecast"]["confidence_code"]) == (
        "pre_transit",
        "ok",
    )
    assert first["forecast"]["promise"] == {
        "date": "2026-05-22",
        "is_proposed": False,
        "policy": None,
        "on_time_probability": pytest.approx(0.3, abs=0.2),
    }
    clock.pass_hours(5)
    assert [
        entry["status"]
        for entry in post_events(
            client, SCAN, {**SCAN, "event_code": "sorted", "occurred_at": "2026-05-20T12:00:00Z"}
        )
    ] == ["stored", "stored"]
    second = get_shipment(client, shipment_id)
    assert (second["forecast"]["status"], second["last_scan_age_hours"]) == ("in_transit", 1.0)
    assert datetime.fromisoformat(second["expected_next_scan_by"]) == datetime(
        2026, 5, 20, 12, tzinfo=UTC
    ) + timedelta(hours=150)
    clock.pass_hours(24)
    post_events(client, {**SCAN, "event_code": "delivered", "occurred_at": "2026-05-21T11:00:00Z"})
    third = get_shipment(client, shipment_id)
    assert (third["forecast"]["status"], third["forecast"]["estimated_delivery_date"]) == (
        "delivered",
        "2026-05-21",
    )
    assert [revision["cause"] for revision in third["revisions"]] == ["created", "event", "event"]
    assert [entry["event_code"] for entry in third["journey"]] == [
        "order_created",
        "accepted",
        "sorted",
        "delivered",
    ]


def test_a_response_as_of_a_past_moment_never_changes(client: TestClient, clock: Clock) -> None:
    shipment_id = register(client)
    response = []
    for hour in range(4):
        clock.pass_hours(1)
        post_events(
            client, {**SCAN, "event_code": "sorted", "occurred_at": f"2026-05-20T0{hour}:00:00Z"}
        )
        response.append(get_shipment(client, shipment_id))
    client.patch(f"/v1/shipments/{shipment_id}", json={"carrier_code": "other"})
    for before in response:
        again = get_shipment(client, shipment_id, as_of=before["as_of"])
        assert {**again, "revisions": before["revisions"]} == before
    assert (
        client.get(
            f"/v1/shipments/{shipment_id}", params={"as_of": "2026-05-01T00:00:00Z"}
        ).status_code
        == 404
    )
    future = client.get(f"/v1/shipments/{shipment_id}", params={"as_of": "2027-01-01T00:00:00Z"})
    assert (future.status_code, future.json()["errors"][0]["loc"]) == (422, ["query", "as_of"])


@pytest.mark.parametrize(
    "moment",
    [
        "2026-05-20T10:00:00Z",
        "2026-05-20t10:00:00z",
        "2026-05-20T10:00:00.000Z",
        "2026-05-20T12:00:00%2B02:00",
        # A plus sign that is not escaped arrives as a blank.
        "2026-05-20T12:00:00+02:00",
        "2026-05-20T12:00:00.0+02:00",
        "2026-05-20T07:00:00-03:00",
    ],
)
def test_as_of_takes_every_offset_in_a_query(client: TestClient, clock: Clock, moment: str) -> None:
    shipment_id = register(client)
    clock.pass_hours(24)
    for path in (f"/v1/shipments/{shipment_id}?", "/v1/shipments?external_ids=A-1&"):
        response = client.get(f"{path}as_of={moment}")
        assert response.status_code == 200
        assert response.json()["as_of"] == "2026-05-20T10:00:00Z"


@pytest.mark.parametrize(
    "moment",
    [
        "2026-05-20",
        "2026-05-20T10:00",
        "2026-05-20T10:00:00",
        "2026-05-20+10:00:00",
        "2026-05-20T24:00:00Z",
        "2026-05-20T10:00:00+23:59",
        "2026-02-29T10:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
    ],
)
def test_as_of_refuses_other_texts_in_a_query(client: TestClient, moment: str) -> None:
    response = client.get(f"/v1/shipments?external_ids=A-1&as_of={moment}")
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["loc"] == ["query", "as_of"]
    assert "; " in error["msg"]


def test_a_flag_is_raised_once_and_cleared(client: TestClient, clock: Clock) -> None:
    shipment_id = register(client, order_promised_delivery_date="2026-05-21")
    clock.pass_hours(1)
    for _ in range(3):
        shipment = get_shipment(client, shipment_id)
    assert [(flag["state"], flag["ended_at"]) for flag in shipment["flags"]] == [
        ("predicted_late", None)
    ]
    assert len(shipment["revisions"]) == 1
    raised_at = shipment["flags"][0]["raised_at"]
    delay = shipment["forecast"]["delay"]
    assert (delay["state"], delay["flag"]) == (
        "predicted_late",
        {"raised": True, "first_flagged_at": raised_at, "cleared_at": None},
    )
    clock.pass_hours(48)
    shipment = get_shipment(client, shipment_id)
    assert [flag["state"] for flag in shipment["flags"]] == ["predicted_late", "overdue"]
    assert shipment["forecast"]["delay"]["flag"] == delay["flag"]
    post_events(client, {**SCAN, "event_code": "delivered", "occurred_at": "2026-05-21T12:00:00Z"})
    shipment = get_shipment(client, shipment_id)
    flags = shipment["flags"]
    assert all(flag["ended_at"] for flag in flags)
    assert shipment["forecast"]["delay"]["flag"] == {
        "raised": False,
        "first_flagged_at": raised_at,
        "cleared_at": flags[1]["ended_at"],
    }
    assert datetime.fromisoformat(flags[0]["ended_at"]) == datetime.fromisoformat(
        flags[1]["raised_at"]
    )


def test_a_withdrawn_flag_is_on_track_and_says_when(client: TestClient, clock: Clock) -> None:
    shipment_id = register(client, order_promised_delivery_date="2026-05-21")
    clock.pass_hours(1)
    first = get_shipment(client, shipment_id)
    assert first["forecast"]["delay"]["flag"]["raised"]
    later = {"order_promised_delivery_date": "2026-07-30"}
    client.patch(f"/v1/shipments/{shipment_id}", json=later)
    clock.pass_hours(1)
    cleared = get_shipment(client, shipment_id)
    [flag] = cleared["flags"]
    assert cleared["forecast"]["delay"]["state"] == "on_track"
    assert cleared["forecast"]["delay"]["flag"] == {
        "raised": False,
        "first_flagged_at": flag["raised_at"],
        "cleared_at": flag["ended_at"],
    }
    # Silent for longer than nearly all parcels, with the promise far away: nobody is warned.
    clock.pass_hours(200)
    silent = get_shipment(client, shipment_id)
    assert silent["forecast"]["delay"]["state"] == "stalled"
    assert silent["forecast"]["delay"]["flag"] == cleared["forecast"]["delay"]["flag"]
    assert silent["flags"] == cleared["flags"]
    before = get_shipment(client, shipment_id, as_of=first["as_of"])
    assert before["forecast"]["delay"]["flag"] == first["forecast"]["delay"]["flag"]


def test_the_end_of_a_flag_is_unknown_before_it_is_recorded(
    client: TestClient, clock: Clock
) -> None:
    shipment_id = register(client, order_promised_delivery_date="2026-05-21")
    clock.pass_hours(1)
    get_shipment(client, shipment_id)
    later = {"order_promised_delivery_date": "2026-07-30"}
    client.patch(f"/v1/shipments/{shipment_id}", json=later)
    clock.pass_hours(1)
    # Nobody looks at the shipment here, so the flag is cleared an hour later.
    between = clock.now.isoformat()
    clock.pass_hours(1)
    cleared = get_shipment(client, shipment_id)
    assert cleared["forecast"]["delay"]["flag"]["cleared_at"] > between
    before = get_shipment(client, shipment_id, as_of=between)
    assert before["forecast"]["delay"]["flag"] == {
        **cleared["forecast"]["delay"]["flag"],
        "cleared_at": None,
    }
    assert before["flags"] == [{**cleared["flags"][0], "ended_at": None}]


def test_an_attempted_parcel_has_no_date_and_no_flag(client: TestClient, clock: Clock) -> None:
    shipment_id = register(client, order_promised_delivery_date="2026-05-21")
    clock.pass_hours(1)
    assert get_shipment(client, shipment_id)["flags"][0]["ended_at"] is None
    attempt = {**SCAN, "event_code": "delivery_attempted", "occurred_at": "2026-05-20T08:30:00Z"}
    depot = {**SCAN, "event_code": "info", "occurred_at": "2026-05-20T08:45:00Z"}
    post_events(client, SCAN, attempt, depot)
    shipment = get_shipment(client, shipment_id)
    [listed] = client.get("/v1/shipments", params={"ids": shipment_id}).json()["results"]
    assert listed["forecast"] == shipment["forecast"]
    forecast = shipment["forecast"]
    assert forecast["status"] == forecast["confidence_code"] == "delivery_attempted"
    assert forecast["estimated_delivery_date"] is forecast["delivery_date_confidence"] is None
    assert forecast["promise"]["on_time_probability"] is forecast["delay"]["state"] is None
    assert forecast["first_attempt_date"] == "2026-05-20"
    assert all(flag["ended_at"] for flag in shipment["flags"])
    clock.pass_hours(72)
    post_events(client, {**SCAN, "event_code": "delivered", "occurred_at": "2026-05-23T08:30:00Z"})
    forecast = get_shipment(client, shipment_id)["forecast"]
    assert (forecast["confidence_code"], forecast["status"]) == ("arrived", "delivered")
    assert forecast["estimated_delivery_date"] == "2026-05-23"
    assert forecast["first_attempt_date"] == "2026-05-20"
    assert forecast["delay"]["state"] == "on_track"


@pytest.mark.parametrize(
    ("fields", "occurred_at", "source", "is_ambiguous"),
    [
        (
            {"occurred_at": "2026-05-19T09:30:00+05:30"},
            "2026-05-19T09:30:00+05:30",
            "carrier_offset",
            False,
        ),
        (
            {"occurred_local": "2026-05-19T09:30:00", "timezone": "Asia/Kolkata"},
            "2026-05-19T09:30:00+05:30",
            "declared",
            False,
        ),
        # The clocks of Vienna went forward at 2 on 29 March 2026, and those of Havana back at 1 on
        # 2 November 2025.
        (
            {"occurred_local": "2026-03-29T02:30:00", "timezone": "Europe/Vienna"},
            "2026-03-29T03:00:00+02:00",
            "declared",
            True,
        ),
        (
            {"occurred_local": "2025-11-02T00:30:00", "timezone": "America/Havana"},
            "2025-11-02T00:30:00-04:00",
            "declared",
            True,
        ),
        (
            {"occurred_local": "2026-05-19T09:30:00", "country": "AU", "state": "SA"},
            "2026-05-19T09:30:00+09:30",
            "region",
            False,
        ),
        (
            {"occurred_local": "2026-05-19T09:30:00", "country": "FR"},
            "2026-05-19T09:30:00+02:00",
            "country_default",
            False,
        ),
        (
            {"occurred_local": "2026-05-19T09:30:00", "country": "US"},
            "2026-05-19T09:30:00-04:00",
            "country_default",
            True,
        ),
        # Handed over in Austria, delivered in Brazil.
        (
            {"occurred_local": "2026-05-19T09:30:00"},
            "2026-05-19T09:30:00+02:00",
            "country_default",
            False,
        ),
        (
            {"occurred_local": "2026-05-19T09:30:00", "event_code": "delivered"},
            "2026-05-19T09:30:00-03:00",
            "region",
            False,
        ),
    ],
)
def test_a_time_has_the_offset_and_zone_source_of_its_event(
    client: TestClient, fields: dict[str, str], occurred_at: str, source: str, is_ambiguous: bool
) -> None:
    shipment_id = register(client)
    event = {
        name: value
        for name, value in {**SCAN, **fields}.items()
        if name != "occurred_at" or "occurred_at" in fields
    }
    post_events(client, event)
    journey_event = next(
        entry
        for entry in get_shipment(client, shipment_id)["journey"]
        if entry["event_code"] != "order_created"
    )
    assert (
        journey_event["occurred_at"],
        journey_event["timezone_source"],
        journey_event["time_ambiguous"],
    ) == (
        occurred_at,
        source,
        is_ambiguous,
    )
    assert journey_event["occurred_local"] == occurred_at[:19]


def test_a_local_time_of_an_unregistered_number_is_assumed_utc(
    client: TestClient,
) -> None:
    post_events(
        client,
        {
            "carrier_code": "post",
            "tracking_number": "ab1234",
            "event_code": "accepted",
            "occurred_local": "2026-05-19T09:30:00",
        },
    )
    journey_event = get_shipment(client, register(client))["journey"][1]
    assert (
        journey_event["occurred_at"],
        journey_event["timezone_source"],
        journey_event["time_ambiguous"],
    ) == (
        "2026-05-19T09:30:00Z",
        "assumed_utc",
        True,
    )


CALIFORNIA_TO_BRITAIN = {
    "origin_address": {"country": "US", "state": "CA"},
    "destination_address": {"country": "GB"},
}
#: Local times of a journey, in order, with the offset and the mark of each.
JOURNEY = [
    ("accepted", "2026-05-11T17:00:00", "-07:00", False),
    ("export_customs_cleared", "2026-05-12T09:00:00", "-07:00", False),
    ("departed_origin_country", "2026-05-12T20:00:00", "-07:00", False),
    ("arrived_at_facility", "2026-05-14T02:00:00", "+01:00", True),
    ("import_customs_cleared", "2026-05-15T08:00:00", "+01:00", False),
    ("departed_facility", "2026-05-15T19:00:00", "+01:00", False),
]


def local_event(code: str, wall: str, **place: str) -> dict[str, Any]:
    event = {"external_id": "A-1", "event_code": code, "occurred_local": wall, **place}
    return {name: value for name, value in event.items() if value}


def local_times(client: TestClient, shipment_id: str) -> dict[str, tuple[str, str, bool]]:
    """Time, source of the zone and mark of each event that is not the order."""
    journey = get_shipment(client, shipment_id)["journey"]
    return {
        event["event_code"]: (
            event["occurred_at"],
            event["timezone_source"],
            event["time_ambiguous"],
        )
        for event in journey[1:]
    }


@pytest.mark.parametrize("listed", ["in order", "reversed", "one by one"])
def test_local_times_are_read_where_the_parcel_was(client: TestClient, listed: str) -> None:
    shipment_id = register(client, **CALIFORNIA_TO_BRITAIN, order_time="2026-05-11T10:00:00Z")
    events = [local_event(code, wall) for code, wall, *_ in JOURNEY]
    if listed == "one by one":
        for event in events:
            post_events(client, event)
    else:
        post_events(client, *(events[::-1] if listed == "reversed" else events))
    times = local_times(client, shipment_id)
    assert {code: (time, mark) for code, (time, _, mark) in times.items()} == {
        code: (wall + offset, mark) for code, wall, offset, mark in JOURNEY
    }


def test_a_stored_local_time_stays_whatever_comes_later(client: TestClient) -> None:
    shipment_id = register(client, **CALIFORNIA_TO_BRITAIN, order_time="2026-05-11T10:00:00Z")
    sorted_on_13 = local_event("sorted", "2026-05-13T09:00:00")
    post_events(client, sorted_on_13)
    before = local_times(client, shipment_id)["sorted"]
    post_events(client, local_event("departed_origin_country", "2026-05-12T20:00:00"))
    # The same event again, by number and by the shop's id, is no other event.
    number = {"carrier_code": "post", "tracking_number": "ab1234"}
    by_number = {**sorted_on_13, **number}
    del by_number["external_id"]
    statuses = [result["status"] for result in post_events(client, sorted_on_13, by_number)]
    assert statuses == ["duplicate", "duplicate"]
    assert before == ("2026-05-13T09:00:00-07:00", "region", False)
    assert local_times(client, shipment_id)["sorted"] == before


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"state": "CA"}, ("2026-05-13T09:00:00-07:00", "region", False)),
        ({"state": "NY"}, ("2026-05-13T09:00:00-04:00", "region", False)),
        ({"country": "US"}, ("2026-05-13T09:00:00-04:00", "country_default", True)),
        ({"country": "DE"}, ("2026-05-13T09:00:00+02:00", "country_default", False)),
        ({"place": "Leipzig"}, ("2026-05-13T09:00:00+01:00", "country_default", True)),
    ],
)
def test_the_place_of_an_event_decides_its_zone(
    client: TestClient, place: dict[str, str], expected: tuple[str, str, bool]
) -> None:
    shipment_id = register(client, **CALIFORNIA_TO_BRITAIN, order_time="2026-05-11T10:00:00Z")
    post_events(client, local_event("departed_origin_country", "2026-05-12T02:00:00"))
    post_events(client, local_event("arrived_at_facility", "2026-05-13T09:00:00", **place))
    assert local_times(client, shipment_id)["arrived_at_facility"] == expected


@given(
    st.datetimes(WALL - timedelta(days=12_000), WALL + timedelta(days=8_000)),
    st.sampled_from(ZONES),
)
@settings(max_examples=200, deadline=None)
def test_a_local_time_is_the_first_moment_that_shows_it_or_later(wall: datetime, zone: str) -> None:
    moment, is_ambiguous = wall_to_instant(wall, zone)
    assert moment.replace(tzinfo=None) >= wall
    if not is_ambiguous:
        assert moment.replace(tzinfo=None) == wall
    before = (moment.astimezone(UTC) - timedelta(minutes=1)).astimezone(moment.tzinfo)
    assert before.replace(tzinfo=None) < wall or is_ambiguous


def test_invalid_json_lines_are_reported_by_their_number(
    client: TestClient,
) -> None:
    register(client)
    lines = [
        json.dumps(SCAN),
        "",
        '{"event_code": "sorted"',
        json.dumps({**SCAN, "event_code": "teleported"}),
        json.dumps({**SCAN, "event_code": "sorted"}),
    ]
    response = client.post(
        "/v1/events", content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
    )
    results = response.json()["results"]
    assert [entry.get("status", entry.get("problem", {}).get("status")) for entry in results] == [
        "stored",
        422,
        422,
        "stored",
    ]
    assert [error["loc"] for entry in results[1:3] for error in entry["problem"]["errors"]] == [
        ["body", "events", 1],
        ["body", "events", 2, "event_code"],
    ]
    assert (
        client.post(
            "/v1/shipments",
            content=json.dumps(SHIPMENT),
            headers={"Content-Type": "application/x-ndjson"},
        ).status_code
        == 415
    )


@pytest.mark.parametrize(
    ("change", "loc", "type_"),
    [
        ({"tracking_number": None}, ["body", "events", 0], "shipment_reference_required"),
        ({"external_id": "A-1"}, ["body", "events", 0], "shipment_reference_required"),
        ({"carrier_code": None}, ["body", "events", 0], "carrier_missing"),
        ({"occurred_at": None}, ["body", "events", 0], "event_time_required"),
        ({"occurred_local": "2026-05-19T09:30:00"}, ["body", "events", 0], "event_time_required"),
        (
            {"occurred_at": "2026-05-19T09:30:00"},
            ["body", "events", 0, "occurred_at"],
            "offset_missing",
        ),
        (
            {"occurred_at": None, "occurred_local": "2026-05-19T09:30:00Z"},
            ["body", "events", 0, "occurred_local"],
            "offset_forbidden",
        ),
        ({"timezone": "Europe/Atlantis"}, ["body", "events", 0, "timezone"], "timezone"),
        (
            {"received_at": "2026-05-19T09:30:00Z"},
            ["body", "events", 0, "received_at"],
            "extra_forbidden",
        ),
    ],
)
def test_the_problem_of_an_invalid_event_names_its_field(
    client: TestClient, change: dict[str, Any], loc: list[Any], type_: str
) -> None:
    event = {name: value for name, value in {**SCAN, **change}.items() if value is not None}
    (problem,) = (entry["problem"] for entry in post_events(client, event))
    assert (problem["errors"][0]["loc"], problem["errors"][0]["type"]) == (loc, type_)


def test_a_repeated_idempotency_key_returns_the_same_bytes(client: TestClient) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first, again = (client.post("/v1/shipments", json=SHIPMENT, headers=headers) for _ in range(2))
    assert (
        (first.status_code, first.content)
        == (again.status_code, again.content)
        == (201, again.content)
    )
    other = client.post(
        "/v1/shipments",
        json={**SHIPMENT, "external_id": "A-2", "tracking_number": "2"},
        headers=headers,
    )
    assert (other.status_code, other.json()["errors"][0]["loc"]) == (
        422,
        ["header", "Idempotency-Key"],
    )
    assert (
        client.post(
            "/v1/shipments", json=SHIPMENT, headers={"Idempotency-Key": "with blanks"}
        ).status_code
        == 422
    )


def test_a_response_with_a_problem_is_not_replayed(client: TestClient) -> None:
    body = {
        "events": [
            {"external_id": "A-1", "event_code": "sorted", "occurred_at": "2026-05-19T09:30:00Z"}
        ]
    }
    before = client.post("/v1/events", json=body, headers={"Idempotency-Key": "k"}).json()[
        "results"
    ][0]
    assert before["problem"]["status"] == 404
    register(client)
    assert (
        client.post("/v1/events", json=body, headers={"Idempotency-Key": "k"}).json()["results"][0][
            "status"
        ]
        == "stored"
    )


def test_a_conflicting_registration_names_the_differing_fields(client: TestClient) -> None:
    register(client)
    for change, expected_detail in (
        ({"weight": {"value": 1, "unit": "kg"}}, "a different weight; update it with PATCH"),
        (
            {"order_time": "2026-05-18T11:00:00+02:00", "carrier_code": "other"},
            "a different carrier_code, order_time; delete it",
        ),
    ):
        response = client.post("/v1/shipments", json={**SHIPMENT, **change})
        assert (response.status_code, expected_detail in response.json()["detail"]) == (
            409,
            True,
        ), response.text
    late = client.post(
        "/v1/shipments",
        json={
            **SHIPMENT,
            "external_id": "A-9",
            "tracking_number": "9",
            "order_time": "2027-05-18T11:00:00+02:00",
        },
    )
    assert (late.status_code, late.json()["errors"][0]["loc"]) == (422, ["body", "order_time"])
    # The same instant and the same number in another notation.
    again = client.post(
        "/v1/shipments",
        json={**SHIPMENT, "order_time": "2026-05-18T08:00:00Z", "tracking_number": " ab1234 "},
    )
    assert again.status_code == 200


def test_a_quarantined_event_is_returned_as_it_was_sent(client: TestClient) -> None:
    post_events(client, {**SCAN, "occurred_at": "2020-01-01T00:00:00Z", "carrier_event_code": "X1"})
    (entry,) = client.get("/v1/quarantine").json()["results"]
    assert (entry["carrier_code"], entry["tracking_number"], entry["shipment_id"]) == (
        "post",
        "AB1234",
        None,
    )
    assert (entry["carrier_event_code"], entry["reason"]) == ("X1", "too_far_in_the_past")


def test_concurrent_requests_with_one_key_do_the_work_once(client: TestClient) -> None:
    responses: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: responses.append(
                client.post(
                    "/v1/shipments", json=SHIPMENT, headers={"Idempotency-Key": "k"}
                ).content
            )
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(responses)) == 1


def test_pages_hold_every_shipment_once(client: TestClient) -> None:
    ids = {
        register(client, external_id=f"A-{number}", tracking_number=f"N{number}")
        for number in range(23)
    }
    post_events(client, *({**SCAN, "tracking_number": f"n{number}"} for number in range(0, 23, 2)))
    for params, expected in (
        ({}, 23),
        ({"status": "in_transit"}, 12),
        ({"status": "delivered"}, 0),
    ):
        seen, cursor = list[str](), None
        while True:
            page = client.get(
                "/v1/shipments",
                params={"limit": 5, **params, **({"cursor": cursor} if cursor else {})},
            ).json()
            seen += [shipment["id"] for shipment in page["results"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == expected
        assert set(seen) <= ids
    past = client.get(
        "/v1/shipments", params={"external_ids": "A-3", "as_of": "2026-05-01T00:00:00Z"}
    ).json()
    assert (past["as_of"], past["results"]) == ("2026-05-01T00:00:00Z", [])
    named = client.get("/v1/shipments", params={"external_ids": "A-3,A-4,nobody's"}).json()[
        "results"
    ]
    assert sorted(shipment["external_id"] for shipment in named) == ["A-3", "A-4"]


def test_paging_skips_shipments_registered_after_the_moment(
    client: TestClient, app: FastAPI, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {
        register(client, external_id=f"A-{number}", tracking_number=f"N{number}")
        for number in range(6)
    }
    before = app.state.resources.store.safe_now()
    clock.pass_hours(1)
    for number in range(6, 12):
        register(client, external_id=f"A-{number}", tracking_number=f"N{number}")
    monkeypatch.setattr(app.state.resources.store, "safe_now", lambda: before)
    seen, cursor = set[str](), None
    for _ in range(7):
        page = client.get(
            "/v1/shipments", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        seen |= {shipment["id"] for shipment in page["results"]}
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert cursor is None
    assert seen == ids


@pytest.mark.parametrize(
    "path",
    [
        "/v1/shipments/%00",
        "/v1/shipments?ids=a%00",
        "/v1/shipments?external_ids=%0a",
        "/v1/shipments?status=expired",
        "/v1/shipments?external_id=A-1",
        "/v1/shipments?ids=a&external_ids=b",
        "/v1/shipments?ids=a&status=lost",
        "/v1/models?nonsense=1",
    ],
)
def test_an_invalid_parameter_is_rejected(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 422


@pytest.mark.parametrize("host", ["x?", "x#", "x/a?", "127.0.0.1/livez?"])
def test_the_host_header_grants_no_access(tmp_path: Path, host: str) -> None:
    with TestClient(
        create_app(Settings(models=tmp_path, api_keys={"0" * 64: Principal()}))
    ) as client:
        assert client.get("/v1/shipments", headers={"Host": host}).status_code in (400, 401)


def test_a_changed_cursor_is_rejected(client: TestClient) -> None:
    for number in range(2):
        register(client, external_id=f"A-{number}", tracking_number=f"N{number}")
    cursor = client.get("/v1/shipments", params={"limit": 1}).json()["next_cursor"]
    for place in range(len(cursor) - 2):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert client.get("/v1/shipments", params={"cursor": changed}).status_code == 422, place


def test_an_update_removes_fields_and_rejects_invalid_ones(client: TestClient) -> None:
    shipment_id = register(client, weight={"value": 2, "unit": "kg"})
    patch = f"/v1/shipments/{shipment_id}"
    assert (
        client.patch(
            patch,
            json={"weight": None, "service_code": "express", "order_promised_delivery_date": None},
        ).status_code
        == 200
    )
    shipment = get_shipment(client, shipment_id)
    assert (shipment["service_code"], shipment["forecast"]["promise"]["is_proposed"]) == (
        "express",
        True,
    )
    assert client.patch(patch, json={"weight": {"value": 0, "unit": "g"}}).status_code == 422
    assert (
        client.patch("/v1/shipments/shp_nobody", json={"service_code": "express"}).status_code
        == 404
    )
    other = register(client, external_id="A-2", tracking_number="77")
    assert (
        client.patch(f"/v1/shipments/{other}", json={"tracking_number": "AB1234"}).status_code
        == 409
    )


def test_requests_beyond_the_rate_limit_are_rejected(tmp_path: Path, clock: Clock) -> None:
    keys = {"0" * 64: Principal(name="one")}
    with TestClient(
        create_app(Settings(models=tmp_path, api_keys=keys, rate_limit="1/second"), clock=clock)
    ) as client:
        assert client.get("/v1/models").status_code == 401
    app = create_app(Settings(models=tmp_path, is_demo=True, rate_limit="3/hour"), clock=clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        responses = [client.get("/v1/models") for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert 1 <= int(responses[-1].headers["Retry-After"]) <= 3_601


def test_requests_beyond_the_concurrency_limit_are_rejected(
    client: TestClient,
) -> None:
    register(client)
    cast("FastAPI", client.app).state.resources.admission.slots["read"].total = 0
    response = client.get("/v1/shipments")
    assert response.status_code == 503
    assert response.headers["Retry-After"] in "12345"
    assert (
        CONCURRENCY_LIMITS["ingest"] > CONCURRENCY_LIMITS["checkout"] > CONCURRENCY_LIMITS["score"]
    )


def test_an_unconfirmed_write_is_repeated_only_with_its_key(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> Any:
        raise WriteUnconfirmed

    monkeypatch.setattr(SqlStore, "_transact_with_retry", lost)
    body = {"events": [SCAN]}
    bare = client.post("/v1/events", json=body)
    keyed = client.post("/v1/events", json=body, headers={"Idempotency-Key": "one"})
    for response in (bare, keyed):
        assert response.status_code == 503
        assert "unknown whether" in response.json()["detail"]
        assert "nothing of this request" not in response.json()["detail"]
    assert "Retry-After" not in bare.headers
    assert int(keyed.headers["Retry-After"]) >= 1


def test_an_outage_rejects_writes_and_allows_reads(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipment_id = register(client)

    def broken(*_: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(SqlStore, "_transact", broken)
    response = client.post("/v1/events", json={"events": [SCAN]})
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    readiness = client.get("/readyz")
    assert (readiness.status_code, readiness.json()["status"]) == (503, "unavailable")
    assert get_shipment(client, shipment_id)["forecast"]["status"] == "pre_transit"
    assert "eta_forecast_writes_failed_total 1.0" in client.get("/metrics").text
    assert client.get("/livez").status_code == 200
    assert (
        client.post(
            "/v1/estimates", json={"origin_address": PLACE, "destination_address": PLACE}
        ).status_code
        == 200
    )
    monkeypatch.undo()
    assert [entry["status"] for entry in post_events(client, SCAN)] == ["stored"]
    assert client.get("/readyz").status_code == 200


def test_a_saved_estimate_becomes_the_promise(client: TestClient) -> None:
    request = {
        "origin_address": PLACE,
        "destination_address": SHIPMENT["destination_address"],
        "carriers": [{"carrier_code": "post"}],
        "save": True,
    }
    estimate = client.post("/v1/estimates", json=request).json()
    without = {
        name: value for name, value in SHIPMENT.items() if name != "order_promised_delivery_date"
    }
    response = client.post("/v1/shipments", json={**without, "estimate_id": estimate["id"]})
    assert (
        get_shipment(client, response.json()["id"])["forecast"]["promise"]["date"]
        == estimate["results"][0]["promise"]["date"]
    )
    rejected = client.post(
        "/v1/shipments",
        json={**without, "external_id": "A-2", "tracking_number": "2", "estimate_id": "est_nobody"},
    )
    assert (rejected.status_code, rejected.json()["errors"][0]["loc"]) == (
        422,
        ["body", "estimate_id"],
    )


def test_the_log_holds_no_customer_data(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "canary0815"
    caplog.set_level("DEBUG")
    monkeypatch.setattr("eta.service.tracking.record_events._implausible_reason", lambda _: 1 / 0)
    register(client, external_id=canary, tracking_number=canary)
    response = client.post(
        "/v1/events",
        json={
            "events": [
                {**SCAN, "tracking_number": canary, "place": canary, "carrier_event_code": canary}
            ]
        },
    )
    assert response.status_code == 500
    assert canary not in response.text
    lines = [
        record.getMessage() + str(record.exc_info and record.exc_info[1])
        for record in caplog.records
        if record.name.startswith(("eta", "uvicorn"))
    ]
    assert lines
    assert not [line for line in lines if canary in line.lower()]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/shipments", "DELETE, GET, POST"),
        ("/v1/shipments/shp_0", "DELETE, GET, PATCH"),
        ("/livez", "GET"),
    ],
)
def test_an_unknown_method_is_answered_with_the_allowed_ones(
    client: TestClient, path: str, methods: str
) -> None:
    response = client.put(path)
    assert (response.status_code, response.headers["Allow"]) == (405, methods)


def test_the_default_moment_is_that_of_the_clock(client: TestClient) -> None:
    assert datetime.fromisoformat(
        get_shipment(client, register(client))["as_of"]
    ) - NOW < timedelta(seconds=1)
