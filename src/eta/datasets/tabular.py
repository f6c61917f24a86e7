"""Reader of eta's own columns: a folder with ``shipments`` and ``events``, as Parquet or CSV files.

The columns are those of ``journey.timeline_builders``: ``SHIPMENT_COLUMNS``, ``EVENT_COLUMNS``.
The first four of each are required, and both countries. Times have an offset from UTC, dates are
ISO dates. Dates without a time elsewhere are in UTC. An invalid row is rejected with a reason; an
invalid optional value is rejected alone. A row with a time without an offset is rejected, and so is
a file with no other times in that column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from eta.calendars.places import resolve_country, resolve_region
from eta.calendars.postcodes import resolve_postcode_or_area
from eta.datasets.base import (
    NO_ROW,
    ROW_NUMBER,
    Dataset,
    Quarantine,
    is_implausible,
    reasons_of_values,
    resolved,
    resolved_within,
)
from eta.datasets.csv_files import TEXT_TYPE, CsvFile, check_column
from eta.datasets.parquet_files import ParquetFile
from eta.domain.errors import NaiveColumn, SourceRejected
from eta.domain.registration import TRACKING_NUMBER_PATTERN
from eta.domain.shipment import MAX_CORRECTIONS, MAX_WEIGHT_KG
from eta.domain.texts import CONTROL_CHARACTERS
from eta.domain.vocabulary import EventCode
from eta.journey.timeline_builders import (
    CORRECTION,
    EVENT_COLUMNS,
    SHIPMENT_COLUMNS,
    repeated_events,
)

ZONE = "UTC"
SHIPMENTS, EVENTS = "shipments", "events"
_SUFFIXES = (".parquet", ".csv", ".tsv")

#: Most names of files that an error lists.
_MAX_NAMES = 10
_TEXTS = (
    "shipment_id",
    "order_id",
    "carrier",
    "service_level",
    "origin_region",
    "origin_postcode",
    "destination_region",
    "destination_postcode",
    "tracking_number",
    "raw_code",
    "place",
)
#: Texts in which control characters become blanks, and those with which a row is rejected.
_FREE_TEXTS = ("place",)
_IDENTIFIERS = (
    "shipment_id",
    "order_id",
    "carrier",
    "service_level",
    "raw_code",
    "event_code",
)
#: The blanks around a text.
_BLANKS = " \t\r\n"
_TIMES = ("ordered_at", "registered_at", "promised_on", "occurred_at", "received_at")
_COUNTRIES = ("origin_country", "destination_country")
_SHIPMENT_TIMES = ("ordered_at", "registered_at")

#: The parts of an end whose form depends on its country, and why they are rejected.
_PLACE_PARTS = (
    ("region", "unknown", resolve_region),
    ("postcode", "impossible", resolve_postcode_or_area),
)

#: Lowest and highest value of a number; sizes must be above 0.
_RANGES = {
    "origin_latitude": (-90.0, 90.0),
    "destination_latitude": (-90.0, 90.0),
    "origin_longitude": (-180.0, 180.0),
    "destination_longitude": (-180.0, 180.0),
    "weight_kg": (0.0, MAX_WEIGHT_KG),
    "length_cm": (0.0, np.inf),
    "width_cm": (0.0, np.inf),
    "height_cm": (0.0, np.inf),
    "price": (0.0, np.inf),
    "package_count": (1.0, np.inf),
    CORRECTION: (0.0, MAX_CORRECTIONS),
}
_MAY_BE_ZERO = {"price", CORRECTION}

#: The end of a time with an offset from UTC.
_OFFSET = r"[T ]\d{2}.*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"

#: An event happened at most so long before and after its receipt.
_OLDEST_REPORT, _LATEST_REPORT = pd.Timedelta(days=400), pd.Timedelta(hours=48)
_CODES = tuple(map(str, EventCode))
#: A number whose comma cannot separate thousands.
_DECIMAL_COMMA = re.compile(r"^\s*([+-]?0|[+-]?\d+(?=,(?:\d{1,2}|\d{4,})\s*$)),(\d+)\s*$", re.ASCII)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_tabular(folder: Path, *, now: datetime) -> Dataset:
    """Reads a folder with ``shipments`` and ``events``.

    Raises:
        SourceRejected: if a file is absent, unreadable or lacks a required column.
        NaiveColumn: if none of the times of a column has an offset.
    """
    quarantine, warnings = Quarantine(), dict[str, int]()
    path = _find(folder, SHIPMENTS)
    rows = _read(path, SHIPMENT_COLUMNS, SHIPMENT_COLUMNS[:4], quarantine, warnings)
    shipments = _shipments(rows, path.name, now, quarantine, warnings)
    path = _find(folder, EVENTS)
    rows = _read(path, EVENT_COLUMNS, EVENT_COLUMNS[:3], quarantine, warnings)
    rows = _valid_events(rows, path.name, shipments["shipment_id"], now, quarantine)
    events, unmapped_codes = _events(shipments, rows, path.name, quarantine)
    warnings |= _event_warnings(events, unmapped_codes) | quarantine.warnings
    events = _with_orders(shipments, events, warnings)
    frame, counts = quarantine.frame(), quarantine.rows()
    return Dataset("tabular", ZONE, shipments, events, frame, warnings, counts, unmapped_codes)


def _find(folder: Path, name: str) -> Path:
    """The one file of that name in the folder."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise SourceRejected(f"{folder} {problem}; name the folder that holds {name}.csv")
    paths = [path for suffix in _SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if len(paths) == 1:
        return paths[0]
    names = " or ".join(f"{name}{suffix}" for suffix in _SUFFIXES)
    if paths:
        both = " and ".join(path.name for path in paths)
        raise SourceRejected(f"{folder} holds both {both}; remove one of them")
    others = ", ".join(sorted(path.name for path in folder.iterdir())[:_MAX_NAMES])
    raise SourceRejected(f"{folder} should hold {names}; it holds {others or 'nothing'}")


def _read(
    path: Path,
    columns: Sequence[str],
    required: Sequence[str],
    quarantine: Quarantine,
    warnings: dict[str, int],
) -> pd.DataFrame:
    """The columns that the file has; its index is the row's number in the file."""
    is_parquet = path.suffix == ".parquet"
    file = ParquetFile.open(path) if is_parquet else CsvFile.open(path, columns)
    for name in sorted(set(file.header) - {*columns, ""}):
        warnings[f"{path.name}: column {name} is not ours and was not read"] = 1
    wanted = [name for name in columns if name in required or name in file.header]
    for name in required:
        check_column(path, name, required, file.header)
    if isinstance(file, CsvFile):
        return file.read(wanted, quarantine)
    return file.read(wanted, quarantine, key="shipment_id", numbers=_RANGES, times=_TIMES)


def _shipments(
    frame: pd.DataFrame,
    file: str,
    now: datetime,
    quarantine: Quarantine,
    warnings: dict[str, int],
) -> pd.DataFrame:
    """The valid shipments, with numbers, times and flags parsed."""
    control_characters = _control_characters(frame)
    frame = _with_texts(frame)
    countries = {name: resolved(frame[name], resolve_country) for name in _COUNTRIES}
    reasons = {"no_shipment_id": frame["shipment_id"].isna(), **control_characters}
    for name, country in countries.items():
        reasons |= _country_reasons(frame[name], name, country)
    times = {name: _times(frame, name, file) for name in _SHIPMENT_TIMES if name in frame}
    for name, column in times.items():
        reasons[f"implausible_{name}"] = is_implausible(column.instants, now)
    frame = quarantine.reject_rows(file, frame, reasons)
    # Only these rows: a frame without rows would take on those of an assigned series.
    frame = frame.assign(**{name: country[frame.index] for name, country in countries.items()})
    is_repeated = frame["shipment_id"].duplicated()
    frame = quarantine.reject_rows(file, frame, {"shipment_id_comes_twice": is_repeated})
    quarantine.count_accepted(file, len(frame))
    frame = _with_instants(frame, times, file, quarantine)
    frame = _with_places(frame, file, quarantine, warnings)
    return _numbered(_with_values(frame, file, quarantine))


def _with_instants(
    frame: pd.DataFrame, times: Mapping[str, _Times], file: str, quarantine: Quarantine
) -> pd.DataFrame:
    """Shipments with their times parsed; invalid ones are rejected and missing."""
    for name, column in times.items():
        for reason, flags in column.of_rows(frame).reasons(name).items():
            quarantine.reject_values(file, reason, _value(frame, name, flags))
        frame = frame.assign(**{name: column.of_rows(frame).instants})
    return frame


def _country_reasons(texts: pd.Series, name: str, country: pd.Series) -> dict[str, pd.Series]:
    """Why rows are rejected for their country, of which ``country`` is the code if it is one."""
    unknown = reasons_of_values(f"unknown_{name}", texts.where(country.isna()))
    return {f"no_{name}": texts.isna(), **unknown}


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a file, each with its number there."""
    return rows.rename_axis(ROW_NUMBER).reset_index()


def _with_places(
    frame: pd.DataFrame, file: str, quarantine: Quarantine, warnings: dict[str, int]
) -> pd.DataFrame:
    """Shipments with canonical regions and postcodes; impossible ones are rejected and missing."""
    for end in ("origin", "destination"):
        for part, reason, resolve in _PLACE_PARTS:
            name = f"{end}_{part}"
            if name not in frame:
                continue
            texts = frame[name]
            values = resolved_within(frame[f"{end}_country"], texts, resolve)
            is_rejected = texts.notna() & values.isna()
            quarantine.reject_values(file, f"{reason}_{name}", _value(frame, name, is_rejected))
            if part == "postcode":
                gained = values.str.len() > texts.str.strip().str.len()
                warnings[f"{name}_lost_zeros"] = int(gained.fillna(False).sum())
            frame = frame.assign(**{name: values})
    return frame


def _with_values(frame: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    """Shipments with their optional values parsed; invalid values are rejected and missing."""
    frame = frame.assign(order_id=frame["order_id"].fillna(frame["shipment_id"]))
    for name, (low, high) in _RANGES.items():
        if name in frame:
            numbers = _number(frame, name, low, high, file, quarantine)
            frame = frame.assign(**{name: numbers})
    for name, parse in _PARSERS.items():
        if name in frame:
            values = parse(frame, name, file, quarantine)
            frame = frame.assign(**{name: values})
    return frame


def _valid_events(
    frame: pd.DataFrame,
    file: str,
    shipment_id: pd.Series,
    now: datetime,
    quarantine: Quarantine,
) -> pd.DataFrame:
    """The valid events, with times and flags parsed."""
    control_characters = _control_characters(frame)
    frame = _with_texts(frame.reindex(columns=frame.columns.union(["received_at"], sort=False)))
    occurred_at, received_at = (
        _times(frame, name, file) for name in ("occurred_at", "received_at")
    )
    is_assumed = frame["received_at"].isna()
    received = received_at.instants.where(~is_assumed, occurred_at.instants)
    reasons = {
        **control_characters,
        "event_of_no_shipment": pd.Index(shipment_id).get_indexer(frame["shipment_id"]) < 0,
        "no_occurred_at": frame["occurred_at"].isna(),
        **occurred_at.reasons("occurred_at"),
        **received_at.reasons("received_at"),
        **_implausible(occurred_at.instants, received, is_assumed, now),
    }
    frame = quarantine.reject_rows(file, frame, reasons)
    rows, is_assumed = frame.index, is_assumed.loc[frame.index]
    if "is_received_at_assumed" in frame:
        is_assumed |= _flags(frame, "is_received_at_assumed", file, quarantine)
    if CORRECTION in frame:
        numbers = _number(frame, CORRECTION, *_RANGES[CORRECTION], file, quarantine)
        frame = frame.assign(**{CORRECTION: numbers.fillna(0.0).astype(np.int64)})
    times = {"occurred_at": occurred_at.instants.loc[rows], "received_at": received.loc[rows]}
    return frame.assign(**times, is_received_at_assumed=is_assumed)


def _implausible(
    occurred_at: pd.Series, received_at: pd.Series, is_assumed: pd.Series, now: datetime
) -> dict[str, pd.Series]:
    """Which events are implausible, by reason."""
    age = received_at - occurred_at
    is_far = age.notna() & ~age.between(-_LATEST_REPORT, _OLDEST_REPORT)
    is_receipt_implausible = is_implausible(received_at, now)
    return {
        "implausible_received_at": is_receipt_implausible & ~is_assumed,
        "implausible_occurred_at": is_far | is_receipt_implausible,
    }


def _events(
    shipments: pd.DataFrame, events: pd.DataFrame, file: str, quarantine: Quarantine
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Each scan once, with our codes; and how often each code occurs that is none of ours."""
    is_repeated = repeated_events(shipments, _with_codes(events))
    events = _numbered(events[~is_repeated])
    quarantine.count_accepted(file, len(events), duplicate=int(is_repeated.sum()))
    return _with_codes(events), _unmapped(events["event_code"])


def _with_codes(events: pd.DataFrame) -> pd.DataFrame:
    """The events with our codes; an unknown code becomes ``info``."""
    code = events["event_code"].astype("str")
    is_known = code.isin(_CODES)
    raw_code = pd.Series(None, index=events.index, dtype=object)
    if "raw_code" in events:
        raw_code = events["raw_code"]
    # An unknown code stays in ``raw_code``, so that two unknown codes are two events.
    raw_code = raw_code.where(raw_code.notna() | is_known, code)
    event_code = code.where(is_known, EventCode.INFO.value)
    return events.assign(event_code=event_code, raw_code=raw_code)


def _unmapped(codes: pd.Series) -> dict[str, int]:
    """How often each code occurs that is none of ours, the most frequent first."""
    unknown = codes[~codes.isin(_CODES)].fillna("")
    return {str(code): int(count) for code, count in unknown.value_counts().items()}


def _event_warnings(events: pd.DataFrame, unmapped_codes: Mapping[str, int]) -> dict[str, int]:
    """The peculiarities of accepted events, with their counts."""
    is_early = events["received_at"] < events["occurred_at"]
    return {
        "received_at_assumed": int(events["is_received_at_assumed"].sum()),
        "unmapped_event_codes": sum(unmapped_codes.values()),
        "received_before_occurred": int(is_early.sum()),
    }


def _with_orders(
    shipments: pd.DataFrame, events: pd.DataFrame, warnings: dict[str, int]
) -> pd.DataFrame:
    """The events, and an ``order_created`` for shipments with an order time and no such event."""
    if "ordered_at" not in shipments:
        return events
    is_order = events["event_code"].eq(EventCode.ORDER_CREATED.value)
    has_order = shipments["shipment_id"].isin(events.loc[is_order, "shipment_id"])
    has_time = shipments["ordered_at"].notna()
    without_order = shipments[~has_order & has_time]
    warnings["order_created_from_ordered_at"] = len(without_order)
    if not len(without_order):
        return events
    received_at = without_order.get("registered_at", without_order["ordered_at"])
    columns = {
        ROW_NUMBER: NO_ROW,
        "shipment_id": without_order["shipment_id"],
        "event_code": EventCode.ORDER_CREATED.value,
        "occurred_at": without_order["ordered_at"],
        "received_at": received_at.fillna(without_order["ordered_at"]),
        "is_received_at_assumed": True,
    }
    orders = pd.DataFrame(columns)
    return pd.concat([events, orders], ignore_index=True)


def _with_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Identifiers and names without the blanks around them; empty texts are missing."""
    texts = {}
    for name in frame.columns.intersection([*_TEXTS, *_COUNTRIES, "event_code"]):
        column = frame[name]
        if name in _FREE_TEXTS:
            column = column.str.replace(CONTROL_CHARACTERS, " ", regex=True)
        column = column.str.strip()
        texts[name] = column.where(column != "", None)
    return frame.assign(**texts)


def _control_characters(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Which rows have an identifier with a control character, by reason."""
    reasons = {}
    for name in frame.columns.intersection([*_IDENTIFIERS]):
        texts = frame[name].str.strip(_BLANKS)
        is_found = texts.str.contains(CONTROL_CHARACTERS, regex=True)
        reasons[f"control_character_in_{name}"] = is_found.fillna(False).astype(bool)
    return reasons


def _number(
    frame: pd.DataFrame, name: str, low: float, high: float, file: str, quarantine: Quarantine
) -> pd.Series:
    """A column as numbers; unreadable and impossible values are rejected and missing."""
    numbers = _parse_numbers(frame[name])
    is_unreadable = numbers.isna() & frame[name].notna()
    quarantine.reject_values(file, f"unreadable_{name}", _value(frame, name, is_unreadable))
    is_size = low == 0.0 and name not in _MAY_BE_ZERO
    is_above = (numbers > low) if is_size else (numbers >= low)
    is_possible = np.isfinite(numbers) & (numbers <= high) & is_above
    is_impossible = numbers.notna() & ~is_possible
    quarantine.reject_values(file, f"impossible_{name}", _value(frame, name, is_impossible))
    return numbers.where(~is_impossible)


def _parse_numbers(column: pd.Series) -> pd.Series:
    """Numbers; a comma is the decimal sign if it cannot separate thousands, as in 9,65 or 0,750."""
    if pd.api.types.is_string_dtype(column):
        column = column.str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)
    return pd.to_numeric(column, errors="coerce").astype(np.float64)


