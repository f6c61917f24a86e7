"""Importer of the SCMS delivery history (USAID), one line an item, ``SCMS_Delivery_History_Dataset.csv``.

A shipment is an ASN or DN; its lines share everything but item, weight, value and, at times, the
scheduled date. The file has dates without a time of day: each is read as 12:00 at the destination.
It says when a delivery was recorded, which is when it became known; when a quote or an order became
known is assumed to be its own date. A shipment without either is assumed to be known from
``ASSUMED_LEAD_DAYS`` before its scheduled date on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from eta.calendars.local_time import HOUR, day_starts
from eta.calendars.zones import zone_of
from eta.datasets.base import Dataset, Quarantine, read_csv
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

#: How each date is written.
FORMAT_OF_DATE: Mapping[str, str] = MappingProxyType(
    {
        _QUOTED: "%m/%d/%y",
        _ORDERED: "%m/%d/%y",
        _SCHEDULED: "%d-%b-%y",
        _DELIVERED: "%d-%b-%y",
        _RECORDED: "%d-%b-%y",
    }
)

#: What stands in the place of a date that there never was or that nobody took down.
NO_DATE = frozenset({"", "Pre-PQ Process", "Date Not Captured", "N/A - From RDC"})

#: The dates of a shipment and the scans they stand for; without the first, the second is the order
#: too.
EVENT_OF_DATE: Mapping[str, EventCode] = MappingProxyType(
    {
        _QUOTED: EventCode.ORDER_CREATED,
        _ORDERED: EventCode.ORDER_APPROVED,
        _DELIVERED: EventCode.DELIVERED,
    }
)

#: Mode of transport -> service level; N/A says nothing.
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

#: Destinations by the names the file uses.
COUNTRY_OF_NAME: Mapping[str, str] = MappingProxyType(
    {
        "Afghanistan": "AF",
        "Angola": "AO",
        "Belize": "BZ",
        "Benin": "BJ",
        "Botswana": "BW",
        "Burkina Faso": "BF",
        "Burundi": "BI",
        "Cameroon": "CM",
        "Congo, DRC": "CD",
        "Côte d'Ivoire": "CI",
        "Dominican Republic": "DO",
        "Ethiopia": "ET",
        "Ghana": "GH",
        "Guatemala": "GT",
        "Guinea": "GN",
        "Guyana": "GY",
        "Haiti": "HT",
        "Kazakhstan": "KZ",
        "Kenya": "KE",
        "Kyrgyzstan": "KG",
        "Lebanon": "LB",
        "Lesotho": "LS",
        "Liberia": "LR",
        "Libya": "LY",
        "Malawi": "MW",
        "Mali": "ML",
        "Mozambique": "MZ",
        "Namibia": "NA",
        "Nigeria": "NG",
        "Pakistan": "PK",
        "Rwanda": "RW",
        "Senegal": "SN",
        "Sierra Leone": "SL",
        "South Africa": "ZA",
        "South Sudan": "SS",
        "Sudan": "SD",
        "Swaziland": "SZ",
        "Tanzania": "TZ",
        "Togo": "TG",
        "Uganda": "UG",
        "Vietnam": "VN",
        "Zambia": "ZM",
        "Zimbabwe": "ZW",
    }
)

#: ISO 3166 leaves ZZ to its users: who ships is known, from where is not.
NO_COUNTRY = "ZZ"

#: A shipment without a date of quote or order is known from so long before its scheduled date on.
ASSUMED_LEAD_DAYS = 30

#: What all lines of a shipment must agree on.
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

#: A date so far from the median of a shipment's dates is a wrong one.
_FAR_DAYS = 3 * 366


def read_scms(source: Path) -> Dataset:
    """Reads the file, named itself or by its folder. Instants are in UTC, dates those of the destination.

    Raises:
        SourceRejected: if the file is absent, is no CSV or lacks a column.
    """
    path, quarantine = source / FILE if source.is_dir() else source, Quarantine()
    lines = read_csv(path, COLUMNS, quarantine)
    lines = lines.fillna("").apply(lambda column: column.str.strip())
    lines = _usable(lines, path.name, quarantine)
    lines, dates = _dates(lines, path.name, quarantine)
    shipments, warnings = _shipments(lines, dates, path.name, quarantine)
    events, event_warnings = _events(shipments)
    frame = shipments.drop(columns=[*FORMAT_OF_DATE, "zone"]).assign(
        ordered_at=shipments["ordered_at"].dt.tz_localize("UTC"), carrier=None
    )
    return Dataset("scms", ZONE, frame, events, quarantine.frame(), warnings | event_warnings)


def _usable(lines: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    """The lines of shipments that can be told apart, go somewhere known and do not contradict themselves."""
    differs = lines.groupby(_SHIPMENT)[list(_SHARED)].transform("nunique") > 1
    reasons = {
        "no_id": lines[_LINE] == "",
        "id_comes_twice": lines[_LINE].duplicated(),
        f"no_{_name(_SHIPMENT)}": lines[_SHIPMENT] == "",
        **{f"lines_disagree_on_{_name(column)}": differs[column] for column in _SHARED},
        "unknown_country": ~lines["Country"].isin(COUNTRY_OF_NAME),
    }
    good = pd.Series(True, index=lines.index)
    for reason, bad in reasons.items():
        quarantine.add(file, reason, lines[good & bad])
        good &= ~bad
    unknown = good & ~lines["Shipment Mode"].isin(SERVICE_OF_MODE)
    quarantine.add(
        file, "unknown_shipment_mode", lines.loc[unknown, [_LINE, _SHIPMENT, "Shipment Mode"]]
    )
    return lines[good]


def _dates(
    lines: pd.DataFrame, file: str, quarantine: Quarantine
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines whose shipment can be known of, and the dates, one row each, of those shipments.

    Dates that cannot be right are put aside and missing. A shipment without any date of order or
    schedule is put aside.
    """
    parsed = lines[[_LINE, _SHIPMENT]].copy()
    for column, form in FORMAT_OF_DATE.items():
        parsed[column] = pd.to_datetime(lines[column], format=form, errors="coerce").astype(
            "datetime64[us]"
        )
        wrong = parsed[column].isna() & ~lines[column].isin(NO_DATE)
        quarantine.add(
            file, f"unreadable_{_name(column)}", lines.loc[wrong, [_LINE, _SHIPMENT, column]]
        )
    # The lines of a shipment may be scheduled apart; the promise is kept when the last of them is
    # there.
    dates = parsed.groupby(_SHIPMENT, sort=True)[list(FORMAT_OF_DATE)].max()
    days = pd.DataFrame(
        {
            column: (dates[column] - dates.min().min()) / pd.Timedelta(days=1)
            for column in FORMAT_OF_DATE
        }
    )
    far = days.sub(days.median(axis=1), axis=0).abs() > _FAR_DAYS
    for column in FORMAT_OF_DATE:
        _quarantine_dates(
            dates,
            column,
            far[column],
            f"far_from_the_others_{_name(column)}",
            lines,
            file,
            quarantine,
        )
    for column in (_QUOTED, _ORDERED):
        _quarantine_dates(
            dates,
            column,
            dates[column] > dates[_DELIVERED],
            f"after_delivery_{_name(column)}",
            lines,
            file,
            quarantine,
        )
    unknown = dates.index[dates[[_QUOTED, _ORDERED, _SCHEDULED]].isna().all(axis=1)]
    lost = lines[_SHIPMENT].isin(unknown)
    quarantine.add(file, "no_date_of_order_or_schedule", lines[lost])
    return lines[~lost], dates.drop(unknown)


