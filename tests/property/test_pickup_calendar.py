"""Properties of cut-offs, pick-up days and delivery days in every zone and season."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import local_dates, to_instant
from eta.calendars.pickup_calendar import PickupCalendar
from eta.calendars.working_days import DeliveryDays
from eta.calendars.zones import REGION_ZONES, zone_of

DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
#: The library knows the holidays of some countries for these years only.
FIRST, LAST = date(2016, 1, 1), date(2031, 12, 31)
COUNTRIES = sorted(
    {
        line[:2]
        for line in (files("tzdata") / "zoneinfo" / "zone.tab")
        .read_text(encoding="utf-8")
        .splitlines()
        if not line.startswith("#")
    }
)
#: Every place whose zone is known; clocks of some go back over midnight, or change by half an hour.
PLACES = [
    *((country, None) for country in COUNTRIES),
    *REGION_ZONES,
    ("DE", "BY"),
    ("DE", "BE"),
    ("AT", "9"),
    ("XX", None),
]

places = st.sampled_from(PLACES)
weekdays = st.sets(st.integers(1, 7), min_size=1).map(lambda days: tuple(sorted(days)))
#: Mostly at night, when clocks change.
cutoffs = st.one_of(
    st.times(),
    st.integers(0, 16).map(lambda quarter: time(quarter // 4, quarter % 4 * 15)),
    st.just(time(23, 30)),
)
days = st.dates(FIRST, LAST)


@cache
def days_of_change(zone: str) -> tuple[date, ...]:
    """The days, in UTC, on which the clocks of a zone change; leap days where they never do."""
    noon = [
        datetime(FIRST.year, 1, 1, 12, tzinfo=UTC) + number * DAY
        for number in range((LAST - FIRST).days)
    ]
    changes = [
        other.date()
        for one, other in pairwise(noon)
        if one.astimezone(ZoneInfo(zone)).utcoffset()
        != other.astimezone(ZoneInfo(zone)).utcoffset()
    ]
    return tuple(changes) or (date(2020, 2, 29), date(2028, 2, 29))


@st.composite
def shops(draw: st.DrawFn) -> PickupCalendar:
    country, region = draw(places)
    return PickupCalendar(
        country=country,
        region=region,
        cutoff=draw(cutoffs),
        weekdays=draw(weekdays),
        weekday_cutoffs=tuple(
            draw(st.dictionaries(st.integers(1, 7), cutoffs, max_size=3)).items()
        ),
        carrier=draw(st.sampled_from([None, "UPS", "acme"])),
    )


@st.composite
def moments(draw: st.DrawFn, zone: str) -> datetime:
    """A moment in a zone, often near a change of clocks, a leap day or the turn of a year."""
    day = draw(
        st.one_of(
            days,
            st.sampled_from(days_of_change(zone)),
            st.sampled_from([date(2024, 2, 29), date(2028, 2, 29), date(2026, 12, 31)]),
        )
    )
    second = draw(
        st.one_of(
            st.integers(-2 * 86_400, 2 * 86_400),
            st.integers(-200, 200).map(lambda quarter: quarter * 900),
        )
    )
    return (
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)
    ).astimezone(ZoneInfo(zone))


@cache
def public_holidays(country: str | None, region: str | None) -> frozenset[date]:
    if country not in holidays.list_supported_countries():
        return frozenset()
    is_listed = region in holidays.list_supported_countries()[country]
    # States of the US have holidays of their offices alone.
    subdivision = region if is_listed and country != "US" else None
    return frozenset(
        holidays.country_holidays(
            country, subdiv=subdivision, years=range(FIRST.year - 2, LAST.year + 3)
        )
    )


@cache
def ups_holidays() -> frozenset[date]:
    """The six holidays of UPS in the US; after one on a Sunday it rests on Monday."""
    names = ["New", "Year", "Memorial", "Independence", "Labor", "Thanksgiving", "Christmas"]
    years = range(FIRST.year - 2, LAST.year + 3)
    listed = holidays.country_holidays("US", years=years, observed=False)
    days = [
        day
        for day, name in listed.items()
        if any(map(name.startswith, names)) and "Juneteenth" not in name
    ]
    return frozenset([*days, *(day + DAY for day in days if day.isoweekday() == 7)])


def is_holiday(pick_up: PickupCalendar, day: date) -> bool:
    if pick_up.carrier == "UPS" and pick_up.country == "US":
        return day in ups_holidays()
    return day in public_holidays(pick_up.country, pick_up.region)


def is_pick_up_day(pick_up: PickupCalendar, day: date) -> bool:
    return day.isoweekday() in pick_up.weekdays and not is_holiday(pick_up, day)


def cutoff_of(pick_up: PickupCalendar, day: date) -> time:
    return dict(pick_up.weekday_cutoffs).get(day.isoweekday(), pick_up.cutoff)


def utc(moment: datetime) -> datetime:
    """Python compares times of one zone by their wall clocks; a repeated hour needs UTC."""
    return moment.astimezone(UTC)


def first_instant(day: date, cutoff: time, zone: str) -> datetime:
    """When clocks first show a time of a day or a later one, found by looking at them."""
    wall = datetime.combine(day, cutoff)
    one, other = sorted(utc(wall.replace(tzinfo=ZoneInfo(zone), fold=fold)) for fold in (0, 1))
    for moment in (one, other):
        if moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall:
            return moment
    # Skipped: the clocks change between the two.
    while other - one > MICROSECOND:
        middle = one + (other - one) // 2
        one, other = (
            (middle, other)
            if middle.astimezone(ZoneInfo(zone)).replace(tzinfo=None) < wall
            else (one, middle)
        )
    return other


def days_between(first: date, last: date) -> Iterator[date]:
    return (first + number * DAY for number in range((last - first).days))


def check_order(pick_up: PickupCalendar, ordered_at: datetime) -> None:
    """All that holds for one order, by counting days one by one."""
    processing_date, cutoff_at = pick_up.processing_date(ordered_at), pick_up.cutoff_at(ordered_at)
    assert utc(cutoff_at) > utc(ordered_at)
    assert utc(cutoff_at) == first_instant(
        processing_date, cutoff_of(pick_up, processing_date), pick_up.zone
    )
    assert cutoff_at.tzinfo == ZoneInfo(pick_up.zone)
    assert is_pick_up_day(pick_up, processing_date)
    # No earlier pick-up day would have done: all their cut-offs had passed.
    start = ordered_at.astimezone(ZoneInfo(pick_up.zone)).date() - 2 * DAY
    assert all(
        utc(ordered_at) >= first_instant(day, cutoff_of(pick_up, day), pick_up.zone)
        for day in days_between(start, processing_date)
        if is_pick_up_day(pick_up, day)
    )
    # The same day and the same cut-off until just before it, and then another.
    assert pick_up.processing_date(utc(cutoff_at) - MICROSECOND) == processing_date
    assert utc(pick_up.cutoff_at(utc(cutoff_at) - MICROSECOND)) == utc(cutoff_at)
    assert pick_up.processing_date(utc(cutoff_at)) > processing_date


@given(shops(), st.data())
@settings(max_examples=300, deadline=None)
def test_an_order_belongs_to_the_first_pickup_day_with_a_later_cutoff(
    pick_up: PickupCalendar, data: st.DataObject
) -> None:
    check_order(pick_up, data.draw(moments(pick_up.zone)))


@pytest.mark.parametrize("cutoff", [time(0), time(2, 30), time(14)])
def test_processing_dates_hold_at_year_ends_leap_days_and_dst(
    cutoff: time,
) -> None:
    assert len(PLACES) > 300
    for country, region in PLACES:
        pick_up = PickupCalendar(
            country=country, region=region, cutoff=cutoff, weekdays=(1, 2, 3, 4, 5, 6, 7)
        )
        for day in (date(2026, 12, 31), date(2028, 2, 29), *days_of_change(pick_up.zone)[-2:]):
            check_order(pick_up, datetime(day.year, day.month, day.day, 1, 10, tzinfo=UTC))


@given(shops(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_later_order_is_never_processed_earlier(
    pick_up: PickupCalendar, data: st.DataObject
) -> None:
    one, other = sorted(
        (data.draw(moments(pick_up.zone)), data.draw(moments(pick_up.zone))), key=utc
    )
    near = utc(one) + timedelta(
        minutes=data.draw(st.one_of(st.integers(0, 90), st.integers(0, 4_000)))
    )
    for later in (other, near):
        assert pick_up.processing_date(one) <= pick_up.processing_date(later)
        assert utc(pick_up.cutoff_at(one)) <= utc(pick_up.cutoff_at(later))
        # An order before the cut-off that was named is in time for the same day.
        assert (utc(later) < utc(pick_up.cutoff_at(one))) <= (
            pick_up.processing_date(later) == pick_up.processing_date(one)
        )


@given(shops(), days, st.integers(0, 12), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_handovers_are_on_consecutive_pickup_days(
    pick_up: PickupCalendar, processing_date: date, first: int, more: int
) -> None:
    handed_over_on = pick_up.handover_on(processing_date, first)
    assert is_pick_up_day(pick_up, handed_over_on)
    # The day itself is the first of them, or the next one is.
    assert (
        sum(is_pick_up_day(pick_up, day) for day in days_between(processing_date, handed_over_on))
        == first
    )
    handovers = pick_up.handovers(processing_date, first, first + more)
    days = [
        pick_up.handover_on(processing_date, number) for number in range(first, first + more + 1)
    ]
    expected = [first_instant(day, cutoff_of(pick_up, day), pick_up.zone) for day in days]
    assert [utc(moment) for moment in handovers] == expected
    assert all(utc(one) < utc(other) for one, other in pairwise(handovers))


@st.composite
def shops_with_days(draw: st.DrawFn) -> PickupCalendar:
    """A shop and a carrier whose days a calendar file changes."""
    pick_up = draw(shops())
    changed = st.dictionaries(
        st.dates(date(2026, 1, 1), date(2026, 3, 1)), st.booleans(), max_size=20
    )
    place = pick_up.country, pick_up.region
    calendar = HolidayCalendar(
        "own", carriers={"ups": {place: draw(changed)}}, shop={(None, None): draw(changed)}
    )
    is_calendar = draw(st.booleans())
    return replace(pick_up, holidays=calendar, counts_calendar_days=is_calendar)


@given(shops_with_days(), st.integers(0, 50 * 24), st.integers(0, 200), st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_a_later_order_or_longer_handling_is_never_handed_over_earlier(
    pick_up: PickupCalendar, hour: int, later: int, handling: int
) -> None:
    ordered_at = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=hour)
    orders = ordered_at, ordered_at + timedelta(hours=later)
    one, other = (pick_up.processing_date(order) for order in orders)
    assert one <= other
    days = pick_up.handover_dates(one, 0, handling + 1)
    assert days == sorted(days)
    assert pick_up.handover_on(one, handling) <= pick_up.handover_on(other, handling)
    # The shop handles orders on the first day, and neither it nor the carrier rests on the others.
    years = one.year - 1, days[-1].year + 1
    rests = [
        pick_up.holidays.closed_dates(
            pick_up.country, pick_up.region, *years, pick_up.carrier, is_shop=is_shop
        ).tolist()
        for is_shop in (True, False)
    ]
    assert one not in rests[0]
    assert not {*rests[0], *rests[1]} & set(days)
    assert {day.isoweekday() for day in (one, *days)} <= set(pick_up.weekdays)
    pickups = [moment.date() for moment in pick_up.pickups(days[0], days[-1], 2)]
    assert set(days) <= set(pickups)
    assert len(set(pickups)) == len(pickups)
    assert pickups[-3] == days[-1]


@st.composite
def delivery_days(draw: st.DrawFn) -> DeliveryDays:
    """Delivery days of a place, often with days that its calendar file closes or opens."""
    country, region = draw(places)
    overrides = draw(
        st.dictionaries(st.dates(date(2025, 12, 20), date(2027, 1, 10)), st.booleans(), max_size=20)
    )
    return DeliveryDays(
        country,
        region,
        draw(weekdays),
        draw(
            st.sampled_from(
                [PUBLIC_HOLIDAYS, HolidayCalendar("own", {(country, region): overrides})]
            )
        ),
    )


@given(
    delivery_days(),
    st.lists(
        st.one_of(days, st.dates(date(2025, 12, 20), date(2027, 1, 10))), min_size=1, max_size=12
    ),
)
@settings(max_examples=300, deadline=None)
def test_non_delivery_days_shift_arrivals_to_the_next_delivery_day(
    delivery: DeliveryDays, queried: list[date]
) -> None:
    dates = np.array([*queried, "NaT"], dtype="datetime64[D]")
    after, before = delivery.on_or_after(dates), delivery.on_or_before(dates)
    assert np.array_equal(after[:, None] <= dates, dates[:, None] <= before)
    sorted_dates = np.sort(dates[:-1])
    for moved in (delivery.on_or_after(sorted_dates), delivery.on_or_before(sorted_dates)):
        assert (np.diff(moved) >= np.timedelta64(0, "D")).all()
        # On a delivery day nothing moves.
        assert np.array_equal(delivery.on_or_after(moved), moved)
        assert np.array_equal(delivery.on_or_before(moved), moved)
    assert np.isnat([after[-1], before[-1]]).all()


@given(shops(), places, weekdays, st.integers(0, 5), st.integers(0, 240), st.data())
@settings(max_examples=200, deadline=None)
def test_no_handover_or_delivery_on_a_holiday(
    pick_up: PickupCalendar,
    there: tuple[str, str | None],
    delivers: tuple[int, ...],
    handling: int,
    transit: int,
    data: st.DataObject,
) -> None:
    zone = zone_of(*there)[0]

    def delivered_on(ordered_at: datetime) -> date:
        processing_date = pick_up.processing_date(ordered_at)
        (handed_over_at,) = pick_up.handovers(processing_date, handling, handling)
        assert not is_holiday(pick_up, handed_over_at.date())
        arrived_at = np.array([to_instant(handed_over_at) + np.timedelta64(transit, "h")])
        delivered = (
            DeliveryDays(*there, delivers)
            .on_or_after(local_dates(arrived_at, np.array([0]), (zone,)))[0]
            .item()
        )
        assert delivered.isoweekday() in delivers
        assert delivered not in public_holidays(*there)
        assert (
            delivered >= arrived_at[0].item().replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date()
        )
        return delivered

    one, other = sorted(
        (data.draw(moments(pick_up.zone)), data.draw(moments(pick_up.zone))), key=utc
    )
    assert delivered_on(one) <= delivered_on(other)


@given(places, st.integers(2006, 2030), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_holidays_of_a_year_do_not_depend_on_the_years_requested(
    there: tuple[str, str | None], year: int, more: int
) -> None:
    alone, among = (
        PUBLIC_HOLIDAYS.dates(*there, year, year),
        PUBLIC_HOLIDAYS.dates(*there, year - more, year + more),
    )
    assert np.array_equal(alone, among[among.astype("datetime64[Y]") == np.datetime64(str(year))])
