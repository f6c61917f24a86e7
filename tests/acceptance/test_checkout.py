"""Estimates at the checkout: cut-offs, countdowns, policies, warnings, and saved estimates."""

import hashlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.api.schemas.estimates import EstimateResponse, ShippingDeliveryTimes
from eta.domain.access import Principal
from eta.domain.errors import InvalidSetting
from eta.promise import PromisePolicy
from eta.settings import Settings
from support.model_app import KEY, NOW, save_model

# One process shares the model and the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

WITH_KEY = {"X-API-Key": KEY}
OTHER_KEY = "another tenant's key"
PLACE = {"country": "AT", "state": "9"}
ORDER: dict[str, Any] = {
    "origin_address": PLACE,
    "destination_address": {"country": "AT", "state": "8"},
    "carriers": [{"carrier_code": "post"}],
    "order_time": "2026-05-19T11:30:00+02:00",
}
PICKUP = {"order_cutoff_time": "15:00", "business_days": [1, 2, 3, 4, 5]}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_model(folder)
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    keys = {
        hashlib.sha256(key.encode()).hexdigest(): Principal(tenant)
        for key, tenant in ((KEY, "default"), (OTHER_KEY, "other"))
    }
    policy = PromisePolicy(version="of the house", on_time_rate=0.7)
    with TestClient(
        create_app(Settings(models=models, api_keys=keys, promise_policy=policy), clock=lambda: NOW)
    ) as opened:
        yield opened


def estimate(client: TestClient, **more: Any) -> dict[str, Any]:
    response = client.post("/v1/estimates", json={**ORDER, **more}, headers=WITH_KEY)
    assert response.status_code == 200, response.text
    EstimateResponse.model_validate_json(response.text)
    answer: dict[str, Any] = response.json()
    return answer


def problems(client: TestClient, **more: Any) -> list[tuple[str, str]]:
    response = client.post("/v1/estimates", json={**ORDER, **more}, headers=WITH_KEY)
    assert response.status_code == 422, response.text
    return [
        (".".join(map(str, error["loc"][1:])), error["msg"]) for error in response.json()["errors"]
    ]


def test_a_cutoff_gives_a_countdown_and_a_shipping_day(client: TestClient) -> None:
    (on_time,) = estimate(client, estimated_pickup=PICKUP)["results"]
    assert on_time["cutoff"] == {"order_by": "2026-05-19T15:00:00+02:00", "minutes_left": 210}
    assert on_time["ship_on_date"] == "2026-05-19"
    (late,) = estimate(client, estimated_pickup=PICKUP, order_time="2026-05-19T15:00:00+02:00")[
        "results"
    ]
    assert (late["cutoff"]["order_by"], late["ship_on_date"]) == (
        "2026-05-20T15:00:00+02:00",
        "2026-05-20",
    )
    (slow,) = estimate(
        client,
        estimated_pickup={**PICKUP, "order_processing_time": {"unit": "business_days", "value": 3}},
    )["results"]
    assert slow["ship_on_date"] == "2026-05-22"
    assert slow["estimated_delivery_date"] > on_time["estimated_delivery_date"]
    (plain,) = estimate(client)["results"]
    assert (plain["cutoff"], plain["ship_on_date"]) == (None, None)


@pytest.mark.parametrize(
    ("order_time", "ups_ships_on", "usps_ships_on"),
    [
        ("2026-10-12T10:00:00-04:00", "2026-10-12", "2026-10-13"),  # Columbus Day
        ("2026-11-10T16:00:00-05:00", "2026-11-11", "2026-11-12"),  # Veterans Day
        ("2026-11-25T16:00:00-05:00", "2026-11-27", "2026-11-27"),  # Thanksgiving
    ],
)
def test_carriers_pick_up_on_their_own_days(
    client: TestClient, order_time: str, ups_ships_on: str, usps_ships_on: str
) -> None:
    answer = estimate(
        client,
        origin_address={"country": "US", "state": "NY"},
        destination_address={"country": "US", "state": "CA"},
        carriers=[{"carrier_code": "UPS"}, {"carrier_code": "usps"}],
        estimated_pickup=PICKUP,
        order_time=order_time,
    )
    dates = [result["ship_on_date"] for result in answer["results"]]
    assert dates == [ups_ships_on, usps_ships_on]
    order_by = [result["cutoff"]["order_by"][:10] for result in answer["results"]]
    assert order_by == dates


def test_each_weekday_may_have_its_cutoff(client: TestClient) -> None:
    pickup = {**PICKUP, "order_cutoff_times": {"5": "12:00", "1": "18:30"}}
    cases = {
        "2026-05-22T11:00:00+02:00": "2026-05-22T12:00:00+02:00",  # Friday
        "2026-05-19T11:00:00+02:00": "2026-05-19T15:00:00+02:00",
        "2026-06-01T16:00:00+02:00": "2026-06-01T18:30:00+02:00",  # Monday
        "2026-05-29T13:00:00+02:00": "2026-06-01T18:30:00+02:00",  # after Friday's
    }
    for order_time, order_by in cases.items():
        (result,) = estimate(client, estimated_pickup=pickup, order_time=order_time)["results"]
        assert (result["cutoff"]["order_by"], result["ship_on_date"]) == (order_by, order_by[:10])


