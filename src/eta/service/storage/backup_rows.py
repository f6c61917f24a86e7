"""Rows of a backup: the types, ranges and JSON texts that the service can read.

Values have exactly the type of their column: nothing is converted. The rules are those under which
rows are written, except that texts and dates of earlier versions may be longer and further away,
and identifiers may have any characters but NUL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, NotRequired
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, Strict, StringConstraints, TypeAdapter, with_config
from pydantic import ValidationError as InvalidRow
from typing_extensions import TypedDict

from eta.calendars.local_time import microseconds
from eta.domain.access import TENANT_PATTERN
from eta.domain.errors import EtaError
from eta.domain.registration import MAX_ID_LENGTH, Registration
from eta.domain.vocabulary import (
    DelayState,
    EventCode,
    Phase,
    ReasonCode,
    Status,
    TimezoneSource,
)
from eta.service.scoring.assessment import AssessmentCode

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
_MAX_INTEGER, _MAX_BIGINT = 2**31 - 1, 2**63 - 1
_MAX_TEXT, _MAX_JSON = 100_000, 16 << 20
#: A record of ours, and a JSON text that may hold more than what the service reads of it.
_closed = with_config(strict=True, extra="forbid", allow_inf_nan=False)
_open = with_config(strict=True, extra="ignore", allow_inf_nan=False)
#: The name of a value of an enumeration.
_NAME = Strict(strict=False)


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    return text


def _check_moment(moment: datetime) -> datetime:
    if moment.utcoffset() is None or not _FIRST <= moment < _LAST:
        raise ValueError("it is no instant of 1970 to 2100 with an offset from UTC")
    return moment


_zone_names = cache(available_timezones)


def _check_zone(name: str) -> str:
    if name not in _zone_names():
        raise ValueError("it is no time zone")
    return name


def _check_attributes(text: str) -> str:
    """Opens the attributes of a shipment as the service does."""
    try:
        Registration.from_attributes(json.loads(text), "", None)
    except EtaError as error:
        raise ValueError(str(error)) from None
    return text


def _holds(kind: Any) -> AfterValidator:
    """Checks that a text is JSON of a kind."""
    adapter = TypeAdapter(kind)

    def check(text: str) -> str:
        try:
            adapter.validate_json(text)
        except InvalidRow as error:
            raise ValueError(_first_problem(error)) from None
        return text

    return AfterValidator(check)


Instant = Annotated[int, Field(ge=0, lt=microseconds(_LAST))]
Text = Annotated[str, StringConstraints(max_length=_MAX_TEXT), AfterValidator(_check_text)]
Json = Annotated[str, StringConstraints(max_length=_MAX_JSON), AfterValidator(_check_text)]
Id = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]
Key = Annotated[Text, StringConstraints(min_length=1, max_length=255)]
Tenant = Annotated[str, StringConstraints(pattern=f"^{TENANT_PATTERN}$")]
#: A tracking number with its carrier, and the same with the number of its use.
CarrierNumber = Annotated[Text, StringConstraints(pattern=r"(?s)^[^|]+\|.+$")]
NumberUseId = Annotated[Text, StringConstraints(pattern=r"(?s)^[^|]+\|.+\|\d+$")]
ShipmentId = Annotated[str, StringConstraints(pattern=r"^shp_\w{1,60}$")]
EventId = Annotated[str, StringConstraints(pattern=r"^evt_\w{1,60}$")]
EstimateId = Annotated[str, StringConstraints(pattern=r"^est_\w{1,60}$")]
EventOwner = Annotated[Text, StringConstraints(pattern=r"(?s)^(shp_\w{1,60}|[^|]+\|.+\|\d+)$")]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Flag = Annotated[int, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=_MAX_INTEGER)]
Sequence = Annotated[int, Field(ge=0, lt=_MAX_BIGINT)]
OffsetMinutes = Annotated[int, Field(gt=-24 * 60, lt=24 * 60)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
HttpStatus = Annotated[int, Field(ge=200, le=599)]
Moment = Annotated[datetime, AfterValidator(_check_moment)]
Day = date
Zone = Annotated[Text, AfterValidator(_check_zone)]
Code = Annotated[EventCode, _NAME]
Source = Annotated[TimezoneSource, _NAME]
State = Annotated[DelayState, _NAME]
Reason = Annotated[ReasonCode, _NAME]


@_closed
class _Place(TypedDict):
    country: Text
    region: NotRequired[Text]
    postcode: NotRequired[Text]
    latitude: NotRequired[float]
    longitude: NotRequired[float]


@_closed
class _Attributes(TypedDict):
    order_id: Text
    origin: _Place
    destination: _Place
    ordered_at: Moment
    carrier: NotRequired[Text]
    service_level: NotRequired[Text]
    weight_kg: NotRequired[float]
    length_cm: NotRequired[float]
    width_cm: NotRequired[float]
    height_cm: NotRequired[float]
    promised_on: NotRequired[Day]
    price: NotRequired[float]
    package_count: NotRequired[Count]
    has_several_origins: NotRequired[bool]
    tracking_number: NotRequired[Text]
    estimate_id: NotRequired[Text]


@_open
class _Assessment(TypedDict):
    code: AssessmentCode
    status: Status
    estimated_on: Day | None
    earliest_on: Day | None
    latest_on: Day | None
    promise_on: Day | None
    delay_state: DelayState | None
    is_flagged: bool
    delay_reason: ReasonCode | None
    on_time_probability: Probability | None
    delay_probability: Probability | None
    model_version: Text | None
    scan_count: Count
    version_recorded_at: Instant


@_open
class _Promise(TypedDict):
    date: Day


@_open
class _Cutoff(TypedDict):
    order_by: Moment


@_open
class _EstimateResult(TypedDict):
    carrier_code: Text | None
    service_code: Text | None
    promise: _Promise | None
    timezone: Zone
    ship_on_date: Day | None
    cutoff: _Cutoff | None
    estimated_delivery_date_min: Day | None
    estimated_delivery_date_max: Day | None


def _check_window(result: _EstimateResult) -> _EstimateResult:
    has_end = result["estimated_delivery_date_max"] is not None
    if has_end and result["estimated_delivery_date_min"] is None:
        raise ValueError("the window has an end and no start")
    if result["ship_on_date"] is not None and result["cutoff"] is None:
        raise ValueError("it has a day of hand-over and no cut-off")
    return result


@_open
class _Estimate(TypedDict):
    as_of: Moment
    results: list[Annotated[_EstimateResult, AfterValidator(_check_window)]]


@_open
class _QuarantinedContent(TypedDict):
    event_code: EventCode
    raw_code: Text | None
    place: Text | None
    #: An implausible time may lie anywhere, but it is a time.
    occurred_at: Annotated[int, Field(ge=-microseconds(_LAST), lt=microseconds(_LAST))]


Attributes = Annotated[Json, _holds(_Attributes), AfterValidator(_check_attributes)]
Assessment = Annotated[Json, _holds(_Assessment)]
EstimateResponse = Annotated[Json, _holds(_Estimate)]
QuarantinedContent = Annotated[Json, _holds(_QuarantinedContent)]
JsonObject = Annotated[Json, _holds(dict[str, Any])]


@_closed
class _Shipment(TypedDict):
    tenant: Tenant
    shipment_id: ShipmentId
    external_id: Id | None
    number_use_id: NumberUseId | None
    attributes: Attributes
    created_at: Instant
    changed_at: Instant


@_closed
class _NumberUse(TypedDict):
    tenant: Tenant
    number_use_id: NumberUseId
    carrier_number: CarrierNumber
    use_number: Count
    started_at: Instant
    shipment_id: ShipmentId | None


@_closed
class _Version(TypedDict):
    tenant: Tenant
    shipment_id: ShipmentId
    recorded_at: Instant
    number_use_id: NumberUseId | None
    attributes: Attributes


@_closed
class _Event(TypedDict):
    tenant: Tenant
    event_owner: EventOwner
    event_id: EventId
    event_code: Code
    raw_code: Text | None
    place: Text | None
    occurred_at: Instant
    offset_minutes: OffsetMinutes
    timezone_source: Source
    is_ambiguous: Flag
    is_received_at_assumed: Flag
    received_at: Instant
    correction_number: Count


@_closed
class _State(TypedDict):
    tenant: Tenant
    shipment_id: ShipmentId
    as_of: Instant
    status: Annotated[Status, _NAME]
    phase: Annotated[Phase, _NAME]
    is_open: Flag
    last_code: Code | None
    place: Text | None
    place_code: Code | None
    ordered_at: Instant | None
    approved_at: Instant | None
    handed_over_at: Instant | None
    last_scan_at: Instant | None
    arrived_at: Instant | None
    abandoned_at: Instant | None
    scan_count: Count
    exception_count: Count


@_closed
class _Forecast(TypedDict):
    tenant: Tenant
    shipment_id: ShipmentId
    as_of: Instant
    model_version: Text | None
    assessment: Assessment


@_closed
class _StoredEstimate(TypedDict):
    tenant: Tenant
    estimate_id: EstimateId
    as_of: Instant
    model_version: Text | None
    response: EstimateResponse


@_closed
class _DelayFlag(TypedDict):
    tenant: Tenant
    shipment_id: ShipmentId
    raised_at: Instant
    state: State
    reason_code: Reason | None
    probability: Probability | None
    ended_at: Instant | None


@_closed
class _Message(TypedDict):
    sequence: Sequence
    tenant: Tenant
    type: Id
    shipment_id: ShipmentId | None
    created_at: Instant
    payload: JsonObject


@_closed
class _Response(TypedDict):
    tenant: Tenant
    idempotency_key: Key
    digest: Digest
    status: HttpStatus
    body: Annotated[Json, _holds(Any)]
    created_at: Instant


@_closed
class _Quarantined(TypedDict):
    tenant: Tenant
    event_id: EventId
    event_owner: EventOwner
    reason: Id
    content: QuarantinedContent
    received_at: Instant


@_closed
class _Clock(TypedDict):
    last_commit_time: Instant
    last_sequence: Sequence
    secret: Digest
    uninterrupted_since: Instant


#: The columns of each table, in order, with what they hold.
ROWS: Mapping[str, Any] = MappingProxyType(
    {
        "shipments": _Shipment,
        "tracking_number_uses": _NumberUse,
        "shipment_versions": _Version,
        "events": _Event,
        "states": _State,
        "forecasts": _Forecast,
        "estimates": _StoredEstimate,
        "flags": _DelayFlag,
        "outbox": _Message,
        "responses": _Response,
        "quarantine": _Quarantined,
        "clock": _Clock,
    }
)
_ADAPTERS = {table: TypeAdapter(kind) for table, kind in ROWS.items()}


def check_rows(table: str, rows: Iterable[tuple[Any, ...]], first: int = 1) -> None:
    """Checks rows of a table; ``first`` is the number of the first one.

    Raises:
        ValueError: if the service could not read a row; names its number and column.
    """
    columns, validate = tuple(ROWS[table].__annotations__), _ADAPTERS[table].validate_python
    for number, row in enumerate(rows, start=first):
        try:
            validate(dict(zip(columns, row, strict=True)))
        except InvalidRow as error:
            raise ValueError(f"row {number:,} of {table}: {_first_problem(error)}") from None


def _first_problem(error: InvalidRow) -> str:
    """What is wrong with the first invalid value; the value is not repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    path = ".".join(str(part) for part in first["loc"])
    return f"{path}: {message}" if path else message
