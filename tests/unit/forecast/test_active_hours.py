"""Active hours: a clock that runs slowly while nobody delivers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import to_instant
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.forecast.hazard.active_hours import (
    HOLIDAY_PRIOR_FACTOR,
    HOURS_PER_WEEK,
    MIN_ACTIVITY,
    ActivityProfile,
    exposure_near_promise,
    is_holiday,
)
from eta.journey.categories import Categorical
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import training_snapshots
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines

#: A Monday, at midnight in Bahia, which has no daylight saving; no holiday until that of 15
#: November, a Thursday.
MONDAY = datetime(2018, 11, 5, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BAHIA = Place(country="BR", region="BA")


def timelines(
    parcels: Sequence[tuple[str | None, datetime, datetime | None]],
    destination: Place = BAHIA,
    promised_on: date | None = None,
) -> Timelines:
    """Parcels by carrier, time of order and time of arrival."""
    shipments, events = [], []
    for number, (carrier, ordered_at, arrived_at) in enumerate(parcels):
        name = f"s{number:04d}"
        shipments.append(
            Shipment(
                shipment_id=name,
                order_id=name,
                carrier=carrier,
                ordered_at=ordered_at,
                promised_on=promised_on,
                origin=BAHIA,
                destination=destination,
            )
        )
        for code, at in ((EventCode.ORDER_CREATED, ordered_at), (EventCode.DELIVERED, arrived_at)):
            if at is not None:
                events.append(
                    TrackingEvent(shipment_id=name, event_code=code, occurred_at=at, received_at=at)
                )
    return Timelines.from_records(shipments, events)


def training_examples(
    arrivals: Sequence[tuple[str | None, datetime]], promised_on: date | None = None
) -> Examples:
    """Examples of parcels by carrier and arrival, ordered two days and 12 minutes before."""
    lines = timelines(
        [(carrier, at - 2 * DAY - HOUR / 5, at) for carrier, at in arrivals],
        promised_on=promised_on,
    )
    until = to_instant(max(at for _, at in arrivals) + DAY)
    return examples(training_snapshots(lines, until), Outcomes.at(lines, until))


def open_parcel(
    *moments: datetime,
    carrier: str | None = "a",
    destination: Place = BAHIA,
    promised_on: date | None = None,
) -> Features:
    """One open parcel at several moments."""
    lines = timelines([(carrier, min(moments), None)], destination, promised_on)
    at = np.array([to_instant(moment) for moment in moments], dtype="datetime64[us]")
    return features(lines, AsOfPairs(np.zeros(len(at), dtype=np.int64), at), PlaceEffects())


def active_hours_within(
    activity: ActivityProfile, query: Features, hours: float
) -> NDArray[np.float64]:
    """Active hours within the next ``hours``."""
    return activity.elapsed(query, np.array([0.0, hours]))[:, 1]


#: Carrier "a" delivers from 9 to 17, "b" from 17 to 21, both from Monday to Friday.
WORKDAYS = [("a", day, hour) for day in range(5) for hour in range(9, 17)] * 3 + [
    ("b", day, hour) for day in range(5) for hour in range(17, 21)
] * 6
FITTED = ActivityProfile.fit(
    training_examples(
        [(carrier, MONDAY + day * DAY + (hour + 0.5) * HOUR) for carrier, day, hour in WORKDAYS]
    )
)
#: One profile for all: twice as much by day, from 8 to 20, as on average, nothing by night.
BY_DAY = ActivityProfile(
    (),
    np.tile(np.where((np.arange(24) >= 8) & (np.arange(24) < 20), 2.0, 0.0), 7)[None],
    holiday_factor=0.25,
)


def test_the_activity_of_an_average_hour_is_one() -> None:
    assert FITTED.profile.shape == (3, HOURS_PER_WEEK)
    assert FITTED.profile.mean(axis=1) == pytest.approx(1.0, abs=0.02)


def test_hour_counts_by_its_share_of_deliveries() -> None:
    query = open_parcel(MONDAY + 8 * HOUR)
    assert active_hours_within(BY_DAY, query, 1.0) == pytest.approx([2.0])
    assert active_hours_within(BY_DAY, query, 2.25) == pytest.approx([4.5])
    assert BY_DAY.elapsed(query, np.array([0.0, 0.5, 12.0, 24.0])) == pytest.approx(
        np.array([[0.0, 1.0, 24.0, 24.0 + 12 * MIN_ACTIVITY]]), abs=1e-4
    )


def test_every_hour_has_a_minimum_activity() -> None:
    assert active_hours_within(BY_DAY, open_parcel(MONDAY), 1.0) == pytest.approx(
        [MIN_ACTIVITY], abs=1e-5
    )


@pytest.mark.parametrize(
    ("busy", "quiet"),
    [
        (MONDAY + 10 * HOUR, MONDAY + 1 * HOUR),
        (MONDAY + 10 * HOUR, MONDAY + 6 * DAY + 10 * HOUR),
        (MONDAY + 3 * DAY + 10 * HOUR, MONDAY + 10 * DAY + 10 * HOUR),
    ],
    ids=["night", "Sunday", "holiday"],
)
def test_nights_sundays_and_holidays_pass_slowly(busy: datetime, quiet: datetime) -> None:
    fast, slow = active_hours_within(FITTED, open_parcel(busy, quiet), 3.0)
    assert slow < 0.5 * fast


def test_the_hours_are_those_of_the_destination() -> None:
    # At noon in UTC it is 9 in Bahia but 21 in Tokyo.
    query, elsewhere = (
        open_parcel(MONDAY + 9 * HOUR),
        open_parcel(MONDAY + 9 * HOUR, destination=Place(country="JP", region="13")),
    )
    assert active_hours_within(BY_DAY, query, 1.0) == pytest.approx([2.0])
    assert active_hours_within(BY_DAY, elsewhere, 1.0) == pytest.approx([MIN_ACTIVITY], abs=1e-5)


def test_holiday_hours_count_by_the_holiday_factor() -> None:
    normal, holiday = active_hours_within(
        BY_DAY, open_parcel(MONDAY + 3 * DAY + 8 * HOUR, MONDAY + 10 * DAY + 8 * HOUR), 12.0
    )
    assert holiday == pytest.approx(0.25 * normal)


def test_place_without_holidays_has_no_slow_holidays() -> None:
    at = MONDAY + 10 * DAY + 12 * HOUR
    assert active_hours_within(
        BY_DAY, open_parcel(at, destination=Place(country="AR", region="B")), 1.0
    ) == pytest.approx([2.0])


@pytest.mark.parametrize("carrier", ["a", "b", "c", None])
def test_active_hours_always_pass(carrier: str | None) -> None:
    hours = np.arange(0.0, 3 * HOURS_PER_WEEK, 0.7)
    elapsed = FITTED.elapsed(
        open_parcel(MONDAY + 5.3 * HOUR, MONDAY + 77.7 * HOUR, carrier=carrier), hours
    )
    assert elapsed[:, 0].tolist() == [0.0, 0.0]
    assert (np.diff(elapsed, axis=1) > 0).all()


@pytest.mark.parametrize("first", [0.25, 11.0, 30.5, 24.0 * 9])
@pytest.mark.parametrize("second", [0.5, 13.0, 24.0 * 8 + 0.1])
def test_wait_in_two_parts_is_as_long_as_the_whole(first: float, second: float) -> None:
    start = MONDAY + 100.4 * HOUR
    query = open_parcel(start, start + first * HOUR)
    before, after = (
        active_hours_within(FITTED, query, first)[0],
        active_hours_within(FITTED, query, second)[1],
    )
    assert active_hours_within(FITTED, query, first + second)[0] == pytest.approx(before + after)


def test_a_week_without_holidays_lasts_a_week() -> None:
    assert active_hours_within(
        FITTED, open_parcel(MONDAY + 5 * HOUR), HOURS_PER_WEEK
    ) == pytest.approx([HOURS_PER_WEEK], rel=0.02)


def test_moments_may_have_different_hours() -> None:
    query = open_parcel(MONDAY + 8 * HOUR, MONDAY + 8 * HOUR)
    assert BY_DAY.elapsed(query, np.array([[0.0, 1.0], [0.0, 3.0]]))[:, 1] == pytest.approx(
        [2.0, 6.0]
    )


def test_carrier_with_many_deliveries_has_its_own_profile() -> None:
    evening = MONDAY + 17 * HOUR
    late_carrier, early_carrier, unknown, none = (
        active_hours_within(FITTED, open_parcel(evening, carrier=name), 4.0)[0]
        for name in ("b", "a", "never seen", None)
    )
    # By a tenth at least: a handful of deliveries already counts.
    assert early_carrier < 0.9 * unknown
    assert late_carrier > 1.1 * unknown
    assert unknown == none


def test_carrier_with_few_deliveries_is_shrunk_to_all_carriers() -> None:
    common = [("a", MONDAY + day * DAY + 10.5 * HOUR) for day in range(5)] * 20
    profile = ActivityProfile.fit(training_examples([*common, ("rare", MONDAY + 15.5 * HOUR)]))
    at_ten, at_three = (
        active_hours_within(profile, open_parcel(MONDAY + hour * HOUR, carrier="rare"), 1.0)[0]
        for hour in (10, 15)
    )
    assert at_ten > 2 * at_three


@pytest.mark.parametrize(
    ("on_holiday", "factor"),
    [
        (0, 20 * HOLIDAY_PRIOR_FACTOR / (30 + 20)),
        (10, (10 + 20 * 0.3) / (30 + 20)),
        (60, (60 + 20 * 0.3) / (30 + 20)),
    ],
)
def test_holiday_factor_compares_with_weekday_before_and_after(
    on_holiday: int, factor: float
) -> None:
    thursday = MONDAY + 10 * DAY + 12 * HOUR
    week_before, week_after = thursday - 7 * DAY, thursday + 7 * DAY
    days = [week_before] * 20 + [thursday] * on_holiday + [week_after] * 40
    assert ActivityProfile.fit(
        training_examples([("a", at) for at in days])
    ).holiday_factor == pytest.approx(factor)


def test_holiday_deliveries_do_not_count_for_the_weekday() -> None:
    thursday = MONDAY + 10 * DAY + 12.5 * HOUR
    few = ActivityProfile.fit(training_examples([("a", MONDAY + 12.5 * HOUR)] * 10))
    with_holiday = ActivityProfile.fit(
        training_examples([("a", MONDAY + 12.5 * HOUR)] * 10 + [("a", thursday)] * 50)
    )
    assert with_holiday.profile == pytest.approx(few.profile)


def test_open_parcels_do_not_change_the_profile() -> None:
    arrived = [("a", MONDAY + 10.5 * HOUR - 2 * DAY, MONDAY + 10.5 * HOUR)]
    until = to_instant(MONDAY + 2 * DAY)

    def fit(lines: Timelines) -> ActivityProfile:
        return ActivityProfile.fit(
            examples(training_snapshots(lines, until), Outcomes.at(lines, until))
        )

    assert np.array_equal(
        fit(timelines([*arrived, ("a", MONDAY, None)])).profile, fit(timelines(arrived)).profile
    )


def test_holidays_depend_on_the_region() -> None:
    dates = np.array(
        ["2018-07-09", "2018-07-09", "2018-12-25", "2018-12-25", "2018-07-10"],
        dtype="datetime64[D]",
    )
    calendar = Categorical.from_texts(["BR-SP", "BR-RJ", "BR-RJ", None, "BR-SP"])
    assert is_holiday(dates, calendar, PUBLIC_HOLIDAYS).tolist() == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert is_holiday(dates[:0], calendar.take(np.arange(0)), PUBLIC_HOLIDAYS).tolist() == []


@pytest.mark.parametrize(
    ("carrier", "is_slow"),
    [("USPS", True), ("UPS", False), ("fedex", False), ("acme", True), (None, True)],
)
def test_hours_pass_slowly_on_holidays_of_the_carrier(carrier: str | None, is_slow: bool) -> None:
    new_york = Place(country="US", region="NY")
    # Columbus Day 2018, a Monday, and the Monday after it, both from noon on.
    columbus_day = datetime(2018, 10, 8, 16, tzinfo=UTC)
    query = open_parcel(columbus_day, columbus_day + 7 * DAY, carrier=carrier, destination=new_york)
    holiday, plain = active_hours_within(BY_DAY, query, 3.0)
    assert (holiday < 0.5 * plain) == is_slow
    names = {"USPS": "US-NY|usps", "UPS": "US-NY|ups", "fedex": "US-NY|fedex"}
    assert query.calendar.names == (names.get(carrier or "", "US-NY"),)


def test_calendar_file_adds_and_removes_holidays() -> None:
    calendar = HolidayCalendar.from_toml(
        'version = "1"\n[[places]]\ncountry = "BR"\nregion = "BA"\n'
        "closed = [2018-11-07]\nopen = [2018-11-15]\n"
    )
    wednesday, thursday = (
        open_parcel(MONDAY + 2 * DAY + 8 * HOUR),
        open_parcel(MONDAY + 10 * DAY + 8 * HOUR),
    )
    for activity, hours in ((BY_DAY, [8.0, 2.0]), (replace(BY_DAY, holidays=calendar), [2.0, 8.0])):
        assert [
            float(active_hours_within(activity, query, 4.0)[0]) for query in (wednesday, thursday)
        ] == pytest.approx(hours)


def test_holiday_factor_is_learned_on_days_of_the_calendar_file() -> None:
    # Nobody delivers on Wednesday the 14th, which is a holiday only by the file; five do on the
    # Wednesdays before and after.
    calendar = HolidayCalendar(
        "1", {("BR", None): {date(2018, 11, 14): True, date(2018, 11, 15): False}}
    )
    arrivals = training_examples(
        [("a", MONDAY + day * DAY + 12.5 * HOUR) for day in range(21) for _ in range(5) if day != 9]
    )
    assert ActivityProfile.fit(arrivals, holidays=calendar).holiday_factor == pytest.approx(
        HOLIDAY_PRIOR_FACTOR * 20 / (5 + 20)
    )
    assert ActivityProfile.fit(arrivals).holiday_factor == pytest.approx(
        (5 + HOLIDAY_PRIOR_FACTOR * 20) / (5 + 20)
    )


WEDNESDAY = date(2018, 11, 7)


def near(query: Features, hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Active hours between hours (K,), on each of the days ``NEAR_PROMISE``, of one parcel."""
    time_index = BY_DAY.time_index(query, sees_promise=True)
    steps = np.rint(hours * 3.6e9).astype(np.int64)[None, :]
    return np.asarray(exposure_near_promise(time_index, steps)[0])


def test_hours_near_promise_are_counted_by_day() -> None:
    # From 8 on Monday: 16 hours until Tuesday.
    query = open_parcel(MONDAY + 8 * HOUR, promised_on=WEDNESDAY)
    day = 24 + 12 * MIN_ACTIVITY
    hours = near(query, np.array([0.0, 40.0, 64.0, 24.0 * 12]))
    monday = float(BY_DAY.elapsed(query, np.array([16.0]))[0, 0])
    # Monday is the second day before the promised one; three days after it are counted.
    assert hours[0] == pytest.approx([0, monday, day, 0, 0, 0, 0], abs=1e-3)
    assert hours[1] == pytest.approx([0, 0, 0, day, 0, 0, 0], abs=1e-3)
    assert hours[2] == pytest.approx([0, 0, 0, 0, day, day, day], abs=1e-3)


def test_past_or_missing_promise_has_no_hours_near_it() -> None:
    hours = np.arange(0.0, 24.0 * 20, 5.3)
    for promised_on in (None, date(2018, 10, 30)):
        assert not near(open_parcel(MONDAY + 8 * HOUR, promised_on=promised_on), hours).any()
