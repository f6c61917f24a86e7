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

#: Half arrive within four days of being asked about, 85 % within ten.
SERVED = fixed(400).served
ORDERED = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ask(
    wanted_on: date,
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
        wanted_on=wanted_on,
        level=level,
        handover=at,
    )[0]


def test_the_latest_hand_over_with_the_chance_asked_for_is_the_answer() -> None:
    told = ask(date(2026, 5, 20))
    # Four days before the end of the 20th in Sao Paulo, which is 5 in the morning of the 21st in
    # Vienna.
    assert told.handover_at is not None
    assert told.handover_at.isoformat() == "2026-05-16T17:00:00+02:00"
    assert told.probability is not None
    assert told.probability >= 0.5
    later = [each.probability for each in told.chances if each.handover_at > told.handover_at]
    assert later
    assert max(later) < 0.5


def test_where_no_day_is_early_enough_that_is_said_with_the_chances() -> None:
    told = ask(date(2026, 5, 3), 0.9)
    assert (told.code, told.handover_at) == (ShipByCode.TOO_LATE, None)
    assert [each.probability < 0.9 for each in told.chances] == [True] * 4
    assert ask(date(2026, 4, 20)).code is ShipByCode.TOO_LATE


def test_without_a_model_or_enough_parcels_no_day_is_named() -> None:
    lane = Shipment(
        shipment_id="lane",
        order_id="lane",
        origin=Place(country="AT"),
        destination=Place(country="AT"),
        ordered_at=ORDERED,
    )
    terms = {"wanted_on": date(2026, 5, 20), "level": 0.5, "handover": time(17)}
    for served, code in (
        (None, ShipByCode.NO_MODEL),
        (fixed(3).served, ShipByCode.TOO_LITTLE_SUPPORT),
    ):
        (told,) = find_ship_by(lane, [CarrierService()], served, **terms)  # type: ignore[arg-type]  # of several types
        assert (told.code, told.handover_at, told.chances) == (code, None, ())


def test_a_hand_over_in_the_hour_that_clocks_skip_is_after_it() -> None:
    told = ask(date(2026, 4, 2), at=time(2, 30), ordered_at=datetime(2026, 3, 28, tzinfo=UTC))
    skipped = next(
        each.handover_at for each in told.chances if each.handover_at.date() == date(2026, 3, 29)
    )
    assert skipped.isoformat() == "2026-03-29T03:00:00+02:00"


@given(
    st.integers(0, 60),
    st.sampled_from(["AT", "BR", "US", "DE"]),
    st.sampled_from(["AT", "BR", "US", "DE"]),
    st.floats(0.5, 0.9),
)
@settings(max_examples=40, deadline=None)
def test_a_later_day_or_a_lower_chance_is_never_an_earlier_hand_over(
    days: int, origin: str, destination: str, level: float
) -> None:
    wanted = date(2026, 5, 2) + timedelta(days=days)
    told = [
        ask(day, each, origin=origin, destination=destination)
        for day, each in ((wanted, 0.9), (wanted, level), (wanted + timedelta(days=1), level))
    ]
    moments = [each.handover_at or datetime.min.replace(tzinfo=UTC) for each in told]
    assert moments == sorted(moments)
    for each in told:
        assert len(each.chances) <= LOOK_BACK_DAYS + 2
        assert all(
            chance.handover_at >= ORDERED and 0.0 <= chance.probability <= 1.0
            for chance in each.chances
        )
