"""The latest hand-over that is early enough, by the clocks of the origin."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.domain.shipment import Place, Shipment
from eta.service.estimates.find_ship_by import LOOK_BACK_DAYS, ShipBy, ShipByCode, find_ship_by
from eta.service.estimates.hypothetical_shipments import CarrierService
from support.model_app import fixed

# One process keeps the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

#: Half arrive within four days of the forecast, 85 % within ten.
SERVED = fixed(400).served
ORDERED = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ship_by_for(
    desired_on: date,
    level: float = 0.5,
    *,
    origin: str = "AT",
    destination: str = "BR",
    at: time = time(17),
    ordered_at: datetime = ORDERED,
) -> ShipBy:
    lane = Shipment(
        shipment_id="lane",
        order_id="lane",
        origin=Place(country=origin),
        destination=Place(country=destination),
        ordered_at=ordered_at,
    )
    return find_ship_by(
        lane,
        [CarrierService(carrier="post")],
        SERVED,
        desired_on=desired_on,
        level=level,
        handover=at,
    )[0]


def test_the_latest_handover_with_the_wanted_probability_is_returned() -> None:
    ship_by = ship_by_for(date(2026, 5, 20))
    # Four days before the end of the 20th in Sao Paulo, which is 5 in the morning of the 21st in
    # Vienna.
    assert ship_by.handover_at is not None
    assert ship_by.handover_at.isoformat() == "2026-05-16T17:00:00+02:00"
    assert ship_by.probability is not None
    assert ship_by.probability >= 0.5
    later = [
        handover.probability
        for handover in ship_by.probabilities
        if handover.handover_at > ship_by.handover_at
    ]
    assert later
    assert max(later) < 0.5


def test_if_no_day_is_early_enough_the_probabilities_are_returned() -> None:
    ship_by = ship_by_for(date(2026, 5, 3), 0.9)
    assert (ship_by.code, ship_by.handover_at) == (ShipByCode.TOO_LATE, None)
    assert [handover.probability < 0.9 for handover in ship_by.probabilities] == [True] * 4
    assert ship_by_for(date(2026, 4, 20)).code is ShipByCode.TOO_LATE


def test_without_a_model_or_support_there_is_no_day() -> None:
    lane = Shipment(
        shipment_id="lane",
        order_id="lane",
        origin=Place(country="AT"),
        destination=Place(country="AT"),
        ordered_at=ORDERED,
    )
    terms = {"desired_on": date(2026, 5, 20), "level": 0.5, "handover": time(17)}
    for served, code in (
        (None, ShipByCode.NO_MODEL),
        (fixed(3).served, ShipByCode.TOO_LITTLE_SUPPORT),
    ):
        (ship_by,) = find_ship_by(lane, [CarrierService()], served, **terms)  # type: ignore[arg-type]  # of several types
        assert (ship_by.code, ship_by.handover_at, ship_by.probabilities) == (code, None, ())


def test_a_handover_in_the_skipped_hour_is_after_it() -> None:
    ship_by = ship_by_for(
        date(2026, 4, 2), at=time(2, 30), ordered_at=datetime(2026, 3, 28, tzinfo=UTC)
    )
    skipped = next(
        handover.handover_at
        for handover in ship_by.probabilities
        if handover.handover_at.date() == date(2026, 3, 29)
    )
    assert skipped.isoformat() == "2026-03-29T03:00:00+02:00"


@given(
    st.integers(0, 60),
    st.sampled_from(["AT", "BR", "US", "DE"]),
    st.sampled_from(["AT", "BR", "US", "DE"]),
    st.floats(0.5, 0.9),
)
@settings(max_examples=40, deadline=None)
def test_a_later_day_or_lower_probability_is_never_an_earlier_handover(
    days: int, origin: str, destination: str, level: float
) -> None:
    wanted = date(2026, 5, 2) + timedelta(days=days)
    answers = [
        ship_by_for(day, ship_by, origin=origin, destination=destination)
        for day, ship_by in ((wanted, 0.9), (wanted, level), (wanted + timedelta(days=1), level))
    ]
    moments = [ship_by.handover_at or datetime.min.replace(tzinfo=UTC) for ship_by in answers]
    assert moments == sorted(moments)
    for ship_by in answers:
        assert len(ship_by.probabilities) <= LOOK_BACK_DAYS + 2
        assert all(
            handover.handover_at >= ORDERED and 0.0 <= handover.probability <= 1.0
            for handover in ship_by.probabilities
        )
