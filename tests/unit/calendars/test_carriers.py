"""Holidays of carriers and shops, cut-offs by weekday, and handling in days of the calendar."""

from datetime import date, datetime, time

import numpy as np
import pytest

from eta.calendars.carriers import carrier_holidays, carrier_name
from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.pickup_calendar import PickupCalendar
from eta.calendars.working_days import DeliveryDays
from eta.domain.errors import InvalidSetting, InvalidValue

MON_FRI = (1, 2, 3, 4, 5)


def is_closed(
    carrier: str | None,
    place: tuple[str, str | None],
    day: str,
    calendar: HolidayCalendar = PUBLIC_HOLIDAYS,
) -> bool:
    year = int(day[:4])
    return np.datetime64(day) in calendar.closed_dates(*place, year, year, carrier)


@pytest.mark.parametrize(
    ("day", "post_closed", "ups_closed"),
    [
        ("2026-01-01", True, True),  # New Year
        ("2026-01-19", True, False),  # Martin Luther King Jr. Day
        ("2026-02-16", True, False),  # Presidents' Day
        ("2026-04-03", False, False),  # Good Friday, a holiday in Texas
        ("2026-05-25", True, True),  # Memorial Day
        ("2026-06-19", True, False),  # Juneteenth
        ("2026-07-03", False, False),  # the Friday before a Saturday
        ("2026-07-04", True, True),
        ("2027-07-05", True, True),  # the Monday after a Sunday
        ("2026-09-07", True, True),  # Labor Day
        ("2026-10-12", True, False),  # Columbus Day
        ("2026-11-11", True, False),  # Veterans Day
        ("2026-11-26", True, True),  # Thanksgiving
        ("2026-11-27", False, False),  # the day after it
        ("2026-12-24", False, False),
        ("2026-12-25", True, True),
    ],
)
@pytest.mark.parametrize("region", [None, "CA", "NY", "TX"])
def test_the_post_rests_on_federal_holidays_and_others_on_six(
    region: str | None, day: str, post_closed: bool, ups_closed: bool
) -> None:
    place = ("US", region)
    assert is_closed("usps", place, day) == post_closed
    for carrier in ("ups", "UPS", "fedex", "FedEx", "dhl_express", "ontrac"):
        assert is_closed(carrier, place, day) == ups_closed, carrier


@pytest.mark.parametrize(
    ("carrier", "place", "closed", "open_on"),
    [
        # A carrier that is not listed rests on national holidays, not on those of offices.
        ("acme", ("US", "CA"), "2026-10-12 2026-12-25", "2026-03-31 2026-11-27"),
        (None, ("US", "TX"), "2026-11-11", "2026-03-02 2026-04-21 2026-11-27 2026-12-24"),
        # Everywhere else it rests on the holidays of the region too.
        ("dhl", ("DE", "BY"), "2026-06-04 2026-01-06", "2026-12-24"),
        ("dhl", ("DE", "BE"), "2026-03-08", "2026-06-04"),
        ("ups", ("DE", "BY"), "2026-06-04", "2026-11-11"),
        ("royal_mail", ("GB", "SCT"), "2026-08-03 2026-11-30", "2026-04-06"),
        ("royal_mail", ("GB", "ENG"), "2026-08-31 2026-04-06", "2026-11-30"),
        ("correios", ("BR", "SP"), "2026-07-09 2026-11-20", "2026-02-17"),
        ("La Poste", ("FR", None), "2026-07-14 2026-05-08", "2026-12-26"),
        ("Canada Post", ("CA", "ON"), "2026-04-06 2026-09-30 2026-08-03 2026-11-11", "2026-02-16"),
        ("canada_post", ("CA", "QC"), "2026-06-24 2026-12-28 2026-12-26", "2026-08-03 2026-02-16"),
        ("canada-post", ("CA", None), "2023-07-03 2023-01-02 2023-11-13", "2023-08-07"),
        ("usps", ("PR", None), "2026-10-12 2026-11-11", "2026-01-06 2026-07-25"),
        ("usps", ("DE", None), "2026-10-03", "2026-11-11"),
    ],
)
def test_the_days_on_which_a_carrier_rests(
    carrier: str | None, place: tuple[str, str | None], closed: str, open_on: str
) -> None:
    assert [day for day in closed.split() if not is_closed(carrier, place, day)] == []
    assert [day for day in open_on.split() if is_closed(carrier, place, day)] == []


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ups", "ups"),
        ("UPS", "ups"),
        ("United Parcel Service", "ups"),
        ("FedEx Ground", "fedex"),
        ("federal-express", "fedex"),
        ("U.S. Postal Service", "usps"),
        ("DHL_Paket", "dhl"),
        ("Acme Ltd.", "acmeltd"),
        ("ÉCLAIR", "éclair"),
    ],
)
def test_a_carrier_has_one_name_in_any_spelling(code: str, name: str) -> None:
    assert carrier_name(code) == name


