"""Records the shipments and events of a data set, with the times at which they were received."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from eta.datasets.base import (
    NO_ROW,
    QUARANTINE_COLUMNS,
    ROW,
    ROW_NUMBER,
    VALUE,
    Dataset,
    RowCounts,
)
from eta.domain.errors import Conflict, EtaError, InvalidValue
from eta.domain.registration import (
    MAX_ID_LENGTH,
    TRACKING_NUMBER_PATTERN,
    Registration,
    check_identifier,
)
from eta.domain.shipment import Place, Shipment
from eta.domain.texts import has_control_characters
from eta.domain.vocabulary import EventCode
from eta.journey.timeline_builders import SHIPMENT_COLUMNS
from eta.service.tracking.record_events import (
    EventReport,
    RecordEvents,
    RecordingStatus,
    record_events,
)
from eta.service.tracking.register_shipments import (
    HistoricalRegistration,
    RegisteredShipment,
    RegisterShipment,
    register_shipments,
)
from eta.store.session import Session
from eta.store.store import Store

#: Rows recorded together.
BATCH_SIZE = 1_000
#: Reports a table, the rows recorded so far and all rows.
Progress = Callable[[str, int, int], None]
Row = Mapping[str, Any]
T = TypeVar("T")

#: The longest texts of columns that identify something; the HTTP API has the same limits.
_MAX_LENGTHS = {"shipment_id": MAX_ID_LENGTH, "carrier": 64, "tracking_number": 64}
#: Columns whose texts identify something; in all others control characters become blanks.
_IDENTIFIERS = frozenset(
    {"shipment_id", "order_id", "carrier", "service_level", "tracking_number", "raw_code"}
)
#: The years of promised days, as at the HTTP API.
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_ENDS = ("origin", "destination")
_PLACE_FIELDS = ("country", "region", "postcode", "latitude", "longitude")
_SHIPMENT_TIMES = ("ordered_at", "registered_at")
#: The columns of a shipment alone, without those of its ends and of its registration.
_ATTRIBUTES = frozenset(SHIPMENT_COLUMNS) - {
    *(f"{end}_{field}" for end in _ENDS for field in _PLACE_FIELDS),
    "registered_at",
    "tracking_number",
}
#: The columns without which a shipment can be recorded.
_OPTIONAL = frozenset(SHIPMENT_COLUMNS) - {
    *("shipment_id", "origin_country", "destination_country", *_SHIPMENT_TIMES)
}
_EVENT_CODES = {code.value: code for code in EventCode}
#: Columns of a row that its file does not have.
_OWN_COLUMNS = (ROW_NUMBER, "is_order_stated", "is_registration_stated")


@dataclass(frozen=True)
class RejectedRow:
    """A row that the service does not record, or an optional value that it leaves out."""

    file: str
    #: The row's number in the file, or ``NO_ROW``.
    row: int
    #: ``ROW`` or ``VALUE``.
    kind: str
    shipment_id: str
    #: A code.
    reason: str
    #: What is wrong and what to do; empty if the code says it.
    message: str
    content: str


@dataclass(frozen=True)
class ImportResult:
    """What became of the rows of a data set."""

    counts: Mapping[str, int]
    #: The rows of each file, or of each table if the source does not number its rows.
    rows: Mapping[str, RowCounts]
    rejected: Sequence[RejectedRow]

    @property
    def has_shipments(self) -> bool:
        """Whether any shipment is recorded, now or earlier."""
        return bool(self.counts.keys() & {"shipments_created", "shipments_existing"})

    def quarantine(self) -> pd.DataFrame:
        """The rejected rows, in ``QUARANTINE_COLUMNS``."""
        return pd.DataFrame(map(vars, self.rejected), columns=list(QUARANTINE_COLUMNS))


def import_dataset(
    dataset: Dataset, store: Store, tenant: str, progress: Progress = lambda *_: None
) -> ImportResult:
    """Records a data set; ids of the source become ``external_id``.

    A row that cannot be recorded is rejected alone, with the events of a rejected shipment, and
    so is an impossible optional value.
    Importing again records nothing twice. If an import is interrupted, its rows up to then are
    recorded, and importing again completes it.

    Raises:
        StoreUnavailable, StoreBusy: if the store cannot write.
    """
    shipments, events = _Table("shipments", dataset.rows), _Table("events", dataset.rows)
    shipment_ids: dict[str, str] = {}
    for rows in _batches(_with_times(dataset), "shipments", progress):
        shipment_ids |= _register(rows, shipments, store, tenant)
    # In the order of receipt.
    received = dataset.events.sort_values("received_at", kind="stable")
    for rows in _batches(received, "events", progress):
        _record(rows, events, shipment_ids, store, tenant)
    return _result(dataset, shipments, events)


def _result(dataset: Dataset, *tables: _Table) -> ImportResult:
    return ImportResult(
        counts={name: count for table in tables for name, count in table.counts().items()},
        rows={**dataset.rows, **{table.file: table.rows() for table in tables}},
        rejected=[row for table in tables for row in table.rejected],
    )


def _with_times(dataset: Dataset) -> pd.DataFrame:
    """The shipments in the order in which they became known, with the times of both.

    A shipment without an order time was ordered at its first event. One without a time of
    registration became known when it was ordered, else when its first event was received.
    """
    shipments = dataset.shipments
    ids = shipments["shipment_id"]
    first = dataset.events.groupby("shipment_id")[["occurred_at", "received_at"]].min().reindex(ids)
    first = first.set_axis(shipments.index)
    ordered_at, registered_at = (_times(shipments, name) for name in _SHIPMENT_TIMES)
    frame = shipments.assign(
        ordered_at=ordered_at.fillna(_times(first, "occurred_at")),
        registered_at=registered_at.fillna(ordered_at).fillna(_times(first, "received_at")),
        is_order_stated=ordered_at.notna(),
        is_registration_stated=registered_at.notna(),
    )
    return frame.sort_values("registered_at", kind="stable")


def _times(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column of instants in UTC; NaT in all rows if the frame has no such column."""
    column = frame[name] if name in frame else pd.Series(pd.NaT, index=frame.index)
    return pd.to_datetime(column, utc=True).astype("datetime64[us, UTC]")