class _Times(NamedTuple):
    """The instants of a column, in UTC, and which texts are none."""

    instants: pd.Series
    is_naive: pd.Series
    is_unreadable: pd.Series

    def of_rows(self, frame: pd.DataFrame) -> _Times:
        """Those of the rows of a frame."""
        return _Times(*(values.loc[frame.index] for values in self))

    def reasons(self, name: str) -> dict[str, pd.Series]:
        """Which values are rejected, by reason."""
        return {f"naive_{name}": self.is_naive, f"unreadable_{name}": self.is_unreadable}


def _times(frame: pd.DataFrame, name: str, file: str) -> _Times:
    """Aware instants in UTC; NaT if missing, unreadable or without an offset.

    Raises:
        NaiveColumn: if none of the times has an offset.
    """
    column = frame[name]
    nowhere = pd.Series(False, index=frame.index)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        utc = column.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
        return _Times(utc, nowhere, nowhere)
    if pd.api.types.is_datetime64_dtype(column) and column.notna().any():
        raise NaiveColumn(file, name, column.dropna().iloc[0].isoformat())
    text = column.astype(TEXT_TYPE).str.strip()
    has_offset = text.str.contains(_OFFSET, regex=True)
    has_no_offset = text.notna() & ~has_offset.fillna(False).astype(bool)
    parsed = _instants(text.where(~has_no_offset)).astype("datetime64[us, UTC]")
    is_naive = has_no_offset & _instants(text.where(has_no_offset)).notna()
    if len(text) and is_naive.sum() == text.notna().sum() > 0:
        raise NaiveColumn(file, name, text.dropna().iloc[0])
    return _Times(parsed, is_naive, text.notna() & parsed.isna() & ~is_naive)


