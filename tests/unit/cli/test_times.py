"""Every form of a time that options take, and every text that they refuse."""

from datetime import UTC, datetime, timedelta

import pytest

from eta.cli.times import check_as_of, parse_instant, parse_period
from eta.domain.errors import InvalidValue

SAO_PAULO, VIENNA = "America/Sao_Paulo", "Europe/Vienna"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2018-05-15", "2018-05-15T03:00:00"),
        (" 2018-05-15 ", "2018-05-15T03:00:00"),
        ("2018-05-15T00:00:00-03:00", "2018-05-15T03:00:00"),
        ("2018-05-15T08:00:00-03:00", "2018-05-15T11:00:00"),
        ("2018-05-15T08:00:00Z", "2018-05-15T08:00:00"),
        ("2018-05-15t08:00:00z", "2018-05-15T08:00:00"),
        ("2018-05-15T08:00Z", "2018-05-15T08:00:00"),
        ("2018-05-15 08:00:00+0100", "2018-05-15T07:00:00"),
        ("2018-05-15 08:00 +01:00", "2018-05-15T07:00:00"),
        ("2018-05-15T08:00:00+01", "2018-05-15T07:00:00"),
        ("2018-05-15T08:00:00.5-03:00", "2018-05-15T11:00:00.500000"),
        ("2018-05-15T08:00:00,123456789Z", "2018-05-15T08:00:00.123456"),
        ("2020-02-29T23:59:59+14:00", "2020-02-29T09:59:59"),
        ("2020-02-29T23:59:59-12:00", "2020-03-01T11:59:59"),
        ("2018-05-15T08:00:00-00:00", "2018-05-15T08:00:00"),
        # Midnight does not exist on this day: the day begins at one.
        ("2017-10-15", "2017-10-15T03:00:00"),
    ],
)
def test_a_date_or_time_becomes_utc(text: str, at: str) -> None:
    moment = parse_instant(text, SAO_PAULO)
    assert (moment.replace(tzinfo=None), moment.tzinfo) == (datetime.fromisoformat(at), UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a date"),
        ("soon", "is not a date"),
        ("20180515", "is not a date"),
        ("2018-W20-2", "is not a date"),
        ("15.05.2018", "is not a date"),
        ("2018-02-29", "is not a date"),
        ("2018-02-29T00:00:00Z", "is not a date"),
        ("2018-05-15T08Z", "is not a date"),
        ("2018-05-15T08:00:00 Europe/Vienna", "is not a date"),
        ("2018-05-15T08:00:00\N{MINUS SIGN}03:00", "is not a date"),
        ("\N{FULLWIDTH DIGIT TWO}018-05-15", "is not a date"),
        ("2018-05-15T08:00:00", "has no offset from UTC"),
        ("2018-05-15 08:00", "has no offset from UTC"),
        ("2018-05-15T24:00:00Z", "is not a time; hours go from 00 to 23"),
        ("2018-05-15T08:60Z", "is not a time; hours go from 00 to 23"),
        ("2018-06-30T23:59:60Z", "is not a time; hours go from 00 to 23"),
        ("2018-05-15T08:00:00+23:59", "is more than 14 hours"),
        ("2018-05-15T08:00:00+24:00", "is not a time"),
        ("0001-01-01", "0001-01-01 lies outside 1970 to 2100"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01 lies outside 1970 to 2100"),
        ("9999-12-31", "9999-12-31 lies outside 1970 to 2100"),
        ("9999-12-31T23:59:59-12:00", "9999-12-31 lies outside 1970 to 2100"),
    ],
)
def test_other_texts_are_refused_with_a_hint(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"^--as-of: .*{message}") as refusal:
        parse_instant(text, SAO_PAULO)
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("UTC", "2018-03-25T00:00", "2018-03-26T00:00"),
        (VIENNA, "2018-03-24T23:00", "2018-03-25T22:00"),
        (SAO_PAULO, "2018-03-25T03:00", "2018-03-26T03:00"),
    ],
)
def test_a_period_lasts_from_midnight_to_midnight_of_the_zone(
    zone: str, start: str, end: str
) -> None:
    expected = tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    assert parse_period("2018-03-25", "2018-03-25", zone) == expected


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2018-02-29", "2018-03-01", "--from: '2018-02-29' is not a date"),
        ("2018-03-01", "2018-03-01T00:00:00Z", "--to: .* is not a date"),
        ("0001-01-01", "2018-03-01", "--from: 0001-01-01 lies outside 1970 to 2100"),
        ("2018-03-01", "9999-12-31", "--to: 9999-12-31 lies outside 1970 to 2100"),
        ("2018-03-02", "2018-03-01", "--to: 2018-03-01 is before 2018-03-02"),
    ],
)
def test_days_that_are_none_are_refused_by_option(first: str, last: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{message}"):
        parse_period(first, last, VIENNA)


def test_as_of_may_be_a_day_ahead_but_not_in_the_future() -> None:
    now = datetime.now(UTC)
    for hours in (-24, 0, 47):
        check_as_of((now + timedelta(hours=hours)).isoformat())
    check_as_of(None)
    for text in ((now + timedelta(hours=49)).isoformat(), "2062-01-01", "2099-12-31T00:00Z"):
        with pytest.raises(InvalidValue, match="is in the future"):
            check_as_of(text)
