"""Wall clocks, days and holidays, in difficult cases."""

from datetime import UTC, date, datetime, timedelta, timezone
from importlib.resources import files
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import (
    day_ends,
    day_starts,
    declared_zone_to_utc,
    hours_between,
    local_date,
    local_dates,
    midnight,
    to_instant,
    wall_clock,
)
from eta.calendars.zones import COUNTRY_ZONES, REGION_ZONES, zone_of
from eta.domain.errors import InvalidSetting
from eta.domain.vocabulary import TimezoneSource

SAO_PAULO, VIENNA, KOLKATA, HAVANA = (
    "America/Sao_Paulo",
    "Europe/Vienna",
    "Asia/Kolkata",
    "America/Havana",
)
CHANGEABLE = (
    SAO_PAULO,
    VIENNA,
    KOLKATA,
    HAVANA,
    "Asia/Beirut",
    "America/Asuncion",
    "America/Santiago",
    "Africa/Cairo",
    "Europe/Dublin",
)
ALONE = np.array([0])


def instants(*texts: str) -> NDArray[np.datetime64]:
    return np.array(texts, dtype="datetime64[us]")


def dates(*texts: str) -> NDArray[np.datetime64]:
    return np.array(texts, dtype="datetime64[D]")


@pytest.mark.parametrize(
    ("zone", "at", "local"),
    [
        (SAO_PAULO, "2017-10-15T02:59", "2017-10-14T23:59"),
        (SAO_PAULO, "2017-10-15T03:00", "2017-10-15T01:00"),
        (SAO_PAULO, "2018-02-18T01:30", "2018-02-17T23:30"),
        (SAO_PAULO, "2018-02-18T02:30", "2018-02-17T23:30"),
        (VIENNA, "2018-03-25T00:59", "2018-03-25T01:59"),
        (VIENNA, "2018-03-25T01:00", "2018-03-25T03:00"),
        (VIENNA, "2018-10-28T00:30", "2018-10-28T02:30"),
        (VIENNA, "2018-10-28T01:30", "2018-10-28T02:30"),
        (KOLKATA, "2018-05-15T18:29", "2018-05-15T23:59"),
        (KOLKATA, "2018-05-15T18:30", "2018-05-16T00:00"),
    ],
)
def test_wall_clocks_skip_and_repeat_an_hour_with_daylight_saving(
    zone: str, at: str, local: str
) -> None:
    assert wall_clock(instants(at), ALONE, (zone,)) == instants(local)
    assert local_dates(instants(at), ALONE, (zone,)) == dates(local[:10])


def test_each_row_uses_its_zone_and_missing_times_stay_missing() -> None:
    at = instants("2018-05-15T20:00", "2018-05-15T20:00", "NaT", "2018-05-15T20:00")
    local = wall_clock(at, np.array([2, 0, 1, 1]), (SAO_PAULO, VIENNA, KOLKATA))
    assert np.array_equal(
        local,
        instants("2018-05-16T01:30", "2018-05-15T17:00", "NaT", "2018-05-15T22:00"),
        equal_nan=True,
    )


@pytest.mark.parametrize(
    "zone",
    [
        *CHANGEABLE,
        "Africa/Casablanca",
        "Australia/Lord_Howe",
        "Asia/Gaza",
        "Europe/London",
        "Pacific/Apia",
        "UTC",
    ],
)
def test_wall_clocks_match_the_time_zone_database(zone: str) -> None:
    seconds = np.random.default_rng(1).integers(0, 4_100_000_000, 5_000)
    at = (seconds * 1_000_000).view("datetime64[us]")
    expected = [
        datetime.fromtimestamp(int(second), ZoneInfo(zone)).replace(tzinfo=None)
        for second in seconds
    ]
    assert wall_clock(at, np.zeros(len(at), dtype=np.int64), (zone,)).tolist() == expected