def test_handling_may_be_counted_in_calendar_days(client: TestClient) -> None:
    def ships_on(unit: str, value: int, order_time: str) -> str:
        pickup = {**PICKUP, "order_processing_time": {"unit": unit, "value": value}}
        answer = estimate(client, estimated_pickup=pickup, order_time=order_time)
        shipped_on: str = answer["results"][0]["ship_on_date"]
        return shipped_on

    # From Thursday on: Sunday is no pick-up day, and Monday is Whit Monday.
    thursday = "2026-05-21T10:00:00+02:00"
    assert ships_on("calendar_days", 3, thursday) == "2026-05-26"
    assert ships_on("business_days", 3, thursday) == "2026-05-27"
    assert ships_on("calendar_days", 5, thursday) == "2026-05-26"
    assert ships_on("calendar_days", 1, thursday) == "2026-05-22"
    assert ships_on("calendar_days", 0, thursday) == "2026-05-21"


def test_an_estimate_may_be_cached_until_the_cutoff(client: TestClient) -> None:
    def headers(**more: Any) -> Any:
        return client.post("/v1/estimates", json={**ORDER, **more}, headers=WITH_KEY).headers

    assert headers(estimated_pickup=PICKUP)["cache-control"] == "private, max-age=12600"
    assert headers()["cache-control"] == "private, max-age=60"
    first, again, later = (
        headers(estimated_pickup=PICKUP, order_time=f"2026-05-19T{at}+02:00")["etag"]
        for at in ("11:30:00", "12:00:00", "16:00:00")
    )
    # Days are counted from the order; the dates stay the same until the cut-off.
    assert first == again
    assert first != later


def test_now_override_sets_the_time_of_a_trial(client: TestClient) -> None:
    body = {name: value for name, value in ORDER.items() if name != "order_time"}
    tried = client.post(
        "/v1/estimates",
        json={**body, "now_override": "2026-05-19T11:30:00+02:00"},
        headers=WITH_KEY,
    ).json()
    assert tried == estimate(client)
    assert problems(client, now_override="2026-05-19T11:30:00+02:00", save=True)[0][1].startswith(
        "a trial cannot be saved"
    )


def test_the_policy_sets_the_promise_and_a_draft_can_be_tried(client: TestClient) -> None:
    def promise(**more: Any) -> Any:
        return estimate(client, **more)["results"][0]["promise"]

    proposed = promise()
    assert (proposed["is_proposed"], proposed["policy"]) == (True, "of the house")
    assert proposed["on_time_probability"] >= 0.7
    later, capped, cheap = (
        promise(promise_policy=promise_policy)
        for promise_policy in (
            {"on_time_rate": 0.85},
            {"on_time_rate": 0.85, "latest_days": 2},
            {"costs": {"late": 0.5}},
        )
    )
    assert later["date"] > proposed["date"] > cheap["date"]
    assert (later["policy"], capped["date"]) == (None, "2026-05-21")
    assert capped["on_time_probability"] < 0.85
    promised = promise(order_promised_delivery_date="2026-05-29")
    assert (promised["is_proposed"], promised["policy"], promised["date"]) == (
        False,
        None,
        "2026-05-29",
    )


@pytest.mark.parametrize(
    ("more", "field", "expected"),
    [
        ({"promise_policy": {}}, "promise_policy", "both on_time_rate and costs, or neither"),
        (
            {"promise_policy": {"on_time_rate": 0.9, "earliest_days": 9, "latest_days": 3}},
            "promise_policy",
            "earliest_days <= latest_days",
        ),
        ({"promise_policy": {"costs": {"day": 1}}}, "promise_policy", "late or late_day above 0"),
        ({"promise_policy": {"on_time_rate": 0.2}}, "promise_policy.on_time_rate", "0.5"),
        ({"estimated_pickup": {}}, "estimated_pickup.order_cutoff_time", "it"),
        (
            {"estimated_pickup": {**PICKUP, "order_cutoff_times": {"5": "12"}}},
            "estimated_pickup.order_cutoff_times.5",
            "HH:MM",
        ),
        (
            {"estimated_pickup": {**PICKUP, "order_cutoff_times": {"8": "12:00"}}},
            "estimated_pickup.order_cutoff_times.8.[key]",
            "1",
        ),
        (
            {"estimated_pickup": {**PICKUP, "business_days": []}},
            "estimated_pickup.business_days",
            "1",
        ),
        (
            {"estimated_pickup": {**PICKUP, "business_days": [1, 1]}},
            "estimated_pickup.business_days",
            "duplicate weekday",
        ),
        (
            {"estimated_pickup": {**PICKUP, "business_days": [8]}},
            "estimated_pickup.business_days.0",
            "7",
        ),
        (
            {"estimated_pickup": {**PICKUP, "order_cutoff_time": "24:00"}},
            "estimated_pickup.order_cutoff_time",
            "17:00",
        ),
        (
            {"estimated_pickup": {**PICKUP, "order_processing_time": {"unit": "business_days"}}},
            "estimated_pickup.order_processing_time",
            "either value or probabilities",
        ),
        (
            {
                "estimated_pickup": {
                    **PICKUP,
                    "order_processing_time": {"unit": "business_days", "probabilities": [0.5]},
                }
            },
            "estimated_pickup.order_processing_time",
            "add up to 1",
        ),
        ({"carriers": [{"delivery_days": [0]}]}, "carriers.0.delivery_days.0", "1"),
    ],
)
def test_an_invalid_field_is_named_with_a_way_to_fix_it(
    client: TestClient, more: dict[str, Any], field: str, expected: str
) -> None:
    ((path, message),) = problems(client, **more)
    assert path == field
    assert expected in message


