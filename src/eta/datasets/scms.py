"""Reader of the SCMS delivery history (USAID), ``SCMS_Delivery_History_Dataset.csv``, by item.

A shipment is an ASN or DN; its lines share everything but item, weight, value and, at times, the
scheduled date. The file has dates without a time of day: each is read as 12:00 at the destination.
A delivery was received on the date on which it was recorded; a quote or an order is assumed to be
received on its own date. A shipment without either is assumed to be received ``ASSUMED_LEAD_DAYS``
before its scheduled date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from eta.calendars.local_time import HOUR, day_starts
from eta.calendars.places import resolve_country
from eta.calendars.zones import zone_of
from eta.datasets.base import Dataset, Quarantine, is_implausible, resolved
from eta.datasets.csv_files import read_csv
from eta.domain.shipment import MAX_WEIGHT_KG
from eta.domain.vocabulary import EventCode

ZONE = "UTC"
FILE = "SCMS_Delivery_History_Dataset.csv"
_QUOTED, _ORDERED = "PQ First Sent to Client Date", "PO Sent to Vendor Date"
_SCHEDULED, _DELIVERED, _RECORDED = (
    "Scheduled Delivery Date",
    "Delivered to Client Date",
    "Delivery Recorded Date",
)
_SHIPMENT, _LINE, _WEIGHT, _VALUE = "ASN/DN #", "ID", "Weight (Kilograms)", "Line Item Value"

#: The format of each date.
FORMAT_OF_DATE: Mapping[str, str] = MappingProxyType(
    {
        _QUOTED: "%m/%d/%y",
        _ORDERED: "%m/%d/%y",
        _SCHEDULED: "%d-%b-%y",
        _DELIVERED: "%d-%b-%y",
        _RECORDED: "%d-%b-%y",
    }
)

#: The texts in place of a date that does not exist or was not recorded.
NO_DATE = frozenset({"", "Pre-PQ Process", "Date Not Captured", "N/A - From RDC"})

#: The event of each date of a shipment; without the first, the second is the order too.
EVENT_OF_DATE: Mapping[str, EventCode] = MappingProxyType(
    {
        _QUOTED: EventCode.ORDER_CREATED,
        _ORDERED: EventCode.ORDER_APPROVED,
        _DELIVERED: EventCode.DELIVERED,
    }
)

#: Mode of transport -> service level; N/A is none.
SERVICE_OF_MODE: Mapping[str, str | None] = MappingProxyType(
    {
        "Air": "air",
        "Air Charter": "air_charter",
        "Ocean": "ocean",
        "Truck": "truck",
        "N/A": None,
        "": None,
    }
)

#: ISO 3166 leaves ZZ to its users: the file has the vendor of a shipment, and not its country.
NO_COUNTRY = "ZZ"

#: Days before its scheduled date on which a shipment without a quote or an order is received.
ASSUMED_LEAD_DAYS = 30

#: Columns on which all lines of a shipment must agree.
_SHARED = (
    "PO / SO #",
    "Country",
    "Shipment Mode",
    "Vendor",
    _QUOTED,
    _ORDERED,
    _DELIVERED,
    _RECORDED,
)

#: Every column that is read.
COLUMNS = (_LINE, _SHIPMENT, *_SHARED, _SCHEDULED, _WEIGHT, _VALUE)
_SEPARATE = "Weight Captured Separately"
_REFERENCE = r"See (?P<shipment>(?:ASN|DN)-\d+) \(ID#:(?P<line>\d+)\)"

#: A date further than this from the median of its shipment's dates is rejected.
_FAR_DAYS = 3 * 366


def read_scms(source: Path, *, now: datetime) -> Dataset:
    """Reads the file, named itself or by its folder.

    Instants are in UTC, dates are local days at the destination.

    Raises:
        SourceRejected: if the file is absent, is no CSV or lacks a column.
    """
    path = source / FILE if source.is_dir() else source
    quarantine = Quarantine()
    lines = read_csv(path, COLUMNS, quarantine)
    lines = lines.fillna("").apply(lambda column: column.str.strip())
    lines = _usable(lines, path.name, quarantine)
    lines, dates = _dates(lines, path.name, now, quarantine)
    quarantine.count_accepted(path.name, len(lines))
    shipments, warnings = _shipments(lines, dates, path.name, quarantine)
    events, event_warnings = _events(shipments)
    ordered_at = shipments["ordered_at"].dt.tz_localize("UTC")
    frame = shipments.drop(columns=[*FORMAT_OF_DATE, "zone"])
    frame = frame.assign(ordered_at=ordered_at, carrier=None)
    warnings |= event_warnings | quarantine.warnings
    return Dataset("scms", ZONE, frame, events, quarantine.frame(), warnings, quarantine.rows())


def _usable(lines: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    """The lines of shipments with an id, a known country, and no contradictions between lines."""
    reasons = {
        "no_id": lines[_LINE] == "",
        f"no_{_name(_SHIPMENT)}": lines[_SHIPMENT] == "",
    }
    by_shipment = lines.groupby(_SHIPMENT)
    differs = by_shipment[list(_SHARED)].transform("nunique") > 1
    for column in _SHARED:
        reasons[f"lines_disagree_on_{_name(column)}"] = differs[column]
    reasons["unknown_country"] = resolved(lines["Country"], resolve_country).isna()
    usable = quarantine.reject_rows(file, lines, reasons)
    is_repeated = usable[_LINE].duplicated()
    usable = quarantine.reject_rows(file, usable, {"id_comes_twice": is_repeated})
    has_known_mode = usable["Shipment Mode"].isin(SERVICE_OF_MODE)
    unknown = usable.loc[~has_known_mode, [_LINE, _SHIPMENT, "Shipment Mode"]]
    quarantine.reject_values(file, "unknown_shipment_mode", unknown)
    return usable


def _dates(
    lines: pd.DataFrame, file: str, now: datetime, quarantine: Quarantine
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines of shipments with a date to start from, and the dates of those shipments.

    Invalid dates are rejected and missing. A shipment without any date of a quote, an order or a
    schedule is rejected, and so is one whose order or delivery is before 2000 or in the future.
    """
    dates = _consistent_dates(lines, file, quarantine)
    has_no_start = dates[[_QUOTED, _ORDERED, _SCHEDULED]].isna().all(axis=1)
    reasons = {"no_date_of_order_or_schedule": has_no_start}
    for column in (_QUOTED, _ORDERED, _DELIVERED, _RECORDED):
        reasons[f"implausible_{_name(column)}"] = is_implausible(
            dates[column].dt.tz_localize("UTC"), now
        )
    of_lines = {
        reason: lines[_SHIPMENT].isin(dates.index[flags]) for reason, flags in reasons.items()
    }
    usable = quarantine.reject_rows(file, lines, of_lines)
    return usable, dates[dates.index.isin(usable[_SHIPMENT])]