def test_tables_of_times_use_one_zone_a_row() -> None:
    at = instants("2018-05-15T20:00", "2018-05-15T03:00", "NaT", "2018-05-15T01:00").reshape(2, 2)
    zones, names = np.array([1, 0]), (SAO_PAULO, VIENNA)
    local = np.array([wall_clock(at[:, column], zones, names) for column in (0, 1)]).T
    assert np.array_equal(wall_clock(at, zones, names), local, equal_nan=True)
    days = local_dates(at, zones, names)
    assert np.array_equal(
        day_starts(days, zones, names)[:, 1], day_starts(days[:, 1], zones, names)
    )


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        (
            SAO_PAULO,
            "2017-10-15",
            "2017-10-15T03:00",
            23,
        ),  # midnight does not exist: the day begins at one
        (SAO_PAULO, "2018-02-17", "2018-02-17T02:00", 25),  # its last hour comes twice
        (VIENNA, "2018-03-25", "2018-03-24T23:00", 23),
        (VIENNA, "2018-10-28", "2018-10-27T22:00", 25),
        (HAVANA, "2018-11-04", "2018-11-04T04:00", 25),  # midnight comes twice: the first counts
        (KOLKATA, "2018-05-15", "2018-05-14T18:30", 24),
        ("UTC", "2018-12-31", "2018-12-31T00:00", 24),
    ],
)
def test_a_day_lasts_from_its_first_instant_to_that_of_the_next(
    zone: str, day: str, start: str, hours: int
) -> None:
    begins, ends = day_starts(dates(day), ALONE, (zone,)), day_ends(dates(day), ALONE, (zone,))
    assert begins == instants(start)
    assert hours_between(begins, ends).tolist() == [hours]
    assert to_instant(midnight(date.fromisoformat(day), zone)) == instants(start)[0]


@pytest.mark.parametrize("zone", CHANGEABLE)
def test_the_start_of_a_day_is_on_the_day_and_the_instant_before_is_not(zone: str) -> None:
    days = np.arange("2016-01-01", "2026-01-01", dtype="datetime64[D]")
    codes = np.zeros(len(days), dtype=np.int64)
    start = day_starts(days, codes, (zone,))
    assert np.array_equal(local_dates(start, codes, (zone,)), days)
    assert (local_dates(start - np.timedelta64(1, "us"), codes, (zone,)) < days).all()
    assert np.array_equal(day_ends(days[:-1], codes[:-1], (zone,)), start[1:])


def test_a_missing_date_has_no_start() -> None:
    assert np.isnat(day_starts(dates("NaT"), ALONE, (VIENNA,))).all()
    assert np.isnan(hours_between(instants("NaT"), instants("2018-01-01"))).all()


@pytest.mark.parametrize(
    ("zone", "wall", "at", "is_marked"),
    [
        (VIENNA, "2018-07-01T12:00", "2018-07-01T10:00", False),
        (VIENNA, "2018-10-28T02:30", "2018-10-28T00:30", True),
        (VIENNA, "2018-10-28T03:00", "2018-10-28T02:00", False),
        (VIENNA, "2018-03-25T02:30", "2018-03-25T01:00", True),
        (VIENNA, "2018-03-25T03:00", "2018-03-25T01:00", False),
        (SAO_PAULO, "2018-02-17T23:30", "2018-02-18T01:30", True),
        (SAO_PAULO, "2017-10-15T00:00", "2017-10-15T03:00", True),
        (SAO_PAULO, "2017-10-15T00:59", "2017-10-15T03:00", True),
        (SAO_PAULO, "2017-10-15T01:00", "2017-10-15T03:00", False),
        (
            "Europe/Dublin",
            "2018-10-28T01:30",
            "2018-10-28T00:30",
            True,
        ),  # its winter, not its summer, is the legal exception
        (KOLKATA, "2018-10-28T02:30", "2018-10-27T21:00", False),
    ],
)
def test_ambiguous_and_skipped_times_are_marked_and_resolved(
    zone: str, wall: str, at: str, is_marked: bool
) -> None:
    # In company: a plain time and a missing one must not be touched by the odd one.
    walls = pd.Series(instants(wall, "2018-01-10T12:00", "NaT"))
    result, marked = declared_zone_to_utc(walls, zone)
    noon = pd.Timestamp(datetime(2018, 1, 10, 12, tzinfo=ZoneInfo(zone)))
    assert result.tolist()[:2] == [pd.Timestamp(at, tz="UTC"), noon]
    assert pd.isna(result[2])
    assert marked.tolist() == [is_marked, False, False]


