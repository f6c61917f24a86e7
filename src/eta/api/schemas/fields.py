"""The constrained types of request fields; each error says how to fix the value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, LiteralString
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from eta.api.error_budget import ErrorBudget
from eta.calendars.places import MAX_NAME_LENGTH, resolve_country, resolve_region
from eta.calendars.postcodes import resolve_postcode
from eta.domain.errors import InvalidValue
from eta.domain.registration import (
    IDENTIFIER_PATTERN,
    MAX_ID_LENGTH,
    TRACKING_NUMBER_PATTERN,
)
from eta.domain.texts import has_control_characters, without_control_characters
from eta.domain.vocabulary import EventCode

EARLIEST_DATETIME = datetime(1970, 1, 1, tzinfo=UTC)

#: Every moment must be before this one.
DATETIME_LIMIT = datetime(2101, 1, 1, tzinfo=UTC)
_DATETIME_PATTERN = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt]"
    r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d):(?P<second>[0-5]\d)(?:\.(?P<fraction>\d{1,9}))?"
    r"(?P<offset>[Zz]|(?P<sign>[+-])(?P<hours>0\d|1[0-4]):(?P<minutes>[0-5]\d))?",
    re.ASCII,
)
_UNESCAPED_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)
_MAX_OFFSET = timedelta(hours=14)
_EXAMPLE = "2026-03-02T15:04:00+01:00"
_timezone_names = cache(available_timezones)
_EVENT_CODES = {str(code): code for code in EventCode}


class StrictModel(BaseModel):
    """A request body or a part of one: no coercion and no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class CountFirst(BeforeValidator):
    """Counts the items of a list before it validates any of them, which may take long."""

    def __init__(self, max_length: int) -> None:
        def count(value: object) -> object:
            if isinstance(value, list) and len(value) > max_length:
                raise PydanticKnownError(
                    "too_long",
                    {"field_type": "List", "max_length": max_length, "actual_length": len(value)},
                )
            return value

        super().__init__(count)


def _parse_utc_datetime(value: object) -> datetime:
    return _parse_offset_datetime(value).astimezone(UTC)


def _parse_query_datetime(value: object) -> datetime:
    # In a query string a plus sign that was not escaped arrives as a blank.
    if isinstance(value, str):
        value = _UNESCAPED_PLUS.sub("+", value)
    return _parse_utc_datetime(value)


def _parse_offset_datetime(value: object) -> datetime:
    match = _DATETIME_PATTERN.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise PydanticCustomError(
            "datetime_format", "invalid time; send RFC 3339, such as " + _EXAMPLE
        )
    if not match["offset"]:
        raise PydanticCustomError(
            "offset_missing", "the UTC offset is missing; send it, such as " + _EXAMPLE
        )
    offset = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    if match["sign"] == "-":
        offset = -offset
    fraction = match["fraction"] or "0"
    microsecond = int(fraction[:6].ljust(6, "0"))
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    clock_time = time(hour, minute, second, microsecond)
    # The time as written, as if its offset were zero.
    wall_time = datetime.combine(_parse_date(match["day"]), clock_time, tzinfo=UTC)
    moment = wall_time - offset
    if not (EARLIEST_DATETIME <= moment < DATETIME_LIMIT and abs(offset) <= _MAX_OFFSET):
        raise PydanticCustomError(
            "date_out_of_range", "time outside 1970 to 2100; correct the year or the offset"
        )
    return moment.astimezone(timezone(offset))


def _parse_local_datetime(value: object) -> datetime:
    if not isinstance(value, str):
        return _parse_utc_datetime(value)
    match = _DATETIME_PATTERN.fullmatch(value)
    if match and match["offset"]:
        raise PydanticCustomError(
            "offset_forbidden", "a local time must not have an offset; send it as occurred_at"
        )
    return _parse_utc_datetime(f"{value}Z").replace(tzinfo=None)


def _parse_clock_time(value: object) -> time:
    if not (isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value, re.ASCII)):
        raise PydanticCustomError("clock_time", "invalid time of day; send HH:MM, such as 17:00")
    return time.fromisoformat(value)