def _consistent_dates(lines: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    """The dates of shipments; those that contradict the others are rejected and missing."""
    parsed = _parse_dates(lines, file, quarantine)
    # The lines of a shipment may have different schedules; the promise is met by the last one.
    dates = parsed.groupby(_SHIPMENT, sort=True)[list(FORMAT_OF_DATE)].max()
    earliest = dates.min().min()
    days = (dates - earliest) / pd.Timedelta(days=1)
    from_median = days.sub(days.median(axis=1), axis=0)
    is_far = from_median.abs() > _FAR_DAYS
    for column in FORMAT_OF_DATE:
        reason = f"far_from_the_others_{_name(column)}"
        _quarantine_dates(dates, column, is_far[column], reason, lines, file, quarantine)
    for column in (_QUOTED, _ORDERED):
        is_late = dates[column] > dates[_DELIVERED]
        reason = f"after_delivery_{_name(column)}"
        _quarantine_dates(dates, column, is_late, reason, lines, file, quarantine)
    return dates


def _parse_dates(lines: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    """The dates of lines, with their shipments; unreadable ones are rejected and missing."""
    parsed = lines[[_LINE, _SHIPMENT]].copy()
    for column, date_format in FORMAT_OF_DATE.items():
        dates = pd.to_datetime(lines[column], format=date_format, errors="coerce")
        parsed[column] = dates.astype("datetime64[us]")
        is_given = ~lines[column].isin(NO_DATE)
        is_unreadable = dates.isna() & is_given
        unreadable = lines.loc[is_unreadable, [_LINE, _SHIPMENT, column]]
        quarantine.reject_values(file, f"unreadable_{_name(column)}", unreadable)
    return parsed


def _quarantine_dates(
    dates: pd.DataFrame,
    column: str,
    wrong: pd.Series,
    reason: str,
    lines: pd.DataFrame,
    file: str,
    quarantine: Quarantine,
) -> None:
    """Makes wrong dates of shipments missing, and rejects the first line of each of them."""
    is_affected = lines[_SHIPMENT].isin(dates.index[wrong])
    first = lines[is_affected].drop_duplicates(_SHIPMENT)
    quarantine.reject_values(file, reason, first[[_LINE, _SHIPMENT, *FORMAT_OF_DATE]])
    dates.loc[wrong, column] = pd.NaT


def _shipments(
    lines: pd.DataFrame, dates: pd.DataFrame, file: str, quarantine: Quarantine
) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row a shipment, with its dates as midnights, and the peculiarities with counts.

    ``ordered_at`` is in UTC, without a zone; ``zone`` is that of the destination.
    """
    weight, warnings = _weights(lines, file, quarantine)
    # The value of each shipment, missing if that of one line is.
    number = pd.to_numeric(lines[_VALUE], errors="coerce").astype("float64")
    is_usable = number.between(0.0, np.finfo(np.float64).max)
    value = number.where(is_usable)
    unusable = lines.loc[value.isna(), [_LINE, _SHIPMENT, _VALUE]]
    quarantine.reject_values(file, f"unusable_{_name(_VALUE)}", unusable)
    by_shipment = value.groupby(lines[_SHIPMENT])
    is_complete = by_shipment.count() == by_shipment.size()
    price = by_shipment.sum().where(is_complete)
    first = lines.drop_duplicates(_SHIPMENT).set_index(_SHIPMENT).sort_index()
    country = resolved(first["Country"], resolve_country)
    order_id = first["PO / SO #"]
    order_id = order_id.mask(order_id == "", first.index.to_series())
    service = first["Shipment Mode"].map(SERVICE_OF_MODE)
    zone = country.map(lambda code: zone_of(code, None)[0])
    columns = {
        "shipment_id": first.index,
        "order_id": order_id,
        "origin_country": NO_COUNTRY,
        "origin_region": first["Vendor"].replace("", None),
        "destination_country": country,
        "service_level": service,
        "weight_kg": weight,
        "price": price,
        "promised_on": dates[_SCHEDULED],
        "zone": zone,
    }
    shipments = pd.DataFrame(columns).join(dates)
    shipments["ordered_at"] = _order_times(shipments)
    warnings |= _shipment_warnings(shipments, lines)
    return shipments.reset_index(drop=True), warnings


def _order_times(shipments: pd.DataFrame) -> pd.Series:
    """Noon of the quote, else of the order, else the start of the assumed day."""
    ordered_on = shipments[_QUOTED].fillna(shipments[_ORDERED])
    assumed_on = shipments[_SCHEDULED] - pd.Timedelta(days=ASSUMED_LEAD_DAYS)
    noon = _noon(ordered_on, shipments["zone"])
    # The start of the day, so that a forecast so many days before the schedule includes it.
    assumed = _noon(assumed_on, shipments["zone"]) - pd.Timedelta(hours=12)
    return noon.where(ordered_on.notna(), assumed)


def _shipment_warnings(shipments: pd.DataFrame, lines: pd.DataFrame) -> dict[str, int]:
    """The peculiarities of accepted shipments, with their counts."""
    quoted, ordered, scheduled = shipments[_QUOTED], shipments[_ORDERED], shipments[_SCHEDULED]
    ordered_on = quoted.fillna(ordered)
    assumed_on = scheduled - pd.Timedelta(days=ASSUMED_LEAD_DAYS)
    delivered_at = _noon(shipments[_DELIVERED], shipments["zone"])
    date_format = FORMAT_OF_DATE[_SCHEDULED]
    schedules = pd.to_datetime(lines[_SCHEDULED], format=date_format, errors="coerce")
    schedule_count = schedules.groupby(lines[_SHIPMENT]).nunique()
    line_count = lines.groupby(_SHIPMENT).size()
    weight_kg = shipments["weight_kg"]
    peculiar = {
        "several_scheduled_dates": schedule_count > 1,
        "order_date_assumed": ordered_on.isna(),
        "order_from_vendor_date": quoted.isna() & ordered.notna(),
        "ordered_less_than_30_days_ahead": ordered_on > assumed_on,
        "no_scheduled_date": scheduled.isna(),
        "not_delivered": shipments[_DELIVERED].isna(),
        "delivered_before_order": delivered_at < shipments["ordered_at"],
        "several_lines": line_count > 1,
        "no_weight": weight_kg.isna(),
        "heavier_than_a_parcel": weight_kg > MAX_WEIGHT_KG,
    }
    return {name: int(flags.sum()) for name, flags in peculiar.items()}


def _weights(
    lines: pd.DataFrame, file: str, quarantine: Quarantine
) -> tuple[pd.Series, dict[str, int]]:
    """Kilograms by shipment, the sum of its lines, and the peculiarities with counts.

    "See ASN-1 (ID#:2)" means that the line was weighed together with line 2 of shipment ASN-1. The
    shipment has no weight if one of its lines was weighed separately or with another shipment.
    """
    text = lines[_WEIGHT]
    number = pd.to_numeric(text, errors="coerce").astype("float64")
    is_weight = number.between(0.0, np.finfo(np.float64).max, inclusive="neither")
    weight = number.where(is_weight)
    reference = text.str.extract(f"^{_REFERENCE}$")
    refers, is_separate = reference["line"].notna(), text == _SEPARATE
    # The line that each line refers to, at the position of the line that refers.
    by_line = pd.DataFrame({"shipment": lines[_SHIPMENT], "weight": weight})
    by_line = by_line.set_axis(lines[_LINE])
    referenced = by_line.reindex(reference["line"]).set_axis(lines.index)
    is_dangling = refers & (referenced["shipment"] != reference["shipment"])
    is_same_shipment = refers & ~is_dangling & (referenced["shipment"] == lines[_SHIPMENT])
    is_included = is_same_shipment & referenced["weight"].notna()
    has_text = weight.isna() & (text != "")
    is_unusable = has_text & ~(refers | is_separate)
    reported = lines[[_LINE, _SHIPMENT, _WEIGHT]]
    name = _name(_WEIGHT)
    quarantine.reject_values(file, f"unusable_{name}", reported[is_unusable])
    quarantine.reject_values(file, f"reference_to_nothing_{name}", reported[is_dangling])
    by_shipment = weight.groupby(lines[_SHIPMENT]).sum(min_count=1)
    is_weighed = weight.notna() | is_included
    is_complete = is_weighed.groupby(lines[_SHIPMENT]).all()
    peculiar = {
        "lines_weighed_with_another": is_included,
        "lines_weighed_with_one_of_no_weight": refers & ~is_included & ~is_dangling,
        "lines_weighed_separately": is_separate,
    }
    warnings = {name: int(flags.sum()) for name, flags in peculiar.items()}
    return by_shipment.where(is_complete), warnings


def _events(shipments: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The events of every shipment, and their peculiarities with counts."""
    parts = [
        _order_events(shipments),
        _dated_events(shipments, _ORDERED),
        _dated_events(shipments, _DELIVERED),
    ]
    events = pd.concat(parts, ignore_index=True).assign(place=None)
    for column in ("occurred_at", "received_at"):
        events[column] = events[column].astype("datetime64[us]").dt.tz_localize("UTC")
    is_early = events["received_at"] < events["occurred_at"]
    warnings = {
        "received_at_assumed": int(events["is_received_at_assumed"].sum()),
        "received_before_occurred": int(is_early.sum()),
    }
    return events, warnings


def _order_events(shipments: pd.DataFrame) -> pd.DataFrame:
    """An order for every shipment; ``raw_code`` is the column of its date, None if assumed."""
    is_quoted, is_ordered = shipments[_QUOTED].notna(), shipments[_ORDERED].notna()
    raw_code = pd.Series(_QUOTED, index=shipments.index)
    raw_code = raw_code.where(is_quoted, _ORDERED)
    raw_code = raw_code.where(is_quoted | is_ordered, None)
    columns = {
        "shipment_id": shipments["shipment_id"],
        "event_code": EVENT_OF_DATE[_QUOTED].value,
        "occurred_at": shipments["ordered_at"],
        "raw_code": raw_code,
        "received_at": shipments["ordered_at"],
        "is_received_at_assumed": True,
    }
    return pd.DataFrame(columns)


def _dated_events(shipments: pd.DataFrame, column: str) -> pd.DataFrame:
    """The events of one date, at noon; only for a delivery there is a time of receipt."""
    rows = shipments[shipments[column].notna()]
    happened = _noon(rows[column], rows["zone"])
    recorded = pd.Series(pd.NaT, index=rows.index, dtype=happened.dtype)
    if column == _DELIVERED:
        recorded = _noon(rows[_RECORDED], rows["zone"])
    columns = {
        "shipment_id": rows["shipment_id"],
        "event_code": EVENT_OF_DATE[column].value,
        "occurred_at": happened,
        "raw_code": column,
        "received_at": recorded.fillna(happened),
        "is_received_at_assumed": recorded.isna(),
    }
    return pd.DataFrame(columns)


def _noon(days: pd.Series, zones: pd.Series) -> pd.Series:
    """Twelve hours after the start of local dates, in UTC without a zone; NaT without a date."""
    codes, names = pd.factorize(zones, sort=True)
    dates = days.to_numpy().astype("datetime64[D]")
    starts = day_starts(dates, codes, tuple(names))
    return pd.Series(starts + 12 * HOUR, index=days.index)


def _name(column: str) -> str:
    """A column's name as a part of a reason: ``Weight (Kilograms)`` -> ``weight_kilograms``."""
    words = re.sub(r"[^a-z0-9]+", "_", column.lower())
    return words.strip("_")