def _batches(frame: pd.DataFrame, name: str, progress: Progress) -> Iterator[list[Row]]:
    """Yields rows, a batch at a time, as mappings without their missing values."""
    for start in range(0, len(frame), BATCH_SIZE):
        progress(name, start, len(frame))
        rows = frame.iloc[start : start + BATCH_SIZE].to_dict("records")
        yield [
            {str(name): value for name, value in row.items() if not pd.isna(value)} for row in rows
        ]
    progress(name, len(frame), len(frame))


class _ShipmentRejected(EtaError):
    """The event's shipment was rejected; correct the shipment."""


class _Table:
    """What became of the rows of a table."""

    def __init__(self, name: str, files: Mapping[str, RowCounts]) -> None:
        self._name = name
        self.file = next((file for file in files if Path(file).stem == name), name)
        self._read = files.get(self.file)
        self._statuses = Counter[str]()
        #: Those of rows that the source has, not of an order that stands for an order time.
        self._statuses_in_file = Counter[str]()
        self.rejected: list[RejectedRow] = []

    def count(self, row: Row, status: str) -> None:
        """Counts a row."""
        self._statuses[status] += 1
        if row.get(ROW_NUMBER) != NO_ROW:
            self._statuses_in_file[status] += 1

    def reject(self, row: Row, reason: str, message: str = "") -> None:
        """Counts a row that is not recorded."""
        self.count(row, "rejected")
        names = [name for name in row if name not in _OWN_COLUMNS]
        self._add_rejected(row, ROW, names, reason, message)

    def reject_value(self, row: Row, error: InvalidValue) -> None:
        """Notes a value that is left out of a row that is recorded."""
        names = ["shipment_id", error.field]
        self._add_rejected(row, VALUE, names, f"invalid_{error.field}", str(error))

    def _add_rejected(
        self, row: Row, kind: str, names: Sequence[str], reason: str, message: str
    ) -> None:
        rejected = RejectedRow(
            file=self.file,
            row=row.get(ROW_NUMBER, NO_ROW),
            kind=kind,
            shipment_id=str(row.get("shipment_id", "")),
            reason=reason,
            message=message,
            content=",".join(str(row.get(name, "")) for name in names),
        )
        self.rejected.append(rejected)

    def convert(self, rows: Sequence[Row], convert: Callable[[Row], T]) -> list[tuple[Row, T]]:
        """Returns the rows that can be converted, and their values; rejects the others."""
        converted: list[tuple[Row, T]] = []
        for row in rows:
            try:
                converted.append((row, convert(row)))
            except EtaError as error:
                self.reject_for(row, error)
        return converted

    def reject_for(self, row: Row, error: EtaError) -> None:
        """Counts a row that is not recorded because of an error."""
        if isinstance(error, InvalidValue):
            self.reject(row, f"invalid_{error.field}", str(error))
        elif isinstance(error, Conflict):
            self.reject(row, "recorded_with_other_values", str(error))
        else:
            self.reject(row, "event_of_rejected_shipment")

    def counts(self) -> dict[str, int]:
        """How many rows have each status, by the table and the status."""
        return {f"{self._name}_{status}": count for status, count in self._statuses.items()}

    def rows(self) -> RowCounts:
        """What became of the rows of the file, with those that its reader left out."""
        counts = self._statuses_in_file
        read = self._read or RowCounts(counts.total(), 0, 0, 0)
        return RowCounts(
            read=read.read,
            accepted=counts["created"] + counts["stored"],
            duplicate=read.duplicate + counts["existing"] + counts["duplicate"],
            rejected=read.rejected + counts["rejected"],
        )


