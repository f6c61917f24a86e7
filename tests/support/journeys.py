"""Random journeys for tests: scans with gaps, duplicates, late and disordered receipts."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode

START = datetime(2026, 3, 1, tzinfo=UTC)
PLACES = (
    Place(country="AT", region="9", postcode="1010", latitude=48.2, longitude=16.4),
    Place(country="BR", region="SP", postcode="01310", latitude=-23.6, longitude=-46.6),
    Place(country="US", region="CA", postcode="94105"),
    Place(country="JP"),
)


def shipment(
    number: int,
    *,
    ordered_at: datetime = START,
    carrier: str | None = "post",
    promised_on: date | None = None,
) -> Shipment:
    return Shipment(
        shipment_id=f"s{number:03d}",
        order_id=f"o{number:03d}",
        origin=PLACES[number % 2],
        destination=PLACES[number % len(PLACES)],
        ordered_at=ordered_at,
        carrier=carrier,
        service_level="standard" if number % 3 else None,
        weight_kg=None if number % 5 == 0 else 0.5 + number,
        promised_on=promised_on or (ordered_at + timedelta(days=7)).date(),
    )


def scan(
    number: int, code: EventCode, hours: float, *, late_hours: float = 0.0, place: str | None = None
) -> TrackingEvent:
    at = START + timedelta(hours=hours)
    return TrackingEvent(
        shipment_id=f"s{number:03d}",
        event_code=code,
        occurred_at=at,
        received_at=at + timedelta(hours=late_hours),
        place=place,
    )


#: Few distinct times, so that ties, duplicates and receipts exactly at ``as_of`` are common.
_hours = st.integers(0, 40).map(lambda step: step * 6.0)


@st.composite
def scans(draw: st.DrawFn, shipments: int) -> list[TrackingEvent]:
    """Up to 12 scans a shipment, received in any order, some twice and some late."""
    events = draw(
        st.lists(
            st.builds(
                scan,
                st.integers(0, shipments - 1),
                st.sampled_from(EventCode),
                _hours,
                late_hours=_hours,
                place=st.sampled_from([None, "hub"]),
            ),
            max_size=12 * shipments,
        )
    )
    return [*events, *draw(st.lists(st.sampled_from(events), max_size=4))] if events else events


moments = _hours.map(lambda hours: START + timedelta(hours=hours))


def parcels(
    count: int, *, seed: int = 0, days: int = 120, known_through_days: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Frames of parcels handed over at noon the day after the order, arriving from 2 to 6 p.m.

    Every day each parcel still on its way arrives with probability 1/2 on the near lane and 1/6 on
    the far one; one in fifty never arrives. Nothing is received after ``known_through_days``.
    """
    random = np.random.default_rng(seed)
    number = np.arange(count)
    ordered = pd.Timestamp(START) + pd.to_timedelta(random.integers(0, days * 24, count), unit="h")
    is_far = random.random(count) < 0.5
    handed_over = (ordered.normalize() + pd.Timedelta(days=1, hours=12)).as_unit("us")
    waited = random.geometric(np.where(is_far, 1 / 6, 1 / 2))
    arrived = (
        handed_over.normalize()
        + pd.to_timedelta(waited, unit="D")
        + pd.to_timedelta(14 + 4 * random.random(count), unit="h")
    )
    shipments = pd.DataFrame(
        {
            "shipment_id": [f"p{n:05d}" for n in number],
            "order_id": [f"o{n:05d}" for n in number],
            "origin_country": "AT",
            "origin_region": "9",
            "destination_country": "AT",
            "destination_region": np.where(is_far, "8", "1"),
            "carrier": np.where(number % 2, "post", "other"),
            "weight_kg": random.lognormal(0, 1, count).clip(0.01, 30),
            "promised_on": (ordered + pd.Timedelta(days=8)).tz_localize(None).normalize(),
        }
    )
    scans = [
        pd.DataFrame(
            {"shipment_id": shipments["shipment_id"], "event_code": code, "occurred_at": at}
        )
        for code, at in (
            ("order_created", ordered),
            ("accepted", handed_over),
            ("delivered", arrived),
        )
    ]
    events = pd.concat([*scans[:2], scans[2][random.random(count) > 0.02]], ignore_index=True)
    events["occurred_at"] = events["occurred_at"].astype("datetime64[us, UTC]")
    events["received_at"] = events["occurred_at"]
    if known_through_days is not None:
        events = events[
            events["received_at"] <= pd.Timestamp(START) + pd.Timedelta(days=known_through_days)
        ]
        shipments = shipments[shipments["shipment_id"].isin(events["shipment_id"])]
    return shipments, events
