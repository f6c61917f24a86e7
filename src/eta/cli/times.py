"""The moments and days that options name; each becomes UTC here and stays so."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from eta.calendars.local_time import midnight
from eta.domain.errors import InvalidValue

_DATE_EXAMPLE, _TIME_EXAMPLE = "2018-05-15", "2018-05-15T08:00:00-03:00"
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt _](?P<clock>\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?) ?"
    r"(?P<offset>[Zz]|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_MAX_OFFSET = timedelta(hours=14)
#: So long after now a moment is in the future; a date may begin earlier in another zone.
_AHEAD = timedelta(hours=48)


def parse_instant(text: str, zone: str, field: str = "--as-of") -> datetime:
    """The moment, in UTC, that a date (00:00 in ``zone``) or a time with an offset names.

    Raises:
        InvalidValue: if the text is neither, or lies outside 1970 to 2100.
    """
    text = text.strip()
    match = _TIME.fullmatch(text)
    if match is None:
        hint = f"write {_DATE_EXAMPLE} or {_TIME_EXAMPLE}"
        return midnight(_parse_day(text, field, hint), zone)
    if not match["offset"]:
        raise InvalidValue(
            field, f"{text!r} has no offset from UTC", f"write it as {_TIME_EXAMPLE}"
        )
    day = _parse_day(match["day"], field, f"write {_DATE_EXAMPLE} or {_TIME_EXAMPLE}")
    try:
        moment = datetime.fromisoformat(f"{day}T{match['clock']}{match['offset'].upper()}")
    except ValueError:
        hint = "hours go from 00 to 23, minutes and seconds from 00 to 59"
        raise InvalidValue(field, f"{text!r} is not a time", hint) from None
    if abs(moment.utcoffset() or timedelta()) > _MAX_OFFSET:
        problem = f"the offset of {text!r} is more than 14 hours"
        raise InvalidValue(field, problem, f"write it as {_TIME_EXAMPLE}")
    return moment.astimezone(UTC)


def check_as_of(text: str | None) -> None:
    """Refuses an ``--as-of`` that is no moment or in the future, before any data are read.

    Raises:
        InvalidValue: if it is.
    """
    if text is not None and parse_instant(text, "UTC") > datetime.now(UTC) + _AHEAD:
        raise InvalidValue("--as-of", f"{text!r} is in the future", "correct the year")


def parse_period(first: str, last: str, zone: str) -> tuple[datetime, datetime]:
    """The moments, in UTC, at which the first day begins and the last day ends in ``zone``.

    Raises:
        InvalidValue: if a text is not a date, or if the last day is before the first.
    """
    hint = f"write it as {_DATE_EXAMPLE}"
    first_day = _parse_day(first.strip(), "--from", hint)
    last_day = _parse_day(last.strip(), "--to", hint)
    if last_day < first_day:
        raise InvalidValue("--to", f"{last_day} is before {first_day}", "give a later day")
    return midnight(first_day, zone), midnight(last_day + timedelta(days=1), zone)


def _parse_day(text: str, field: str, hint: str) -> date:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidValue(field, f"{text!r} is not a date", hint) from None
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        problem = f"{text} lies outside {_FIRST_YEAR} to {_LAST_YEAR}"
        raise InvalidValue(field, problem, "correct the year")
    return day