def _register(rows: Sequence[Row], table: _Table, store: Store, tenant: str) -> dict[str, str]:
    """Registers shipments; returns the recorded shipment of each id of the source."""
    valid = table.convert(rows, partial(_valid_command, table, tenant))
    commands = [command for _, command in valid]
    results = store.submit(_register_batches, commands, weight=len(commands)).result()
    shipment_ids: dict[str, str] = {}
    for (row, _), result in zip(valid, results, strict=True):
        if isinstance(result, EtaError):
            table.reject_for(row, result)
        else:
            table.count(row, "created" if result.created else "existing")
            shipment_ids[row["shipment_id"]] = result.shipment_id
    return shipment_ids


def _register_batches(
    session: Session, batches: Sequence[Sequence[RegisterShipment]]
) -> list[list[RegisteredShipment | EtaError]]:
    return [register_shipments(session, batch) for batch in batches]


def _record(
    rows: Sequence[Row], table: _Table, shipment_ids: Mapping[str, str], store: Store, tenant: str
) -> None:
    """Records events of registered shipments."""
    valid = table.convert(rows, partial(_report, shipment_ids))
    command = RecordEvents(tenant, [report for _, report in valid])
    outcomes = store.submit(record_events, command, weight=len(valid)).result()
    for (row, _), outcome in zip(valid, outcomes, strict=True):
        if isinstance(outcome, EtaError):
            table.reject_for(row, outcome)
        elif outcome.status is RecordingStatus.QUARANTINED:
            table.reject(row, str(outcome.reason))
        else:
            table.count(row, outcome.status.value)


def _check_texts(row: Row) -> None:
    """Checks what the databases and the HTTP API accept.

    Raises:
        InvalidValue: if a text holds a NUL character, an identifier a control character, or an
            identifier is too long.
    """
    for name, value in row.items():
        if isinstance(value, str):
            if "\0" in value:
                raise InvalidValue(name, "it holds a NUL character", "remove it")
            if name in _IDENTIFIERS and has_control_characters(value):
                raise InvalidValue(name, "it holds a control character", "remove it")
            if len(value) > _MAX_LENGTHS.get(name, len(value)):
                limit = _MAX_LENGTHS[name]
                raise InvalidValue(name, "it is too long", f"use at most {limit} characters")