def _quarantine_dates(
    dates: pd.DataFrame,
    column: str,
    wrong: pd.Series,
    reason: str,
    lines: pd.DataFrame,
    file: str,
    quarantine: Quarantine,
) -> None:
    """Makes wrong dates of shipments missing; the first line of each shipment goes to the quarantine."""
    first = lines[lines[_SHIPMENT].isin(dates.index[wrong])].drop_duplicates(_SHIPMENT)
    quarantine.add(file, reason, first[[_LINE, _SHIPMENT, *FORMAT_OF_DATE]])
    dates.loc[wrong, column] = pd.NaT


def _shipments(
    lines: pd.DataFrame, dates: pd.DataFrame, file: str, quarantine: Quarantine
) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row a shipment, with its dates as midnights, its zone and ``ordered_at`` in UTC without a zone."""
    weight, warnings = _weights(lines, file, quarantine)
    value = pd.to_numeric(lines[_VALUE], errors="coerce").astype("float64")
    value = value.where(value.between(0.0, np.finfo(np.float64).max))
    quarantine.add(
        file, f"unusable_{_name(_VALUE)}", lines.loc[value.isna(), [_LINE, _SHIPMENT, _VALUE]]
    )
    grouped, first = (
        lines.groupby(_SHIPMENT, sort=True),
        lines.drop_duplicates(_SHIPMENT).set_index(_SHIPMENT).sort_index(),
    )
    prices = value.groupby(lines[_SHIPMENT]).agg(["sum", "count"])
    country = first["Country"].map(COUNTRY_OF_NAME)
    shipments = pd.DataFrame(
        {
            "shipment_id": first.index,
            "order_id": first["PO / SO #"].mask(first["PO / SO #"] == "", first.index.to_series()),
            "origin_country": NO_COUNTRY,
            "origin_region": first["Vendor"].replace("", None),
            "destination_country": country,
            "service_level": first["Shipment Mode"].map(SERVICE_OF_MODE),
            "weight_kg": weight,
            "price": prices["sum"].where(prices["count"] == grouped.size()),
            "promised_on": dates[_SCHEDULED],
            "zone": country.map(lambda code: zone_of(code, None)[0]),
        }
    ).join(dates)
    ahead = shipments[_SCHEDULED] - pd.Timedelta(days=ASSUMED_LEAD_DAYS)
    is_dated = shipments[[_QUOTED, _ORDERED]].notna().any(axis=1)
    noon = _noon(shipments[_QUOTED].fillna(shipments[_ORDERED]), shipments["zone"])
    # The first instant of that day: who is judged so long ahead of the schedule is judged from then
    # on.
    shipments["ordered_at"] = noon.where(
        is_dated, _noon(ahead, shipments["zone"]) - pd.Timedelta(hours=12)
    )
    noon_of_delivery = _noon(shipments[_DELIVERED], shipments["zone"])
    scheduled = (
        pd.to_datetime(lines[_SCHEDULED], format=FORMAT_OF_DATE[_SCHEDULED], errors="coerce")
        .groupby(lines[_SHIPMENT])
        .nunique()
    )
    warnings |= {
        "several_scheduled_dates": int((scheduled > 1).sum()),
        "order_date_assumed": int((~is_dated).sum()),
        "order_from_vendor_date": int(
            (shipments[_QUOTED].isna() & shipments[_ORDERED].notna()).sum()
        ),
        "ordered_less_than_30_days_ahead": int(
            (is_dated & (shipments[_QUOTED].fillna(shipments[_ORDERED]) > ahead)).sum()
        ),
        "no_scheduled_date": int(shipments[_SCHEDULED].isna().sum()),
        "not_delivered": int(shipments[_DELIVERED].isna().sum()),
        "delivered_before_order": int((noon_of_delivery < shipments["ordered_at"]).sum()),
        "several_lines": int((grouped.size() > 1).sum()),
        "no_weight": int(shipments["weight_kg"].isna().sum()),
        "heavier_than_a_parcel": int((shipments["weight_kg"] > MAX_WEIGHT_KG).sum()),
    }
    return shipments.reset_index(drop=True), warnings


def _weights(
    lines: pd.DataFrame, file: str, quarantine: Quarantine
) -> tuple[pd.Series, dict[str, int]]:
    """Kilograms by shipment: the sum of its lines, each with a weight or within that of another of its lines.

    "See ASN-1 (ID#:2)" says that line 2 of shipment ASN-1 was weighed together with this one. What
    was weighed separately, or together with another shipment, is not known: the whole shipment has
    no weight then.
    """
    text = lines[_WEIGHT]
    number = pd.to_numeric(text, errors="coerce").astype("float64")
    weight = number.where(number.between(0.0, np.finfo(np.float64).max, inclusive="neither"))
    reference = text.str.extract(f"^{_REFERENCE}$")
    refers, separate = reference["line"].notna(), text == _SEPARATE
    # The line that each line refers to, in the place of the line that refers.
    of_id = pd.DataFrame({"shipment": lines[_SHIPMENT], "weight": weight}).set_axis(lines[_LINE])
    named = of_id.reindex(reference["line"]).set_axis(lines.index)
    wanting = refers & (named["shipment"] != reference["shipment"])
    within = refers & ~wanting & (named["shipment"] == lines[_SHIPMENT]) & named["weight"].notna()
    quarantine.add(
        file,
        f"unusable_{_name(_WEIGHT)}",
        lines.loc[
            ~(weight.notna() | refers | separate | (text == "")), [_LINE, _SHIPMENT, _WEIGHT]
        ],
    )
    quarantine.add(
        file,
        f"reference_to_nothing_{_name(_WEIGHT)}",
        lines.loc[wanting, [_LINE, _SHIPMENT, _WEIGHT]],
    )
    by_shipment = weight.groupby(lines[_SHIPMENT]).sum(min_count=1)
    whole = (weight.notna() | within).groupby(lines[_SHIPMENT]).all()
    warnings = {
        "lines_weighed_with_another": int(within.sum()),
        "lines_weighed_with_one_of_no_weight": int((refers & ~within & ~wanting).sum()),
        "lines_weighed_separately": int(separate.sum()),
    }
    return by_shipment.where(whole), warnings


def _events(shipments: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The scans of every shipment."""
    quoted, ordered = shipments[_QUOTED].notna(), shipments[_ORDERED].notna()
    raw = (
        pd.Series(_QUOTED, index=shipments.index)
        .where(quoted, _ORDERED)
        .where(quoted | ordered, None)
    )
    order = pd.DataFrame(
        {
            "shipment_id": shipments["shipment_id"],
            "event_code": EVENT_OF_DATE[_QUOTED].value,
            "occurred_at": shipments["ordered_at"],
        }
    )
    parts = [
        order.assign(raw_code=raw, received_at=order["occurred_at"], is_received_at_assumed=True)
    ]
    for column in (_ORDERED, _DELIVERED):
        rows = shipments[shipments[column].notna()]
        happened = _noon(rows[column], rows["zone"])
        recorded = (
            _noon(rows[_RECORDED], rows["zone"])
            if column == _DELIVERED
            else pd.Series(pd.NaT, index=rows.index, dtype=happened.dtype)
        )
        parts.append(
            pd.DataFrame(
                {
                    "shipment_id": rows["shipment_id"],
                    "event_code": EVENT_OF_DATE[column].value,
                    "occurred_at": happened,
                    "raw_code": column,
                    "received_at": recorded.fillna(happened),
                    "is_received_at_assumed": recorded.isna(),
                }
            )
        )
    events = pd.concat(parts, ignore_index=True).assign(place=None)
    for column in ("occurred_at", "received_at"):
        events[column] = events[column].astype("datetime64[us]").dt.tz_localize("UTC")
    warnings = {
        "received_at_assumed": int(events["is_received_at_assumed"].sum()),
        "received_before_occurred": int((events["received_at"] < events["occurred_at"]).sum()),
    }
    return events, warnings


def _noon(days: pd.Series, zones: pd.Series) -> pd.Series:
    """Twelve hours after the first instant of local dates, in UTC without a zone; NaT where there is none."""
    codes, names = pd.factorize(zones, sort=True)
    noons = day_starts(days.to_numpy().astype("datetime64[D]"), codes, tuple(names)) + 12 * HOUR
    return pd.Series(noons, index=days.index)


def _name(column: str) -> str:
    """A column's name as a part of a reason: ``Weight (Kilograms)`` -> ``weight_kilograms``."""
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