def _check_timezone(value: object) -> object:
    if not (isinstance(value, str) and value in _timezone_names()):
        raise PydanticCustomError(
            "timezone", "unknown time zone; send an IANA name, such as Europe/Vienna"
        )
    return value


def _parse_date(value: object) -> date:
    try:
        if not (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII)):
            raise ValueError
        day = date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError(
            "date_format", "invalid date; send YYYY-MM-DD, such as 2026-03-02"
        ) from None
    if not EARLIEST_DATETIME.year <= day.year < DATETIME_LIMIT.year:
        raise PydanticCustomError(
            "date_out_of_range", "date outside 1970 to 2100; correct the year"
        )
    return day


def _check_unique(value: list[int]) -> list[int]:
    if len(set(value)) < len(value):
        raise PydanticCustomError(
            "weekdays", "duplicate weekday; send each once, 1 (Monday) to 7 (Sunday)"
        )
    return sorted(value)


def _parse_event_code(value: object) -> EventCode:
    if not is_event_code(value):
        raise PydanticCustomError(
            "event_code", "unknown event code; send one that is documented, or info"
        )
    return _EVENT_CODES[str(value)]


def is_event_code(value: object) -> bool:
    """Whether a value is a code of the vocabulary."""
    return isinstance(value, str) and value in _EVENT_CODES


def _resolve_country(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "country_code", "wrong type; send a country's ISO 3166-1 code as text, such as AT"
        )
    try:
        return resolve_country(value)
    except InvalidValue as error:
        raise _place_error("country_code", error, info) from None


def _check_name(value: str) -> str:
    if not (value.isprintable() and value.strip() and len(value) <= MAX_NAME_LENGTH):
        raise InvalidValue("region", "invalid name", "send the short form or the name of a region")
    return value.strip()


def _resolve_region(value: str, info: ValidationInfo) -> str:
    # Without a country, it is resolved where the country is known.
    country = info.data.get("country")
    try:
        return resolve_region(country, value) if country else _check_name(value)
    except InvalidValue as error:
        raise _place_error("region", error, info) from None


def _resolve_postcode(value: str, info: ValidationInfo) -> str:
    country = info.data.get("country")
    try:
        return resolve_postcode(country, value) if country else value
    except InvalidValue as error:
        raise _place_error("postal_code", error, info) from None


def _place_error(
    code: LiteralString, error: InvalidValue, info: ValidationInfo
) -> PydanticCustomError:
    if isinstance(info.context, ErrorBudget) and info.context.is_spent:
        # Nobody will read it, and to find the nearest name takes a while.
        return PydanticCustomError(code, "unknown place; correct it")
    return PydanticCustomError(
        code, "{problem}; {hint}", {"problem": error.problem, "hint": error.hint}
    )


def _reject_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "wrong type; expected a number, not a boolean")
    return value


def _reject_control_characters(value: object) -> object:
    if isinstance(value, str) and has_control_characters(value):
        raise PydanticCustomError(
            "forbidden_character", "the text has a control character; remove it"
        )
    return value


def _schema(**extra: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **extra})


#: An instant, RFC 3339 with an offset; converted to UTC.
UtcDatetime = Annotated[
    datetime,
    BeforeValidator(_parse_utc_datetime),
    _schema(
        format="date-time",
        description="RFC 3339 with an offset, 1970 to 2100.",
        examples=[_EXAMPLE],
    ),
]

#: The same in a query string.
UtcQueryDatetime = Annotated[
    datetime,
    BeforeValidator(_parse_query_datetime),
    _schema(
        format="date-time",
        description="RFC 3339 with an offset, 1970 to 2100.",
        examples=[_EXAMPLE],
    ),
]

#: An instant, RFC 3339; it keeps its offset.
OffsetDatetime = Annotated[
    datetime,
    BeforeValidator(_parse_offset_datetime),
    _schema(
        format="date-time",
        description="RFC 3339 with an offset, 1970 to 2100.",
        examples=[_EXAMPLE],
    ),
]

