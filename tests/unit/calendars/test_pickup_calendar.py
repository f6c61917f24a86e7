"""From order to delivery by the calendars of both ends: dates counted by hand."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
import pytest

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import local_dates, to_instant
from eta.calendars.pickup_calendar import PickupCalendar
from eta.calendars.working_days import DeliveryDays
from eta.calendars.zones import zone_of
from eta.domain.errors import InvalidValue, NaiveTime


class Case(NamedTuple):
    """An order and its dates.

    ``cutoff_at`` is on the day ``processing_date``; transit days have 24 hours.
    """

    name: str
    warehouse: str
    ordered_at: str
    cutoff: str
    weekdays: str
    handling: int
    processing_date: str
    cutoff_at: str
    handover_on: str
    transit: int
    destination: str
    delivers: str
    delivered_on: str


MON_FRI, MON_SAT, DAILY = "12345", "123456", "1234567"

# fmt: off
CASES = [
    # The cut-off, to the second; Vienna, on plain days.
    Case("before the cut-off",
         "AT-9", "2026-11-24T13:59:59+01:00", "14:00", MON_FRI, 0, "Tue 2026-11-24", "14:00:00+01:00", "Tue 24 Nov", 1, "AT-9", MON_FRI, "Wed 25 Nov"),
    Case("at the cut-off",
         "AT-9", "2026-11-24T14:00:00+01:00", "14:00", MON_FRI, 0, "Wed 2026-11-25", "14:00:00+01:00", "Wed 25 Nov", 1, "AT-9", MON_FRI, "Thu 26 Nov"),
    Case("after the cut-off",
         "AT-9", "2026-11-24T14:00:01+01:00", "14:00", MON_FRI, 1, "Wed 2026-11-25", "14:00:00+01:00", "Thu 26 Nov", 1, "AT-9", MON_FRI, "Fri 27 Nov"),
    Case("Friday evening",
         "AT-9", "2026-11-27T16:00:00+01:00", "14:00", MON_FRI, 0, "Mon 2026-11-30", "14:00:00+01:00", "Mon 30 Nov", 2, "AT-9", MON_FRI, "Wed 02 Dec"),
    Case("Saturday pick-up, no Sunday delivery",
         "AT-9", "2026-11-27T16:00:00+01:00", "14:00", MON_SAT, 0, "Sat 2026-11-28", "14:00:00+01:00", "Sat 28 Nov", 1, "AT-9", MON_SAT, "Mon 30 Nov"),
    # Austria: 8 December, 26 October, Epiphany.
    Case("8 December",
         "AT-9", "2026-12-07T15:00:00+01:00", "14:00", MON_FRI, 1, "Wed 2026-12-09", "14:00:00+01:00", "Thu 10 Dec", 1, "AT-9", MON_FRI, "Fri 11 Dec"),
    Case("26 October, and winter time begins",
         "AT-9", "2026-10-23T15:00:00+02:00", "14:00", MON_FRI, 0, "Tue 2026-10-27", "14:00:00+01:00", "Tue 27 Oct", 1, "AT-9", MON_FRI, "Wed 28 Oct"),
    Case("handled over Epiphany",
         "AT-9", "2027-01-05T13:00:00+01:00", "14:00", MON_FRI, 1, "Tue 2027-01-05", "14:00:00+01:00", "Thu 07 Jan", 1, "AT-9", MON_FRI, "Fri 08 Jan"),
    Case("arrives on Epiphany",
         "AT-9", "2027-01-05T13:00:00+01:00", "14:00", MON_FRI, 0, "Tue 2027-01-05", "14:00:00+01:00", "Tue 05 Jan", 1, "AT-9", MON_FRI, "Thu 07 Jan"),
    # Austria: clocks change.
    Case("cut-off skipped",
         "AT-9", "2026-03-29T01:59:59+01:00", "02:30", DAILY, 0, "Sun 2026-03-29", "03:00:00+02:00", "Sun 29 Mar", 1, "AT-9", MON_FRI, "Mon 30 Mar"),
    Case("at the end of the gap",
         "AT-9", "2026-03-29T03:00:00+02:00", "02:30", DAILY, 0, "Mon 2026-03-30", "02:30:00+02:00", "Mon 30 Mar", 1, "AT-9", MON_FRI, "Tue 31 Mar"),
    Case("before the first of two cut-offs",
         "AT-9", "2026-10-25T02:29:59+02:00", "02:30", DAILY, 0, "Sun 2026-10-25", "02:30:00+02:00", "Sun 25 Oct", 1, "AT-9", MON_FRI, "Tue 27 Oct"),
    Case("between the two",
         "AT-9", "2026-10-25T02:10:00+01:00", "02:30", DAILY, 0, "Tue 2026-10-27", "02:30:00+01:00", "Tue 27 Oct", 1, "AT-9", MON_FRI, "Wed 28 Oct"),
    # Germany: what closes Bavaria and what closes Berlin.
    Case("Corpus Christi in Bavaria",
         "DE-BY", "2026-06-03T18:00:00+02:00", "12:00", MON_FRI, 0, "Fri 2026-06-05", "12:00:00+02:00", "Fri 05 Jun", 1, "DE-BE", MON_FRI, "Mon 08 Jun"),
    Case("not in Berlin",
         "DE-BE", "2026-06-03T18:00:00+02:00", "12:00", MON_FRI, 0, "Thu 2026-06-04", "12:00:00+02:00", "Thu 04 Jun", 1, "DE-BY", MON_FRI, "Fri 05 Jun"),
    Case("8 March in Berlin",
         "DE-BE", "2027-03-05T13:00:00+01:00", "12:00", MON_FRI, 1, "Tue 2027-03-09", "12:00:00+01:00", "Wed 10 Mar", 1, "DE-BY", MON_FRI, "Thu 11 Mar"),
    Case("from Bavaria to it",
         "DE-BY", "2027-03-05T13:00:00+01:00", "12:00", MON_FRI, 0, "Mon 2027-03-08", "12:00:00+01:00", "Mon 08 Mar", 0, "DE-BE", MON_FRI, "Tue 09 Mar"),
    Case("All Saints in Bavaria alone, winter time begins",
         "DE-BE", "2027-10-29T13:00:00+02:00", "12:00", MON_FRI, 0, "Mon 2027-11-01", "12:00:00+01:00", "Mon 01 Nov", 0, "DE-BY", MON_FRI, "Tue 02 Nov"),
    Case("Easter",
         "DE-BE", "2026-04-02T12:00:01+02:00", "12:00", MON_FRI, 0, "Tue 2026-04-07", "12:00:00+02:00", "Tue 07 Apr", 1, "DE-BE", MON_FRI, "Wed 08 Apr"),
    Case("3 October on a Saturday",
         "DE-BE", "2026-10-02T12:30:00+02:00", "12:00", MON_SAT, 1, "Mon 2026-10-05", "12:00:00+02:00", "Tue 06 Oct", 1, "DE-BE", MON_SAT, "Wed 07 Oct"),
    Case("New Year here, Epiphany there",
         "DE-BE", "2026-12-30T12:30:00+01:00", "12:00", MON_FRI, 1, "Thu 2026-12-31", "12:00:00+01:00", "Mon 04 Jan", 2, "AT-9", MON_FRI, "Thu 07 Jan"),
    Case("leap day",
         "DE-BE", "2028-02-28T12:00:00+01:00", "12:00", MON_FRI, 1, "Tue 2028-02-29", "12:00:00+01:00", "Wed 01 Mar", 1, "DE-BE", MON_FRI, "Thu 02 Mar"),
    Case("delivered on a leap day",
         "DE-BE", "2028-02-25T13:00:00+01:00", "12:00", MON_FRI, 0, "Mon 2028-02-28", "12:00:00+01:00", "Mon 28 Feb", 1, "DE-BY", MON_FRI, "Tue 29 Feb"),
    Case("cut-off at midnight",
         "DE-BE", "2026-03-02T00:00:00+01:00", "00:00", MON_FRI, 0, "Tue 2026-03-03", "00:00:00+01:00", "Tue 03 Mar", 1, "DE-BE", MON_FRI, "Wed 04 Mar"),
    # United States: Thanksgiving, 4 July and when it is observed, Christmas.
    Case("Thanksgiving",
         "US-NY", "2026-11-25T17:00:00-05:00", "16:00", MON_FRI, 0, "Fri 2026-11-27", "16:00:00-05:00", "Fri 27 Nov", 3, "US-NY", MON_FRI, "Mon 30 Nov"),
    Case("and not the day after it, which closes offices in California",
         "US-CA", "2026-11-25T17:00:00-08:00", "16:00", MON_FRI, 0, "Fri 2026-11-27", "16:00:00-08:00", "Fri 27 Nov", 3, "US-NY", MON_FRI, "Mon 30 Nov"),
    Case("4 July on a Saturday, observed on Friday",
         "US-NY", "2026-07-02T16:30:00-04:00", "16:00", MON_FRI, 0, "Mon 2026-07-06", "16:00:00-04:00", "Mon 06 Jul", 1, "US-NY", MON_FRI, "Tue 07 Jul"),
    Case("the same with Saturday pick-up",
         "US-NY", "2026-07-02T16:30:00-04:00", "16:00", MON_SAT, 1, "Mon 2026-07-06", "16:00:00-04:00", "Tue 07 Jul", 1, "US-NY", MON_SAT, "Wed 08 Jul"),
    Case("4 July on a Sunday, observed on Monday",
         "US-NY", "2027-07-02T16:00:00-04:00", "16:00", MON_FRI, 0, "Tue 2027-07-06", "16:00:00-04:00", "Tue 06 Jul", 1, "US-NY", MON_FRI, "Wed 07 Jul"),
    Case("4 July at the destination alone",
         "DE-BE", "2026-07-02T11:00:00+02:00", "12:00", MON_FRI, 0, "Thu 2026-07-02", "12:00:00+02:00", "Thu 02 Jul", 1, "US-NY", MON_SAT, "Mon 06 Jul"),
    Case("cut-off skipped in New York",
         "US-NY", "2026-03-08T01:59:59-05:00", "02:30", DAILY, 0, "Sun 2026-03-08", "03:00:00-04:00", "Sun 08 Mar", 1, "US-NY", MON_FRI, "Mon 09 Mar"),
    Case("after the first of two, and it is a day earlier in California",
         "US-NY", "2026-11-01T01:15:00-05:00", "01:30", DAILY, 0, "Mon 2026-11-02", "01:30:00-05:00", "Mon 02 Nov", 1, "US-CA", MON_FRI, "Mon 02 Nov"),
    Case("Christmas, then New Year at the door",
         "US-NY", "2026-12-24T16:00:00-05:00", "16:00", MON_FRI, 3, "Mon 2026-12-28", "16:00:00-05:00", "Thu 31 Dec", 1, "US-NY", MON_FRI, "Mon 04 Jan"),
    # Brazil: Carnival is no public holiday; states have days of their own.
    Case("Carnival",
         "BR-SP", "2026-02-16T15:00:00-03:00", "15:00", MON_FRI, 0, "Tue 2026-02-17", "15:00:00-03:00", "Tue 17 Feb", 1, "BR-SP", MON_FRI, "Wed 18 Feb"),
    Case("7 September",
         "BR-SP", "2026-09-04T15:30:00-03:00", "15:00", MON_FRI, 0, "Tue 2026-09-08", "15:00:00-03:00", "Tue 08 Sep", 1, "BR-SP", MON_FRI, "Wed 09 Sep"),
    Case("9 July in Sao Paulo",
         "BR-SP", "2026-07-08T16:00:00-03:00", "15:00", MON_FRI, 1, "Fri 2026-07-10", "15:00:00-03:00", "Mon 13 Jul", 1, "BR-RJ", MON_FRI, "Tue 14 Jul"),
    Case("from Rio to it",
         "BR-RJ", "2026-07-08T16:00:00-03:00", "15:00", MON_FRI, 0, "Thu 2026-07-09", "15:00:00-03:00", "Thu 09 Jul", 0, "BR-SP", MON_FRI, "Fri 10 Jul"),
    Case("midnight skipped",
         "BR-SP", "2017-10-14T23:59:59-03:00", "00:30", DAILY, 0, "Sun 2017-10-15", "01:00:00-02:00", "Sun 15 Oct", 1, "BR-SP", MON_FRI, "Mon 16 Oct"),
    Case("the last hour of a day comes twice",
         "BR-SP", "2018-02-17T23:10:00-03:00", "23:30", DAILY, 0, "Sun 2018-02-18", "23:30:00-03:00", "Sun 18 Feb", 1, "BR-SP", MON_FRI, "Mon 19 Feb"),
    Case("20 November, Saturday pick-up",
         "BR-SP", "2026-11-19T15:00:01-03:00", "15:00", MON_SAT, 1, "Sat 2026-11-21", "15:00:00-03:00", "Mon 23 Nov", 2, "BR-SP", MON_FRI, "Wed 25 Nov"),
    Case("still the day before in Manaus",
         "BR-SP", "2026-03-02T12:00:00-03:00", "00:30", MON_FRI, 0, "Tue 2026-03-03", "00:30:00-03:00", "Tue 03 Mar", 3, "BR-AM", MON_FRI, "Thu 05 Mar"),
    # Poland.
    Case("11 November",
         "PL", "2026-11-10T12:00:00+01:00", "10:00", MON_FRI, 0, "Thu 2026-11-12", "10:00:00+01:00", "Thu 12 Nov", 1, "PL", MON_FRI, "Fri 13 Nov"),
    Case("1 and 3 May",
         "PL", "2027-04-30T11:00:00+02:00", "10:00", MON_SAT, 0, "Tue 2027-05-04", "10:00:00+02:00", "Tue 04 May", 1, "PL", MON_FRI, "Wed 05 May"),
    Case("3 May at the destination alone",
         "DE-BE", "2027-04-30T11:00:00+02:00", "12:00", MON_FRI, 0, "Fri 2027-04-30", "12:00:00+02:00", "Fri 30 Apr", 3, "PL", MON_FRI, "Tue 04 May"),
    Case("Christmas Eve too",
         "PL", "2026-12-23T09:59:59+01:00", "10:00", MON_SAT, 1, "Wed 2026-12-23", "10:00:00+01:00", "Mon 28 Dec", 1, "PL", MON_FRI, "Tue 29 Dec"),
    Case("Wednesdays alone, one of them 11 November",
         "PL", "2026-11-04T10:00:00+01:00", "10:00", "3", 1, "Wed 2026-11-18", "10:00:00+01:00", "Wed 25 Nov", 1, "PL", MON_FRI, "Thu 26 Nov"),
    Case("cut-off where the gap begins",
         "PL", "2026-03-29T00:30:00+01:00", "02:00", DAILY, 0, "Sun 2026-03-29", "03:00:00+02:00", "Sun 29 Mar", 1, "PL", MON_FRI, "Mon 30 Mar"),
    # France.
    Case("1 May here, 8 May there",
         "FR", "2026-04-30T18:00:00+02:00", "17:00", MON_FRI, 0, "Mon 2026-05-04", "17:00:00+02:00", "Mon 04 May", 4, "FR", MON_SAT, "Sat 09 May"),
    Case("8 May here, Ascension there",
         "FR", "2026-05-07T17:00:00+02:00", "17:00", MON_FRI, 2, "Mon 2026-05-11", "17:00:00+02:00", "Wed 13 May", 1, "FR", MON_FRI, "Fri 15 May"),
    Case("14 July",
         "FR", "2026-07-13T17:30:00+02:00", "17:00", MON_FRI, 0, "Wed 2026-07-15", "17:00:00+02:00", "Wed 15 Jul", 1, "FR", MON_FRI, "Thu 16 Jul"),
    Case("15 August on a Saturday",
         "FR", "2026-08-14T17:00:00+02:00", "17:00", MON_SAT, 0, "Mon 2026-08-17", "17:00:00+02:00", "Mon 17 Aug", 1, "FR", MON_FRI, "Tue 18 Aug"),
    Case("arrives on it",
         "FR", "2026-08-13T10:00:00+02:00", "17:00", MON_FRI, 1, "Thu 2026-08-13", "17:00:00+02:00", "Fri 14 Aug", 1, "FR", MON_SAT, "Mon 17 Aug"),
    Case("11 November at both ends",
         "FR", "2026-11-10T16:59:59+01:00", "17:00", MON_FRI, 1, "Tue 2026-11-10", "17:00:00+01:00", "Thu 12 Nov", 1, "PL", MON_FRI, "Fri 13 Nov"),
    Case("11 November at the destination",
         "DE-BE", "2026-11-10T11:59:59+01:00", "12:00", MON_FRI, 0, "Tue 2026-11-10", "12:00:00+01:00", "Tue 10 Nov", 1, "PL", MON_FRI, "Thu 12 Nov"),
    Case("clocks go back in Paris",
         "FR", "2026-10-25T02:45:00+02:00", "02:30", DAILY, 0, "Mon 2026-10-26", "02:30:00+01:00", "Mon 26 Oct", 1, "FR", MON_FRI, "Tue 27 Oct"),
    Case("summer time begins over the weekend",
         "FR", "2026-03-28T18:00:00+01:00", "17:00", MON_SAT, 0, "Mon 2026-03-30", "17:00:00+02:00", "Mon 30 Mar", 1, "FR", MON_FRI, "Tue 31 Mar"),
    # Dates that differ from place to place.
    Case("already tomorrow in Paris",
         "FR", "2026-06-30T22:30:00+00:00", "17:00", MON_FRI, 0, "Wed 2026-07-01", "17:00:00+02:00", "Wed 01 Jul", 1, "FR", MON_FRI, "Thu 02 Jul"),
    Case("already tomorrow in UTC, before the cut-off in California",
         "US-CA", "2026-06-01T18:00:00-07:00", "20:00", MON_FRI, 0, "Mon 2026-06-01", "20:00:00-07:00", "Mon 01 Jun", 1, "US-CA", MON_FRI, "Tue 02 Jun"),
    Case("ordered on a New York evening",
         "AT-9", "2026-11-23T20:00:00-05:00", "14:00", MON_FRI, 0, "Tue 2026-11-24", "14:00:00+01:00", "Tue 24 Nov", 5, "US-NY", MON_FRI, "Mon 30 Nov"),
    Case("from California to Bavaria after midnight, Corpus Christi",
         "US-CA", "2026-06-01T15:00:00-07:00", "16:00", MON_FRI, 0, "Mon 2026-06-01", "16:00:00-07:00", "Mon 01 Jun", 2, "DE-BY", MON_FRI, "Fri 05 Jun"),
    Case("from California to Berlin after midnight",
         "US-CA", "2026-06-01T15:00:00-07:00", "16:00", MON_FRI, 0, "Mon 2026-06-01", "16:00:00-07:00", "Mon 01 Jun", 2, "DE-BE", MON_FRI, "Thu 04 Jun"),
]
# fmt: on


def place(text: str) -> tuple[str, str | None]:
    country, _, region = text.partition("-")
    return country, region or None


def days(text: str) -> tuple[int, ...]:
    return tuple(map(int, text))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def day_text(day: date) -> str:
    return f"{day:%a %Y-%m-%d}"


def short_day_text(day: date) -> str:
    return f"{day:%a %d %b}"


def vienna(
    weekdays: str = MON_FRI, holidays: HolidayCalendar = PUBLIC_HOLIDAYS, cutoff: time = time(14)
) -> PickupCalendar:
    return PickupCalendar(
        country="AT", region="9", cutoff=cutoff, weekdays=days(weekdays), holidays=holidays
    )


def dates(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def test_fifty_cases_cover_six_countries_with_unique_names() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 50
    assert {place(case.warehouse)[0] for case in CASES} == {"AT", "DE", "US", "BR", "PL", "FR"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_order_is_delivered_on_the_day_counted_by_hand(case: Case) -> None:
    country, region = place(case.warehouse)
    pick_up = PickupCalendar(
        country=country,
        region=region,
        cutoff=time.fromisoformat(case.cutoff),
        weekdays=days(case.weekdays),
    )
    processing_date = pick_up.processing_date(at(case.ordered_at))
    handover_on = pick_up.handover_on(processing_date, case.handling)
    (handed_over_at,) = pick_up.handovers(processing_date, case.handling, case.handling)
    zone = zone_of(*place(case.destination))[0]
    arrived_on = local_dates(
        np.array([to_instant(handed_over_at) + np.timedelta64(case.transit, "D")]),
        np.array([0]),
        (zone,),
    )
    delivered_on = (
        DeliveryDays(*place(case.destination), days(case.delivers))
        .on_or_after(arrived_on)[0]
        .item()
    )
    cutoff_at = pick_up.cutoff_at(at(case.ordered_at))
    assert (
        day_text(processing_date),
        cutoff_at.isoformat()[11:],
        short_day_text(handover_on),
        short_day_text(delivered_on),
    ) == case[6:9] + case[12:]
    assert cutoff_at.date() == processing_date
    assert handover_on <= delivered_on < handover_on + timedelta(days=14)


def test_handovers_are_at_the_cutoffs_of_consecutive_pickup_days() -> None:
    # Friday the 23rd; winter time begins on the 25th, and the 26th is a holiday.
    handovers = vienna().handovers(date(2026, 10, 23), 0, 2)
    assert [moment.isoformat() for moment in handovers] == [
        "2026-10-23T14:00:00+02:00",
        "2026-10-27T14:00:00+01:00",
        "2026-10-28T14:00:00+01:00",
    ]
    assert [moment.isoformat() for moment in vienna().handovers(date(2026, 10, 23), 2, 2)] == [
        "2026-10-28T14:00:00+01:00"
    ]


def test_days_count_from_the_next_pickup_day() -> None:
    assert day_text(vienna().handover_on(date(2026, 12, 5), 0)) == "Mon 2026-12-07"
    assert day_text(vienna().handover_on(date(2026, 12, 5), 1)) == "Wed 2026-12-09"


def test_a_country_without_a_region_has_its_default_zone() -> None:
    assert PickupCalendar(country="US", cutoff=time(16), weekdays=(1,)).zone == "America/New_York"
    assert (
        PickupCalendar(country="US", region="CA", cutoff=time(16), weekdays=(1,)).zone
        == "America/Los_Angeles"
    )


def test_the_calendar_file_closes_and_opens_the_warehouse() -> None:
    calendar = HolidayCalendar.from_toml(
        'version = "1"\n[[places]]\ncountry = "AT"\nregion = "9"\n'
        "closed = [2026-12-07]\nopen = [2026-12-08]\n"
    )
    friday = at("2026-12-04T15:00:00+01:00")
    assert day_text(vienna().processing_date(friday)) == "Mon 2026-12-07"
    assert day_text(vienna(holidays=calendar).processing_date(friday)) == "Tue 2026-12-08"


def test_delivery_days_preserve_shape_and_missing_dates() -> None:
    delivery = DeliveryDays("DE", "BY", days(MON_FRI))
    queried = dates("2026-06-04", "NaT", "2026-06-05", "2026-06-06").reshape(
        2, 2
    )  # Corpus Christi, Friday, Saturday
    assert np.array_equal(
        delivery.on_or_after(queried),
        dates("2026-06-05", "NaT", "2026-06-05", "2026-06-08").reshape(2, 2),
        equal_nan=True,
    )
    assert np.array_equal(
        delivery.on_or_before(queried),
        dates("2026-06-03", "NaT", "2026-06-05", "2026-06-05").reshape(2, 2),
        equal_nan=True,
    )
    assert np.isnat(delivery.on_or_after(dates("NaT"))).all()
    assert delivery.on_or_before(dates()).tolist() == []


def test_an_unknown_country_has_no_holidays() -> None:
    assert DeliveryDays(None, None, days(MON_FRI)).on_or_after(
        dates("2026-12-25", "2026-12-26")
    ).tolist() == [date(2026, 12, 25), date(2026, 12, 28)]


@pytest.mark.parametrize("weekdays", [(), (0,), (1, 8), (-1,)])
def test_impossible_weekdays_are_rejected(weekdays: tuple[int, ...]) -> None:
    with pytest.raises(InvalidValue, match=r"^weekdays: .*; give .* from 1 \(Monday\) to 7$"):
        PickupCalendar(country="AT", cutoff=time(14), weekdays=weekdays)
    with pytest.raises(InvalidValue, match=r"^weekdays: "):
        DeliveryDays("AT", None, weekdays)


def test_a_cutoff_with_an_offset_is_rejected() -> None:
    with pytest.raises(
        InvalidValue,
        match=r"^cutoff: the time has an offset from UTC; "
        r"write the warehouse's local time, such as 14:00$",
    ):
        vienna(cutoff=time(14, tzinfo=UTC))


def test_an_order_time_without_an_offset_is_rejected() -> None:
    naive = datetime(2026, 11, 24, 14)  # noqa: DTZ001  # naive on purpose
    for question in (vienna().processing_date, vienna().cutoff_at):
        with pytest.raises(NaiveTime, match=r"^ordered_at: "):
            question(naive)


def test_impossible_numbers_of_days_are_rejected() -> None:
    with pytest.raises(InvalidValue, match=r"^days: -1 is below 0; "):
        vienna().handover_on(date(2026, 11, 24), -1)
    with pytest.raises(InvalidValue, match=r"^days: -1 is below 0; "):
        vienna().handovers(date(2026, 11, 24), -1, 2)
    with pytest.raises(InvalidValue, match=r"^days: the minimum, 3, is above the maximum, 2; "):
        vienna().handovers(date(2026, 11, 24), 3, 2)


def closed(first: date, number: int) -> HolidayCalendar:
    return HolidayCalendar(
        "closed", {("AT", None): {first + timedelta(days=day): True for day in range(number)}}
    )


@pytest.mark.parametrize(("number", "is_found"), [(400, True), (401, False), (4000, False)])
def test_a_place_that_is_closed_for_more_than_400_days_has_no_next_day(
    number: int, is_found: bool
) -> None:
    first = date(2026, 11, 24)
    # Work goes on the day after, unless that is too far away.
    pick_up, delivery = (
        vienna(DAILY, closed(first, number)),
        DeliveryDays("AT", "9", days(DAILY), closed(first, number)),
    )
    if is_found:
        assert (
            pick_up.processing_date(at("2026-11-24T08:00:00+01:00"))
            == first + timedelta(days=number)
            == delivery.on_or_after(dates("2026-11-24"))[0].item()
        )
        assert delivery.on_or_before(dates("2026-11-24") + number - 1).tolist() == [
            date(2026, 11, 23)
        ]
        return
    message = (
        r"^weekdays: AT-9 has none of them open for more than 400 days; "
        r"give other weekdays, or open days in the calendar file$"
    )
    for question in (
        lambda: pick_up.processing_date(at("2026-11-24T08:00:00+01:00")),
        lambda: pick_up.handover_on(first, 0),
        lambda: delivery.on_or_after(dates("NaT", "2026-11-24")),
        lambda: delivery.on_or_before(dates("2026-11-24") + number - 1),
    ):
        with pytest.raises(InvalidValue, match=message):
            question()


def test_many_weekly_pickups_are_not_a_closed_warehouse() -> None:
    # 100 weeks and six: on the way are Easter and Whit Monday and 1 November 2027, Easter Monday, 1
    # May and Whit Monday 2028.
    assert day_text(vienna("1").handover_on(date(2026, 11, 23), 100)) == "Mon 2028-12-04"
