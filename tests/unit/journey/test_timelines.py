"""Timelines of frames and of records, which must agree to the last bit."""

from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from eta.domain.errors import InvalidValue
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.route import end_of, great_circle_km, route_of
from eta.journey.timeline_builders import EVENT_COLUMNS, SHIPMENT_COLUMNS
from eta.journey.timelines import Timelines
from support.journeys import START, scan, shipment

SHIPMENTS = [
    shipment(2),
    shipment(0),
    replace(
        shipment(1),
        order_id="a",
        price=12.5,
        length_cm=30.0,
        width_cm=20.0,
        height_cm=10.0,
        promised_on=None,
    ),
    replace(
        shipment(3),
        origin=Place(country="XX"),
        carrier=None,
        service_level=None,
        package_count=3,
        has_several_origins=True,
    ),
]
EVENTS = [
    scan(1, EventCode.SORTED, 12, late_hours=3),
    scan(0, EventCode.ACCEPTED, 5, late_hours=9, place="hub"),
    scan(0, EventCode.ACCEPTED, 5, late_hours=1, place="hub"),
    scan(0, EventCode.ACCEPTED, 5, late_hours=1, place="depot"),
    scan(0, EventCode.ORDER_CREATED, 0),
    replace(scan(1, EventCode.INFO, 12), raw_code="ZZ"),
    replace(scan(1, EventCode.HELD, 12, late_hours=2), raw_code="ZZ"),
    scan(2, EventCode.ORDER_CREATED, 0),
]


def frames(
    shipments: list[Shipment], events: list[TrackingEvent]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        {
            f"{end}_{name}": value
            for end in ("origin", "destination")
            for name, value in asdict(getattr(one, end)).items()
        }
        | {name: value for name, value in vars(one).items() if name in SHIPMENT_COLUMNS}
        for one in shipments
    ]
    event_frame = pd.DataFrame([vars(event) for event in events], columns=list(EVENT_COLUMNS))
    for name in ("occurred_at", "received_at"):
        event_frame[name] = pd.to_datetime(event_frame[name], utc=True)
    return pd.DataFrame(rows, columns=list(SHIPMENT_COLUMNS)), event_frame


def as_bytes(timelines: Timelines) -> dict[str, bytes]:
    texts = (
        "carrier",
        "service_level",
        "origin_postcode",
        "origin",
        "destination",
        "lane",
        "service",
        "service_lane",
        "zone",
        "zone_source",
    )
    labels = {
        name: repr((timelines.texts[name].names, timelines.texts[name].codes.tolist())).encode()
        for name in texts
    }
    columns = (
        "numbers",
        "measures",
        "promised_on",
        "has_several_origins",
        "event_code",
        "occurred_at",
        "received_at",
        "event_hash",
        "parcel",
    )
    ids = repr(
        (
            timelines.shipment_id.tolist(),
            timelines.order_id.tolist(),
            timelines.scans.starts.tolist(),
        )
    ).encode()
    return {"ids": ids, **labels, **{name: getattr(timelines, name).tobytes() for name in columns}}


@pytest.mark.parametrize("count", [0, 1, 3, 4])
@pytest.mark.parametrize("in_order", [False, True])
def test_frames_and_records_give_the_same_columns(count: int, in_order: bool) -> None:
    shipments = SHIPMENTS[:count]
    ids = {one.shipment_id for one in shipments}
    events = [event for event in EVENTS if event.shipment_id in ids]
    if in_order:
        events.sort(key=lambda event: (event.shipment_id, event.occurred_at))
    assert as_bytes(Timelines.from_records(shipments, events)) == as_bytes(
        Timelines.from_frames(*frames(shipments, events))
    )


def test_many_frames_and_records_give_the_same_columns() -> None:
    shipments = [shipment(number) for number in range(300)]
    events = [
        scan(number, code, hours)
        for hours, code in enumerate(EventCode)
        for number in range(0, 300, 7)
    ]
    assert as_bytes(Timelines.from_records(shipments, events)) == as_bytes(
        Timelines.from_frames(*frames(shipments, events))
    )


