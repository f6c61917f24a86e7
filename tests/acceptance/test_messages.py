"""What makes an answer less certain than it looks: names not seen, and the age of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.domain.access import Principal
from eta.model.registry import Registry
from eta.settings import Settings
from support.model_app import KEY, save_medians, save_model

# One process shares the models and the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

LANE = {
    "origin_address": {"country": "AT", "state": "9"},
    "destination_address": {"country": "AT", "state": "1"},
}
ORDERED = "2026-05-20T11:00:00+02:00"
THROUGH = datetime(2026, 5, 10, tzinfo=UTC)
Open = Callable[..., TestClient]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a version of two carriers and the fallback."""
    folder = tmp_path_factory.mktemp("messages") / "models"
    save_model(folder)
    save_medians(folder)
    return folder


@pytest.fixture
def opened(registry: Path) -> Iterator[Open]:
    """Opens the application with a clock so many days after the end of the training data."""
    with ExitStack() as stack:

        def open_client(days: float = 10.0, folder: Path = registry, **settings: Any) -> TestClient:
            digests = {hashlib.sha256(KEY.encode()).hexdigest(): Principal()}
            now = THROUGH + timedelta(days=days)
            app = create_app(
                Settings(models=folder, api_keys=digests, **settings), clock=lambda: now
            )
            return stack.enter_context(TestClient(app, headers={"X-API-Key": KEY}))

        yield open_client