def test_an_unseen_carrier_gets_a_message(client: TestClient) -> None:
    carriers = [{"carrier_code": "post"}, {"carrier_code": "unheard-of"}]
    assert [
        (message["code"], message["path"])
        for message in estimate(client, carriers=carriers)["messages"]
    ] == [("carrier_not_seen", "carriers[1]")]
    assert estimate(client, carriers=carriers[:1])["messages"] == []


def test_estimates_fall_on_delivery_days_of_the_carrier(client: TestClient) -> None:
    for weekday in range(1, 8):
        (result,) = estimate(
            client, carriers=[{"carrier_code": "post", "delivery_days": [weekday]}]
        )["results"]
        for name in (
            "estimated_delivery_date",
            "estimated_delivery_date_min",
            "estimated_delivery_date_max",
        ):
            assert result[name] is None or date.fromisoformat(result[name]).isoweekday() == weekday


def test_only_its_tenant_can_read_a_saved_estimate(client: TestClient) -> None:
    saved = estimate(client, save=True, estimated_pickup=PICKUP)
    path = f"/v1/estimates/{saved['id']}"
    response = client.get(path, headers=WITH_KEY)
    assert response.json() == saved
    assert (
        client.get(
            path, headers={**WITH_KEY, "If-None-Match": response.headers["etag"]}
        ).status_code
        == 304
    )
    assert client.get(path, headers={**WITH_KEY, "If-None-Match": '"other"'}).status_code == 200
    assert "immutable" in response.headers["cache-control"]
    for stranger in (
        client.get(path, headers={"X-API-Key": OTHER_KEY}),
        client.get("/v1/estimates/est_0", headers=WITH_KEY),
    ):
        assert stranger.status_code == 404
        assert stranger.headers["cache-control"] == "no-store"


def test_schema_org_has_handling_and_transit_times(client: TestClient) -> None:
    saved = estimate(
        client,
        save=True,
        estimated_pickup={**PICKUP, "order_processing_time": {"unit": "business_days", "value": 2}},
    )
    response = client.get(f"/v1/estimates/{saved['id']}/schema-org", headers=WITH_KEY)
    ShippingDeliveryTimes.model_validate_json(response.text)
    ((service,), (result,)) = response.json()["results"], saved["results"]
    delivery_time = service["shipping_delivery_time"]
    transit = [
        (date.fromisoformat(result[f"estimated_delivery_date_{end}"]) - date(2026, 5, 21)).days
        for end in ("min", "max")
    ]
    assert delivery_time == {
        "@context": "https://schema.org",
        "@type": "ShippingDeliveryTime",
        "handlingTime": {
            "@type": "QuantitativeValue",
            "minValue": 0,
            "maxValue": 2,
            "unitCode": "DAY",
        },
        "cutoffTime": "15:00:00+02:00",
        "transitTime": {
            "@type": "QuantitativeValue",
            "minValue": max(transit[0], 0),
            "maxValue": transit[1],
            "unitCode": "DAY",
        },
    }
    plain = client.get(
        f"/v1/estimates/{estimate(client, save=True)['id']}/schema-org", headers=WITH_KEY
    ).json()["results"][0]["shipping_delivery_time"]
    assert plain.keys() == {"@context", "@type", "transitTime"}


def test_the_policy_file_of_the_environment_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "promise.toml"
    file.write_text('version = "2026-11"\non_time_rate = 0.95\n', encoding="utf-8")
    assert Settings.from_env({"ETA_PROMISE_POLICY": str(file)}).promise_policy == PromisePolicy(
        version="2026-11", on_time_rate=0.95
    )
    file.write_text("on_time_rate = 0.95", encoding="utf-8")
    with pytest.raises(
        InvalidSetting,
        match=r"ETA_PROMISE_POLICY names .*promise.toml: version is missing",
    ):
        Settings.from_env({"ETA_PROMISE_POLICY": str(file)})
    with pytest.raises(
        InvalidSetting, match=r"ETA_PROMISE_POLICY names nowhere\.toml: No such file"
    ):
        Settings.from_env({"ETA_PROMISE_POLICY": "nowhere.toml"})