def test_scans_with_equal_code_time_and_place_are_deduplicated() -> None:
    timelines = Timelines.from_records(SHIPMENTS, EVENTS)
    # s000 was accepted at two places, reported twice at one of them; on s001 two scans have one raw
    # code and one time.
    assert timelines.scans.counts.tolist() == [3, 2, 1, 0]
    received = timelines.received_at[timelines.scans.starts[0] : timelines.scans.starts[1]]
    assert received.max() == np.datetime64((START + timedelta(hours=6)).replace(tzinfo=None))


def test_event_hashes_equal_those_of_pandas() -> None:
    event = replace(scan(0, EventCode.ACCEPTED, 5, place="hub"), raw_code="A7")
    content = pd.DataFrame(
        {
            "raw": ["A7"],
            "at": pd.to_datetime([event.occurred_at]).tz_localize(None).as_unit("us"),
            "place": ["hub"],
        }
    )
    expected = pd.util.hash_pandas_object(content, index=False).to_numpy()
    assert Timelines.from_records(SHIPMENTS, [event]).event_hash.tolist() == expected.tolist()


def test_duplicate_ids_and_orphan_events_are_rejected() -> None:
    with pytest.raises(InvalidValue, match="'s000' occurs twice"):
        Timelines.from_records([shipment(0), shipment(1), shipment(0)], [])
    with pytest.raises(InvalidValue, match="'s009', which is not a shipment"):
        Timelines.from_records(
            [shipment(0)], [scan(0, EventCode.ACCEPTED, 5), scan(9, EventCode.ACCEPTED, 5)]
        )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            ("post", "express", "AT", "9", "BR", "SP"),
            (
                "AT-9",
                "BR-SP",
                "AT-9>BR-SP",
                "post|express",
                "post|express|AT-9>BR-SP",
                "America/Sao_Paulo",
                "region",
                "Europe/Vienna",
                "BR-SP",
            ),
        ),
        (
            (None, "express", "AT", None, "BR", None),
            (
                "AT",
                "BR",
                "AT>BR",
                "?|express",
                "?|express|AT>BR",
                "America/Sao_Paulo",
                "country_default",
                "Europe/Vienna",
                "BR",
            ),
        ),
        (
            ("post", None, None, "9", "AT", "9"),
            (
                None,
                "AT-9",
                None,
                "post|?",
                None,
                "Europe/Vienna",
                "country_default",
                "Europe/Vienna",
                "AT-9",
            ),
        ),
        (
            ("UPS", None, None, None, "US", "NY"),
            (
                None,
                "US-NY",
                None,
                "UPS|?",
                None,
                "America/New_York",
                "region",
                "America/New_York",
                "US-NY|ups",
            ),
        ),
        (
            (None, None, None, None, None, None),
            (None, None, None, "?|?", None, "UTC", "assumed_utc", "UTC", None),
        ),
    ],
)
def test_a_route_follows_from_carrier_and_places(
    facts: tuple[str | None, ...], expected: tuple[str | None, ...]
) -> None:
    carrier, service_level, *places = facts
    origin, destination = end_of(*places[:2], None), end_of(*places[2:], None)
    assert route_of(carrier, service_level, *origin[:2], *destination[:3]) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (("US", None, "90012"), ("US-CA", "America/Los_Angeles", "postal_code", "US|90012")),
        (("US", "CA", "90012"), ("US-CA", "America/Los_Angeles", "region", "US|90012")),
        (("US", "NY", "90012"), ("US-NY", "America/New_York", "region", "US|90012")),
        (("IT", "25", "20121"), ("IT-MI", "Europe/Rome", "country_default", "IT|20121")),
        (("HK", None, "A 1"), ("HK", "Asia/Hong_Kong", "country_default", "HK|A1")),
    ],
)
def test_an_end_has_the_region_and_zone_of_its_postcode(
    place: tuple[str, str | None, str], expected: tuple[str, str, str, str]
) -> None:
    assert end_of(*place) == expected


def test_a_quarter_of_the_way_around_the_earth() -> None:
    quarter = 6371.0 * np.pi / 2
    assert great_circle_km(
        [0.0, 90.0, 0.0], [0.0, 7.0, 0.0], 0.0, [90.0, 30.0, 0.0]
    ) == pytest.approx([quarter, quarter, 0.0])
    assert np.isnan(great_circle_km(np.nan, 0.0, 1.0, 2.0))