def post(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    response = client.post(f"/v1/{path}", json=body)
    assert response.status_code in (200, 201), response.text
    answer: dict[str, Any] = response.json()
    return answer


def codes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """The code and the path of each message."""
    return [(message["code"], message["path"]) for message in answer["messages"]]


def estimate(client: TestClient, *carriers: dict[str, Any], **body: Any) -> dict[str, Any]:
    services = list(carriers) or [{}]
    return post(
        client, "estimates", **{**LANE, "order_time": ORDERED, "carriers": services, **body}
    )


def test_a_mistyped_carrier_is_named_with_the_nearest_known(opened: Open) -> None:
    answer = estimate(opened(), {"carrier_code": "psot"}, {"carrier_code": "post"})
    assert codes(answer) == [("carrier_not_seen", "carriers[0]")]
    assert "'psot'" in answer["messages"][0]["text"]
    assert "the nearest known is 'post'" in answer["messages"][0]["text"]


@pytest.mark.parametrize("carrier", ["POST", "Post", "pots", "post ag"])
def test_case_and_slips_lead_to_the_known_name(opened: Open, carrier: str) -> None:
    (message,) = estimate(opened(), {"carrier_code": carrier})["messages"]
    assert (message["code"], "'post'" in message["text"]) == ("carrier_not_seen", True)


def test_a_name_like_no_other_has_no_nearest(opened: Open) -> None:
    (message,) = estimate(opened(), {"carrier_code": "zzzzzzzzz"})["messages"]
    assert "nearest" not in message["text"]
    assert "/v1/coverage" in message["text"]


def test_known_carriers_and_no_carrier_have_no_message(opened: Open) -> None:
    client = opened()
    assert estimate(client)["messages"] == []
    assert estimate(client, {}, {"carrier_code": "post"})["messages"] == []
    compared = [{"carrier_code": "post"}, {"carrier_code": "other"}]
    assert estimate(client, *compared)["messages"] == []


def test_known_services_compared_without_regions_have_no_message(opened: Open) -> None:
    lane = {"origin_address": {"country": "AT"}, "destination_address": {"country": "AT"}}
    answer = estimate(opened(), {"carrier_code": "post"}, {"carrier_code": "other"}, **lane)
    assert answer["messages"] == []


def test_a_known_service_without_a_parcel_on_the_lane_is_named(opened: Open) -> None:
    abroad = {"destination_address": {"country": "JP"}}
    compared = [{"carrier_code": "post"}, {"carrier_code": "other"}, {}]
    answer = estimate(opened(), *compared, **abroad)
    assert codes(answer) == [
        ("choice_not_seen", "carriers[0]"),
        ("choice_not_seen", "carriers[1]"),
    ]
    assert "no parcel of this service on this lane" in answer["messages"][0]["text"]
    assert codes(estimate(opened(), compared[0], **abroad)) == []


def test_an_unknown_service_of_a_known_carrier_is_named(opened: Open) -> None:
    service = {"carrier_code": "post", "service_code": "express"}
    answer = estimate(opened(), service)
    assert codes(answer) == [("service_not_seen", "carriers[0]")]
    assert "'express' of carrier 'post'" in answer["messages"][0]["text"]


def test_orders_scores_and_hand_overs_name_unseen_carriers_too(opened: Open) -> None:
    client = opened()
    parcels = [
        {"origin_address": LANE["origin_address"], "carrier_code": carrier}
        for carrier in ("post", "otter")
    ]
    order = {"order_time": ORDERED, "destination_address": LANE["destination_address"]}
    assert codes(post(client, "order-estimates", **order, parcels=parcels)) == [
        ("carrier_not_seen", "parcels[1]")
    ]
    due = {**LANE, "order_time": ORDERED, "desired_delivery_date": "2026-05-29"}
    carriers = [{"carrier_code": "otter"}, {"carrier_code": "post"}]
    assert codes(post(client, "ship-by", **due, carriers=carriers)) == [
        ("carrier_not_seen", "carriers[0]")
    ]


def test_a_batch_names_each_unseen_carrier_once_with_a_count(opened: Open) -> None:
    client = opened()
    shipments = [
        {**LANE, "order_time": ORDERED, "carrier_code": carrier}
        for carrier in ["post", *["otter"] * 30, "psot", "other"]
    ]
    shipments.append({"carrier_code": "a faulty item"})
    answer = post(client, "score", as_of=ORDERED, shipments=shipments)
    assert codes(answer) == [
        ("carrier_not_seen", "shipments[1]"),
        ("carrier_not_seen", "shipments[31]"),
    ]
    assert answer["messages"][0]["text"].endswith("(and 29 more)")
    many = [{**LANE, "order_time": ORDERED, "carrier_code": f"c{number}"} for number in range(200)]
    assert len(post(client, "score", as_of=ORDERED, shipments=many)["messages"]) == 50


def test_a_shipment_of_an_unseen_carrier_is_registered_with_a_message(opened: Open) -> None:
    client = opened()
    shipment = {**LANE, "order_time": ORDERED, "external_id": "A1", "carrier_code": "otter"}
    created = post(client, "shipments", **shipment)
    assert (created["created"], codes(created)) == (True, [("carrier_not_seen", "carrier_code")])
    again = post(client, "shipments", **shipment)
    assert (again["created"], codes(again)) == (False, codes(created))
    path = f"/v1/shipments/{created['id']}"
    assert codes(client.get(path).json()) == codes(created)
    (listed,) = client.get("/v1/shipments").json()["results"]
    assert codes(listed) == codes(created)
    updated = client.patch(path, json={"carrier_code": "other"}).json()
    assert codes(updated) == codes(client.get(path).json()) == []
    # The carrier is not sent again, but known.
    service = client.patch(path, json={"service_code": "express"}).json()
    assert codes(service) == [("service_not_seen", "service_code")]


def test_without_a_model_no_name_is_called_unseen(opened: Open, tmp_path: Path) -> None:
    client = opened(folder=tmp_path)
    assert estimate(client, {"carrier_code": "psot"})["messages"] == []
    save_medians(tmp_path / "models")
    client = opened(folder=tmp_path / "models")
    answer = estimate(client, {"carrier_code": "psot"})
    assert (answer["degraded"], answer["messages"]) == (True, [])


def test_a_fresh_model_is_ready_and_shows_its_age(opened: Open) -> None:
    client = opened(10.5)
    readiness = client.get("/readyz").json()
    assert (readiness["status"], readiness["model_age_days"]) == ("ready", 10.5)
    assert readiness["data_through"] == "2026-05-10T00:00:00Z"
    assert "eta_model_age_days 10.5" in client.get("/metrics").text
    (version,) = client.get("/v1/models").json()["results"]
    assert version["age_days"] == 10.5
    answer = estimate(client)
    assert (answer["degraded"], answer["messages"]) == (False, [])


def test_a_model_of_a_year_ago_is_degraded_in_every_answer(opened: Open) -> None:
    client = opened(365.0)
    response = client.get("/readyz")
    readiness = response.json()
    assert (response.status_code, readiness["status"]) == (200, "degraded")
    assert readiness["model_age_days"] == 365.0
    assert "through 2026-05-10, 365 days before" in readiness["details"][0]
    assert "eta train" in readiness["details"][0]
    page = client.get("/metrics").text
    assert "eta_model_age_days 365.0" in page
    assert "eta_model_degraded 1.0" in page
    for answer in _answers_now(client):
        assert (answer["degraded"], codes(answer)[-1]) == (True, ("model_outdated", ""))
        for result in answer.get("results") or answer["parcels"]:
            assert result.get("degraded", True)


def _answers_now(client: TestClient) -> Iterator[dict[str, Any]]:
    """Answers of every kind, as of now."""
    now = client.app.state.resources.clock().isoformat()  # type: ignore[attr-defined]  # Starlette's
    yield post(client, "estimates", **LANE)
    parcels = [{"origin_address": LANE["origin_address"]}]
    destination = LANE["destination_address"]
    yield post(client, "order-estimates", destination_address=destination, parcels=parcels)
    yield post(client, "ship-by", **LANE, desired_delivery_date="2027-05-29")
    yield post(client, "score", shipments=[{**LANE, "order_time": now}])


def test_a_recorded_shipment_says_that_the_model_is_old(opened: Open) -> None:
    client = opened(365.0)
    shipment = {**LANE, "order_time": (THROUGH + timedelta(days=364)).isoformat()}
    created = post(client, "shipments", **shipment)
    assert created["messages"] == []
    shown = client.get(f"/v1/shipments/{created['id']}").json()
    assert (shown["forecast"]["degraded"], codes(shown)) == (True, [("model_outdated", "")])
    assert client.get("/v1/shipments").json()["degraded"] is True


def test_age_counts_to_the_moment_of_the_answer(opened: Open) -> None:
    client = opened(365.0)
    replayed = estimate(client, now_override="2026-05-20T09:00:00Z")
    assert (replayed["degraded"], replayed["messages"]) == (False, [])
    before = estimate(client, order_time="2026-04-01T09:00:00Z")
    assert (before["degraded"], before["messages"]) == (False, [])
    later = estimate(client, order_time="2026-12-20T09:00:00Z")
    assert (later["degraded"], codes(later)) == (True, [("model_outdated", "")])
    shipments = [{**LANE, "order_time": ORDERED}]
    scored = post(client, "score", as_of=ORDERED, shipments=shipments)
    assert (scored["degraded"], scored["messages"]) == (False, [])


@pytest.mark.parametrize(("days", "status"), [(60.0, "ready"), (60.1, "degraded")])
def test_the_maximum_age_itself_is_allowed(opened: Open, days: float, status: str) -> None:
    assert opened(days).get("/readyz").json()["status"] == status


@pytest.mark.parametrize(("maximum", "status"), [(7, "degraded"), (400, "ready")])
def test_the_maximum_age_can_be_set(opened: Open, maximum: int, status: str) -> None:
    client = opened(365.0 if maximum == 400 else 8.0, max_model_age_days=maximum)
    assert client.get("/readyz").json()["status"] == status


def test_an_arrival_is_no_worse_for_an_old_model(opened: Open) -> None:
    at = (THROUGH + timedelta(days=364)).isoformat()
    delivered = {"event_code": "delivered", "occurred_at": at}
    shipment = {**LANE, "order_time": at, "events": [delivered]}
    answer = post(opened(365.0), "score", shipments=[shipment])
    (result,) = answer["results"]
    assert (result["confidence_code"], result["degraded"]) == ("arrived", False)
    assert answer["degraded"] is True


def test_a_simulated_calendar_does_not_degrade_the_demo(
    opened: Open, registry: Path, tmp_path: Path
) -> None:
    version = Registry(registry).load(Registry(registry).names()[0])
    data = {**version.manifest["data"], "is_simulated": True}
    parts = {name: version.manifest[name] for name in ("kind", "parameters", "columns", "check")}
    Registry(tmp_path).save({**parts, "data": data}, version.files, THROUGH)
    client = opened(365.0, folder=tmp_path)
    readiness = client.get("/readyz").json()
    assert (readiness["status"], readiness["model_age_days"]) == ("ready", 365.0)
    answer = post(client, "estimates", **LANE)
    assert (answer["degraded"], codes(answer)) == (False, [("model_simulated", "")])
    assert answer["results"][0]["degraded"] is False
    assert opened(10.0, folder=tmp_path).post("/v1/estimates", json=LANE).json()["messages"] == []


def test_the_fallback_has_an_age_too(opened: Open, tmp_path: Path) -> None:
    save_medians(tmp_path)
    client = opened(365.0, folder=tmp_path)
    answer = estimate(client, order_time="2027-05-01T09:00:00Z")
    assert codes(answer) == [("model_outdated", "")]
    assert client.get("/readyz").json()["model_age_days"] == 365.0


def test_without_a_model_there_is_no_age(opened: Open, tmp_path: Path) -> None:
    client = opened(folder=tmp_path)
    readiness = client.get("/readyz").json()
    assert (readiness["data_through"], readiness["model_age_days"]) == (None, None)
    assert "eta_model_age_days NaN" in client.get("/metrics").text


@pytest.mark.parametrize("path", ["estimates", "ship-by", "order-estimates", "score"])
def test_a_doubtful_place_is_named(opened: Open, path: str) -> None:
    origin = {"country": "HK", "state": "KLN"}
    destination = {"country": "US", "state": "California", "postal_code": "10001"}
    ends = {"origin_address": origin, "destination_address": destination}
    prefix = ""
    body: dict[str, Any] = ends
    if path == "ship-by":
        body = {**ends, "desired_delivery_date": "2026-06-05"}
    elif path == "order-estimates":
        body = {"destination_address": destination, "parcels": [{"origin_address": origin}]}
        prefix = "parcels[0]."
    elif path == "score":
        body = {"shipments": [{**ends, "order_time": ORDERED}]}
        prefix = "shipments[0]."
    answer = post(opened(), path, **body)
    before = prefix if path == "score" else ""
    assert codes(answer) == [
        ("region_not_known", f"{prefix}origin_address.state"),
        ("postal_code_elsewhere", f"{before}destination_address.postal_code"),
    ]
    assert answer["messages"][1]["text"] == (
        "the postcode lies in NY, not in CA: CA counts; correct one of them"
    )


@pytest.mark.parametrize(
    ("address", "zone", "source"),
    [
        ({"country": "US", "postal_code": "90012"}, "America/Los_Angeles", "postal_code"),
        ({"country": "US", "state": "GU"}, "Pacific/Guam", "region"),
        ({"country": "United States", "postal_code": "96910"}, "Pacific/Guam", "postal_code"),
        ({"country": "ESP", "state": "Las Palmas"}, "Atlantic/Canary", "region"),
        ({"country": "Russia"}, "Europe/Moscow", "country_default"),
        ({"country": "UK"}, "Europe/London", "country_default"),
    ],
)
def test_an_answer_is_in_the_zone_of_the_place(
    opened: Open, address: dict[str, str], zone: str, source: str
) -> None:
    answer = estimate(opened(), destination_address=address)
    assert [(one["timezone"], one["timezone_source"]) for one in answer["results"]] == [
        (zone, source)
    ]
    assert codes(answer) == []


def test_a_postcode_has_the_support_of_its_region(opened: Open) -> None:
    client = opened()
    ends = ({"state": "9"}, {"postal_code": "1010"}, {"state": "Wien", "postal_code": "A-1010"})
    levels = [
        estimate(
            client,
            {"carrier_code": "post"},
            origin_address={"country": "AT", **end},
            destination_address={"country": "AUT", "state": "Burgenland"},
        )["results"][0]["basis"]
        for end in ends
    ]
    assert levels[0] == levels[1] == levels[2]
    assert levels[0]["level"] != "country_pair"