def _instants(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")


def _dates(frame: pd.DataFrame, name: str, file: str, quarantine: Quarantine) -> pd.Series:
    """Calendar dates as midnights without a zone."""
    column = frame[name]
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        local = column.dt.tz_localize(None)
        has_time = local.notna() & local.ne(local.dt.normalize())
        quarantine.reject_values(file, f"unreadable_{name}", _value(frame, name, has_time))
        return local.mask(has_time).astype("datetime64[s]")
    if pd.api.types.is_datetime64_dtype(column):
        return column.dt.normalize()
    text = column.astype(TEXT_TYPE).str.strip()
    parsed = pd.to_datetime(text, format="%Y-%m-%d", errors="coerce").astype("datetime64[s]")
    is_unreadable = parsed.isna() & text.notna()
    quarantine.reject_values(file, f"unreadable_{name}", _value(frame, name, is_unreadable))
    return parsed


def _flags(frame: pd.DataFrame, name: str, file: str, quarantine: Quarantine) -> pd.Series:
    """A column as flags; unreadable values are rejected and False."""
    text = frame[name].str.strip().str.lower()
    is_unreadable = text.notna() & ~text.isin(list(_FLAGS))
    quarantine.reject_values(file, f"unreadable_{name}", _value(frame, name, is_unreadable))
    return text.map(_FLAGS).eq(True)


def _tracking_numbers(
    frame: pd.DataFrame, name: str, file: str, quarantine: Quarantine
) -> pd.Series:
    """Tracking numbers; one that is none, or that comes without a carrier, is missing."""
    numbers = frame[name].astype(TEXT_TYPE).str.strip()
    is_number = numbers.str.fullmatch(TRACKING_NUMBER_PATTERN).fillna(False).astype(bool)
    is_impossible = numbers.notna() & ~is_number
    quarantine.reject_values(file, f"impossible_{name}", _value(frame, name, is_impossible))
    has_carrier = frame["carrier"].notna() if "carrier" in frame else False
    is_of_nobody = is_number & ~pd.Series(has_carrier, index=frame.index)
    quarantine.reject_values(file, f"{name}_without_carrier", _value(frame, name, is_of_nobody))
    return numbers.where(is_number & ~is_of_nobody)


def _value(frame: pd.DataFrame, name: str, rows: pd.Series) -> pd.DataFrame:
    """What is rejected of accepted rows: the value, with the shipment's id."""
    return frame.loc[rows, ["shipment_id", name]]


#: The parsers of other optional columns of shipments.
_PARSERS = {
    "promised_on": _dates,
    "has_several_origins": _flags,
    "tracking_number": _tracking_numbers,
}