#: A wall-clock time without an offset.
LocalDatetime = Annotated[
    datetime,
    BeforeValidator(_parse_local_datetime),
    _schema(
        description="A wall-clock time without an offset, 1970 to 2100.",
        examples=["2026-03-02T15:04:00"],
    ),
]
ClockTime = Annotated[
    time,
    BeforeValidator(_parse_clock_time),
    _schema(
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", description="A time of day.", examples=["17:00"]
    ),
]
TimezoneName = Annotated[
    str,
    BeforeValidator(_check_timezone),
    _schema(description="IANA name of a time zone.", examples=["Europe/Vienna"]),
]

#: A local calendar date.
LocalDate = Annotated[
    date,
    BeforeValidator(_parse_date),
    _schema(
        format="date", description="A local calendar date, 1970 to 2100.", examples=["2026-03-06"]
    ),
]

#: One ISO weekday, as a key.
Weekday = Literal["1", "2", "3", "4", "5", "6", "7"]

#: ISO weekdays, 1 (Monday) to 7.
Weekdays = Annotated[
    list[Annotated[int, Field(ge=1, le=7)]],
    Field(min_length=1, max_length=7),
    CountFirst(7),
    AfterValidator(_check_unique),
]
Country = Annotated[
    str,
    BeforeValidator(_resolve_country),
    _schema(
        description="An ISO 3166-1 code (`AT`, `AUT`) or a name (`Austria`, `Österreich`).",
        examples=["AT"],
    ),
]

_CODE_PATTERN = r"^[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
_POSTCODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 -]{0,15}$"
_VISIBLE_PATTERN, _ID_PATTERN = r"^[\x21-\x7e]+$", r"^[^\x00-\x1f\x7f]+$"
#: What to send for a text with a pattern, in words.
WORDS_OF_PATTERN: Mapping[str, str] = MappingProxyType(
    {
        _CODE_PATTERN: "a text without control characters and without a blank at either end",
        _POSTCODE_PATTERN: "1 to 16 letters, digits, blanks and hyphens; no blank comes first",
        TRACKING_NUMBER_PATTERN: (
            "1 to 64 letters, digits, blanks, dots, slashes, hyphens and underscores,"
            " with a letter or digit at either end"
        ),
        _VISIBLE_PATTERN: "visible ASCII characters",
        _ID_PATTERN: "a text without control characters",
        IDENTIFIER_PATTERN: (
            "a text without commas and unseen characters, and without a blank at either end"
        ),
    }
)

#: A short code without spaces at its ends.
Code = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=64,
        pattern=_CODE_PATTERN,
    ),
    AfterValidator(_reject_control_characters),
]

#: A region and a postcode of the ``country`` that stands before them.
Region = Annotated[str, AfterValidator(_resolve_region), _schema(examples=["9"])]
PostalCode = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=_POSTCODE_PATTERN),
    AfterValidator(_resolve_postcode),
]
TrackingNumber = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=TRACKING_NUMBER_PATTERN),
    # Those at an end would be stripped as blanks.
    BeforeValidator(_reject_control_characters),
]
IdempotencyKey = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=_VISIBLE_PATTERN)
]
#: A free text; its control characters become blanks.
Text = Annotated[str, StringConstraints(max_length=200), AfterValidator(without_control_characters)]
CarrierEventCode = Annotated[
    str,
    StringConstraints(max_length=200),
    AfterValidator(_reject_control_characters),
    Field(description="The carrier's own code."),
]
#: An id that may be recorded already; earlier versions were less strict.
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=_ID_PATTERN)]
#: A new id of a shop.
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=IDENTIFIER_PATTERN),
]

#: A finite number; fields add their bounds.
Number = Annotated[float, BeforeValidator(_reject_boolean), Field(strict=True, allow_inf_nan=False)]
ProbabilityLevel = Annotated[Number, Field(ge=0.5, le=0.99)]
EventCodeIn = Annotated[
    EventCode,
    BeforeValidator(_parse_event_code),
    _schema(enum=list(_EVENT_CODES), description="What happened.", examples=["accepted"]),
]