def test_midnight_of_a_date_is_in_utc() -> None:
    first = midnight(date(2018, 5, 15), SAO_PAULO)
    assert (first, first.tzinfo) == (datetime(2018, 5, 15, 3, tzinfo=UTC), UTC)


def test_the_date_of_a_moment_is_that_of_the_zone() -> None:
    moment = datetime(2018, 5, 14, 23, 30, tzinfo=timezone(timedelta(hours=-3)))
    assert local_date(moment, SAO_PAULO) == date(2018, 5, 14)
    assert local_date(moment, VIENNA) == date(2018, 5, 15)


def test_an_aware_time_becomes_the_instant_in_utc() -> None:
    moment = datetime(2018, 5, 15, 8, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-3)))
    assert to_instant(moment) == np.datetime64("2018-05-15T11:00:00.123456")


@pytest.mark.parametrize(
    ("country", "region", "zone", "source"),
    [
        ("BR", "SP", SAO_PAULO, TimezoneSource.REGION),
        ("BR", "AM", "America/Manaus", TimezoneSource.REGION),
        ("BR", "AC", "America/Rio_Branco", TimezoneSource.REGION),
        ("BR", "PE", "America/Recife", TimezoneSource.REGION),
        ("US", "AZ", "America/Phoenix", TimezoneSource.REGION),
        ("CA", "SK", "America/Regina", TimezoneSource.REGION),
        ("AU", "WA", "Australia/Perth", TimezoneSource.REGION),
        ("BR", None, SAO_PAULO, TimezoneSource.COUNTRY_DEFAULT),
        ("BR", "XX", SAO_PAULO, TimezoneSource.COUNTRY_DEFAULT),
        ("US", None, "America/New_York", TimezoneSource.COUNTRY_DEFAULT),
        ("RU", "MOW", "Europe/Moscow", TimezoneSource.REGION),
        ("AT", "9", VIENNA, TimezoneSource.COUNTRY_DEFAULT),
        ("IN", None, KOLKATA, TimezoneSource.COUNTRY_DEFAULT),
        ("XX", None, "UTC", TimezoneSource.ASSUMED_UTC),
        (None, None, "UTC", TimezoneSource.ASSUMED_UTC),
        (None, "SP", "UTC", TimezoneSource.ASSUMED_UTC),
    ],
)
def test_a_zone_comes_with_its_source(
    country: str | None, region: str | None, zone: str, source: TimezoneSource
) -> None:
    assert zone_of(country, region) == (zone, source)


def test_every_zone_named_exists() -> None:
    for name in {*REGION_ZONES.values(), *COUNTRY_ZONES.values()}:
        assert ZoneInfo(name).key == name


def test_every_state_of_brazil_has_a_zone() -> None:
    states = " ".join(sorted(region for country, region in REGION_ZONES if country == "BR"))
    assert (
        states == "AC AL AM AP BA CE DF ES GO MA MG MS MT PA PB PE PI PR RJ RN RO RR RS SC SE SP TO"
    )


def test_every_country_of_the_time_zone_database_has_a_zone() -> None:
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    countries = {line[:2] for line in table.splitlines() if not line.startswith("#")}
    assert len(countries) > 200
    assert not [
        country
        for country in countries
        if zone_of(country, None)[1] is not TimezoneSource.COUNTRY_DEFAULT
    ]


@pytest.mark.parametrize(
    ("country", "region", "day", "is_off"),
    [
        ("BR", "SP", "2018-12-25", True),
        ("BR", None, "2018-12-25", True),
        ("BR", "SP", "2018-07-09", True),  # of Sao Paulo alone
        ("BR", "RJ", "2018-07-09", False),
        ("BR", None, "2018-07-09", False),
        ("BR", "no such state", "2018-12-25", True),
        ("BR", "SP", "2018-12-24", False),
        ("AT", None, "2018-10-26", True),
        ("DE", None, "2018-10-26", False),
        ("BR", "SP", "2019-12-25", True),
        ("BR", "SP", "2020-12-25", False),  # outside the requested years
    ],
)
def test_holidays_are_those_of_the_place_and_the_years(
    country: str, region: str | None, day: str, is_off: bool
) -> None:
    assert (dates(day)[0] in PUBLIC_HOLIDAYS.dates(country, region, 2018, 2019)) == is_off