def _valid_command(table: _Table, tenant: str, row: Row) -> RegisterShipment:
    """Builds the registration of a row, without its impossible optional values.

    Raises:
        InvalidValue: if another value is missing or impossible.
    """
    while True:
        try:
            return _command(tenant, row)
        except InvalidValue as error:
            if error.field not in _OPTIONAL or error.field not in row:
                raise
            table.reject_value(row, error)
            row = {name: value for name, value in row.items() if name != error.field}


def _command(tenant: str, row: Row) -> RegisterShipment:
    """Builds the registration of a row.

    Raises:
        InvalidValue: if a value is missing or impossible.
    """
    _check_texts(row)
    if "ordered_at" not in row:
        problem = "the shipment has neither an order time nor a scan"
        raise InvalidValue("ordered_at", problem, "add one of them")
    shipment = _shipment(row)
    history = HistoricalRegistration(
        registered_at=_moment(row, "registered_at"),
        is_assumed=not row["is_registration_stated"],
        stated=frozenset(row) - (frozenset() if row["is_order_stated"] else {"ordered_at"}),
    )
    number = row.get("tracking_number")
    if number and not re.fullmatch(TRACKING_NUMBER_PATTERN, number):
        raise InvalidValue("tracking_number", "it is no tracking number", "correct it")
    registration = Registration(
        shipment=shipment, external_id=shipment.shipment_id, tracking_number=number
    )
    return RegisterShipment(tenant, registration, history)


def _shipment(row: Row) -> Shipment:
    fields = {name: row[name] for name in _ATTRIBUTES if name in row}
    fields["shipment_id"] = _required(row, "shipment_id")
    check_identifier("shipment_id", fields["shipment_id"])
    fields.setdefault("order_id", row["shipment_id"])
    for end in _ENDS:
        fields[end] = _place(row, end)
    fields["ordered_at"] = _moment(row, "ordered_at")
    if "promised_on" in row:
        fields["promised_on"] = _promised_day(row["promised_on"])
    if "package_count" in row:
        fields["package_count"] = int(row["package_count"])
    return Shipment(**fields)


def _promised_day(value: datetime) -> date:
    day: date = pd.Timestamp(value).date()
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        problem = f"the date is outside {_FIRST_YEAR} to {_LAST_YEAR}"
        raise InvalidValue("promised_on", problem, "correct the year")
    return day


def _place(row: Row, end: str) -> Place:
    _required(row, f"{end}_country")
    fields: dict[str, Any] = {field: row.get(f"{end}_{field}") for field in _PLACE_FIELDS}
    try:
        return Place(**fields)
    except InvalidValue as error:
        raise InvalidValue(f"{end}_{error.field}", error.problem, error.hint) from None


def _moment(row: Row, name: str) -> datetime:
    moment: datetime = _required(row, name).to_pydatetime(warn=False)
    return moment


def _required(row: Row, name: str) -> Any:
    if name not in row:
        raise InvalidValue(name, "it is missing", "add it")
    return row[name]


def _event_code(row: Row) -> EventCode:
    code = _EVENT_CODES.get(_required(row, "event_code"))
    if code is None:
        problem = f"{row['event_code']!r} is not an event code"
        raise InvalidValue("event_code", problem, "use a code of the vocabulary, or info")
    return code


def _report(shipment_ids: Mapping[str, str], row: Row) -> EventReport:
    """Builds the report of an event.

    Raises:
        _ShipmentRejected: if its shipment was.
        InvalidValue: if a value is missing or impossible.
    """
    _check_texts(row)
    shipment_id = shipment_ids.get(_required(row, "shipment_id"))
    if shipment_id is None:
        raise _ShipmentRejected
    return EventReport(
        event_code=_event_code(row),
        shipment_id=shipment_id,
        occurred_at=_moment(row, "occurred_at"),
        received_at=_moment(row, "received_at"),
        is_received_at_assumed=bool(row.get("is_received_at_assumed", False)),
        raw_code=row.get("raw_code"),
        place=row.get("place"),
        correction_number=int(row.get("correction_number", 0)),
    )