@pytest.mark.parametrize("year", range(2016, 2032))
def test_every_listed_holiday_is_in_the_library(year: int) -> None:
    counts = {"usps": 10, "ups": 6, "fedex": 6, "dhl": 6, "ontrac": 6, "dhlecommerce": 10}
    for carrier, count in counts.items():
        days = carrier_holidays(carrier, "US", None, year, year)
        assert days is not None
        assert len(days) >= count + (count == 10 and year >= 2022)
    assert len(carrier_holidays("canadapost", "CA", "QC", year, year) or ()) >= 11


CALENDAR = """
version = "2026-11"
[[places]]
country = "US"
closed = [2026-11-18]
[[places]]
carrier = "UPS"
closed = [2026-11-17]
open = [2026-11-26]
[[places]]
carrier = "ups"
country = "US"
region = "CA"
open = [2026-11-17, 2026-11-18]
[[places]]
shop = true
closed = [2026-11-19]
[[places]]
shop = true
country = "US"
open = [2026-11-11]
"""


@pytest.mark.parametrize(
    ("carrier", "place", "closed", "open_on"),
    [
        ("ups", ("US", "NY"), "2026-11-17 2026-11-18", "2026-11-26 2026-11-19"),
        ("ups", ("US", "CA"), "", "2026-11-17 2026-11-18 2026-11-26"),
        ("ups", ("AT", None), "2026-11-17", "2026-11-18"),
        ("usps", ("US", "CA"), "2026-11-18 2026-11-26 2026-11-11", "2026-11-17 2026-11-19"),
        (None, ("US", "CA"), "2026-11-18 2026-11-11", "2026-11-17 2026-11-19"),
    ],
)
def test_the_most_specific_entry_of_a_calendar_file_counts(
    carrier: str | None, place: tuple[str, str | None], closed: str, open_on: str
) -> None:
    calendar = HolidayCalendar.from_toml(CALENDAR)
    assert [day for day in closed.split() if not is_closed(carrier, place, day, calendar)] == []
    assert [day for day in open_on.split() if is_closed(carrier, place, day, calendar)] == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("carrier = 1", 'place 1 of the calendar: 1 is not a carrier; write carrier = "ups"'),
        ('carrier = "."', "place 1 of the calendar: '.' is not a carrier; write carrier = \"ups\""),
        ("shop = 1", "place 1 of the calendar: shop is 1; write shop = true, or leave it out"),
        (
            'shop = true\ncarrier = "ups"',
            "place 1 of the calendar names a carrier and the shop; write one entry for each",
        ),
        (
            'carrier = "ups"\nregion = "CA"',
            "place 1 of the calendar has no country; write its ISO 3166-1 code, "
            'such as country = "AT"',
        ),
        (
            'carrier = "ups"\n[[places]]\ncarrier = "U.P.S."',
            "ups is in the calendar twice; put all its days into one entry",
        ),
        (
            'shop = true\ncountry = "AT"\nclosed = [2026-12-08]\nopen = [2026-12-08]',
            "the shop in AT is both open and closed on 2026-12-08 in the calendar; "
            "leave the day in one of the two lists",
        ),
    ],
)
def test_an_invalid_carrier_or_shop_is_rejected_with_the_fix(entry: str, problem: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        HolidayCalendar.from_toml(f'version = "1"\n[[places]]\n{entry}\n')
    assert str(error.value) == problem


def new_york(
    carrier: str | None, cutoff: time = time(16), holidays: HolidayCalendar = PUBLIC_HOLIDAYS
) -> PickupCalendar:
    return PickupCalendar(
        country="US",
        region="NY",
        cutoff=cutoff,
        weekdays=MON_FRI,
        carrier=carrier,
        holidays=holidays,
    )


@pytest.mark.parametrize(
    ("ordered_at", "post", "ups"),
    [
        ("2026-10-11T12:00:00-04:00", date(2026, 10, 13), date(2026, 10, 12)),  # Columbus Day
        ("2026-11-10T17:00:00-05:00", date(2026, 11, 12), date(2026, 11, 11)),  # Veterans Day
        ("2026-02-13T17:00:00-05:00", date(2026, 2, 17), date(2026, 2, 16)),  # Presidents' Day
        ("2026-06-18T17:00:00-04:00", date(2026, 6, 22), date(2026, 6, 19)),  # Juneteenth
        ("2026-11-25T17:00:00-05:00", date(2026, 11, 27), date(2026, 11, 27)),  # Thanksgiving
        ("2026-07-02T17:00:00-04:00", date(2026, 7, 3), date(2026, 7, 3)),
    ],
)
def test_each_carrier_picks_up_and_delivers_by_its_own_days(
    ordered_at: str, post: date, ups: date
) -> None:
    moment = datetime.fromisoformat(ordered_at)
    for carrier, expected in (("USPS", post), ("UPS", ups)):
        calendar = new_york(carrier)
        processing_date = calendar.processing_date(moment)
        assert processing_date == calendar.handover_on(processing_date, 0) == expected
        delivery = DeliveryDays("US", "NY", MON_FRI, carrier=carrier)
        after = delivery.on_or_after(np.array(["2026-10-12", "2026-11-11"], dtype="datetime64[D]"))
        is_post = carrier == "USPS"
        assert after.astype(str).tolist() == [
            "2026-10-13" if is_post else "2026-10-12",
            "2026-11-12" if is_post else "2026-11-11",
        ]


def test_a_shop_handles_orders_while_the_carrier_rests_and_rests_by_itself() -> None:
    holidays = HolidayCalendar.from_toml(
        'version = "1"\n[[places]]\nshop = true\ncountry = "US"\n'
        "open = [2026-10-12]\nclosed = [2026-10-14]\n"
    )
    calendar = new_york("usps", holidays=holidays)
    sunday = datetime.fromisoformat("2026-10-11T12:00:00-04:00")
    monday = date(2026, 10, 12)
    # Columbus Day counts as a day of handling, but nobody picks up before Tuesday.
    assert calendar.processing_date(sunday) == monday
    assert calendar.handover_dates(monday, 0, 3) == [
        date(2026, 10, 13), date(2026, 10, 13), date(2026, 10, 15), date(2026, 10, 16),
    ]  # fmt: skip
    pickups = [moment.date().day for moment in calendar.pickups(monday, date(2026, 10, 16), 2)]
    assert pickups == [13, 15, 16, 19, 20]


def test_each_weekday_can_have_its_cutoff() -> None:
    calendar = PickupCalendar(
        country="AT",
        cutoff=time(16),
        weekdays=MON_FRI,
        weekday_cutoffs=((1, time(18)), (5, time(12))),
    )
    cases = {
        "2026-11-27T11:59:00+01:00": ("2026-11-27T12:00:00+01:00", date(2026, 11, 27)),  # Friday
        "2026-11-27T12:00:00+01:00": ("2026-11-30T18:00:00+01:00", date(2026, 11, 30)),
        "2026-11-30T17:59:00+01:00": ("2026-11-30T18:00:00+01:00", date(2026, 11, 30)),
        "2026-11-30T18:00:00+01:00": ("2026-12-01T16:00:00+01:00", date(2026, 12, 1)),
    }
    for ordered_at, (cutoff_at, processing_date) in cases.items():
        found = calendar.next_cutoff(datetime.fromisoformat(ordered_at))
        assert (found[1].isoformat(), found[0]) == (cutoff_at, processing_date)
    (handover,) = calendar.handovers(date(2026, 11, 26), 1, 1)
    assert handover.isoformat() == "2026-11-27T12:00:00+01:00"


@pytest.mark.parametrize(
    ("days", "in_calendar_days", "in_handling_days"),
    [
        # From Thursday, 3 December 2026; Tuesday, 8 December is a holiday.
        (0, date(2026, 12, 3), date(2026, 12, 3)),
        (1, date(2026, 12, 4), date(2026, 12, 4)),
        (2, date(2026, 12, 7), date(2026, 12, 7)),
        (4, date(2026, 12, 7), date(2026, 12, 10)),
        (5, date(2026, 12, 9), date(2026, 12, 11)),
    ],
)
def test_handling_is_counted_in_handling_days_or_calendar_days(
    days: int, in_calendar_days: date, in_handling_days: date
) -> None:
    for counts_calendar_days, expected in ((True, in_calendar_days), (False, in_handling_days)):
        calendar = PickupCalendar(
            country="AT",
            cutoff=time(16),
            weekdays=MON_FRI,
            counts_calendar_days=counts_calendar_days,
        )
        assert calendar.handover_on(date(2026, 12, 3), days) == expected


def test_a_weekday_cutoff_must_have_no_offset() -> None:
    cutoff = datetime.fromisoformat("2026-11-27T12:00:00+01:00").timetz()
    with pytest.raises(InvalidValue, match="offset"):
        PickupCalendar(
            country="AT", cutoff=time(16), weekdays=MON_FRI, weekday_cutoffs=((5, cutoff),)
        )