@pytest.mark.parametrize("country", ["XX", None])
def test_an_unknown_country_has_no_holidays(country: str | None) -> None:
    days = PUBLIC_HOLIDAYS.dates(country, None, 2018, 2019)
    assert len(days) == 0
    assert days.dtype == np.dtype("datetime64[D]")


def test_holidays_are_sorted() -> None:
    days = PUBLIC_HOLIDAYS.dates("BR", "SP", 2016, 2020)
    assert (np.diff(days) > np.timedelta64(0, "D")).all()


CALENDAR = """
version = "2026-11"
[[places]]
country = "AT"
closed = [2026-11-15, 2026-12-24]
open = [2026-12-08]
[[places]]
country = "AT"
region = "9"
closed = [2026-11-16, 2026-12-08]
open = [2026-12-24]
[[places]]
country = "DE"
region = "BY"
open = [2026-06-04]
"""


@pytest.mark.parametrize(
    ("country", "region", "off", "on"),
    [
        ("AT", None, "2026-10-26 2026-11-15 2026-12-24", "2026-12-08 2026-11-16"),
        ("AT", "5", "2026-10-26 2026-11-15 2026-12-24", "2026-12-08 2026-11-16"),
        ("AT", "no such state", "2026-10-26 2026-11-15 2026-12-24", "2026-12-08 2026-11-16"),
        ("AT", "9", "2026-10-26 2026-11-15 2026-11-16 2026-12-08", "2026-12-24"),
        ("DE", "BY", "2026-10-03 2026-11-01", "2026-06-04 2026-11-15"),
        ("DE", "BW", "2026-06-04", "2026-11-15"),
        (None, "9", "", "2026-11-15 2026-11-16 2026-10-26"),
    ],
)
def test_a_calendar_file_changes_country_and_region_days(
    country: str | None, region: str | None, off: str, on: str
) -> None:
    days_off = {
        str(day) for day in HolidayCalendar.from_toml(CALENDAR).dates(country, region, 2026, 2026)
    }
    assert set(off.split()) <= days_off
    assert not set(on.split()) & days_off


def test_calendar_days_are_sorted_read_only_and_in_the_years() -> None:
    calendar = HolidayCalendar.from_toml(CALENDAR)
    days = calendar.dates("AT", "9", 2025, 2027)
    assert (np.diff(days) > np.timedelta64(0, "D")).all()
    assert np.datetime64("2026-11-15") in days
    assert np.array_equal(
        calendar.dates("AT", "9", 2027, 2027), PUBLIC_HOLIDAYS.dates("AT", "9", 2027, 2027)
    )
    with pytest.raises(ValueError, match="read-only"):
        days[0] = np.datetime64("2026-01-02")


def test_calendars_with_equal_versions_are_cached_separately() -> None:
    one, other = (
        HolidayCalendar.from_toml(
            f'version = "1"\n[[places]]\ncountry = "AT"\nclosed = [2026-11-{day}]\n'
        )
        for day in (16, 17)
    )
    assert one != other
    assert one == HolidayCalendar.from_toml(
        'version = "1"\n[[places]]\ncountry = "AT"\nclosed = [2026-11-16]\n'
    )
    assert [
        np.datetime64("2026-11-16") in calendar.dates("AT", None, 2026, 2026)
        for calendar in (one, other)
    ] == [True, False]


def test_a_calendar_file_without_places_equals_the_library() -> None:
    calendar = HolidayCalendar.from_toml('version = "empty"')
    assert (calendar.version, PUBLIC_HOLIDAYS.version) == ("empty", None)
    assert np.array_equal(
        calendar.dates("AT", "9", 2026, 2027), PUBLIC_HOLIDAYS.dates("AT", "9", 2026, 2027)
    )


PLACE = 'version = "1"\n[[places]]\n'
VIENNA_PLACE = f'{PLACE}country = "AT"\nregion = "9"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'version = "1"\nclosed = []',
            "the calendar has the unknown key 'closed'; the keys are version, places",
        ),
        *(
            (
                version,
                "the calendar has no version; write one of 1 to 64 characters, "
                'such as version = "2026-11"',
            )
            for version in (
                "",
                'version = ""',
                'version = " "',
                "version = 2026",
                'version = "a\\nb"',
                f'version = "{"a" * 65}"',
            )
        ),
        (
            'version = "1"\nplaces = 1',
            "the calendar's places are not a list of tables; start each with [[places]]",
        ),
        (
            'version = "1"\nplaces = [1]',
            "the calendar's places are not a list of tables; start each with [[places]]",
        ),
        (
            'version = "1"\n[places]\ncountry = "AT"',
            "the calendar's places are not a list of tables; start each with [[places]]",
        ),
        *(
            (
                PLACE + country,
                "place 1 of the calendar has no country; "
                'write its ISO 3166-1 code, such as country = "AT"',
            )
            for country in ("", "country = 1")
        ),
        (
            PLACE + 'country = "ZZ"',
            "place 1 of the calendar: 'ZZ' is not a country; "
            "send its ISO 3166-1 code, such as AT, or its name",
        ),
        (
            f'{VIENNA_PLACE}[[places]]\ncountry = "Grmany"',
            "place 2 of the calendar: 'Grmany' is not a country; did you mean Germany (DE)?",
        ),
        (
            f'{PLACE}country = "AT"\nregion = 9',
            "place 1 of the calendar, AT: 9 is not a region; write the country's own "
            'short form, such as region = "9", or leave it out',
        ),
        (
            f'{PLACE}country = "AT"\nregion = ""',
            "place 1 of the calendar: '' is not a region of Austria; "
            "send its ISO 3166-2 code or its name, or leave it out",
        ),
        (
            f'{PLACE}country = "AT"\nregion = "Krnten"',
            "place 1 of the calendar: 'Krnten' is not a region of Austria; "
            "did you mean Carinthia (2)?",
        ),
        (
            f"{VIENNA_PLACE}closd = []",
            "AT-9 in the calendar has the unknown key 'closd'; "
            "the keys are country, region, carrier, shop, closed, open",
        ),
        (
            f"{VIENNA_PLACE}closed = 2026-11-15",
            "closed of AT-9 in the calendar is not a list; write closed = [2026-12-08]",
        ),
        (
            f"{VIENNA_PLACE}open = {{}}",
            "open of AT-9 in the calendar is not a list; write open = [2026-12-08]",
        ),
        (
            f'{VIENNA_PLACE}open = ["2026-12-08"]',
            "open of AT-9 in the calendar holds '2026-12-08', which is not a date; "
            "write it without quotes, as 2026-12-08",
        ),
        (
            f"{VIENNA_PLACE}closed = [2026-11-15T00:00:00]",
            "closed of AT-9 in the calendar holds datetime.datetime(2026, 11, 15, 0, 0), "
            "which is not a date; write it without quotes, as 2026-12-08",
        ),
        (
            f"{VIENNA_PLACE}closed = [2026-12-08]\nopen = [2026-12-08]",
            "AT-9 is both open and closed on 2026-12-08 in the calendar; "
            "leave the day in one of the two lists",
        ),
        (
            f'{VIENNA_PLACE}[[places]]\nregion = "9"\ncountry = "AT"',
            "AT-9 is in the calendar twice; put all its days into one entry",
        ),
        (
            f'{PLACE}country = "AT"\n[[places]]\ncountry = "AT"',
            "AT is in the calendar twice; put all its days into one entry",
        ),
    ],
)
def test_invalid_calendar_files_are_rejected_with_place_and_fix(text: str, problem: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        HolidayCalendar.from_toml(text)
    assert str(error.value) == problem


@pytest.mark.parametrize(
    "text", ["version", f"{VIENNA_PLACE}closed = [2026-02-30]", f'{VIENNA_PLACE}region = "8"']
)
def test_invalid_toml_is_rejected_with_the_line(text: str) -> None:
    with pytest.raises(
        InvalidSetting, match=r"\Athe calendar is not valid TOML: .* \(at [^\n]*\)\Z"
    ):
        HolidayCalendar.from_toml(text)
