"""Importer of our own columns: a folder with ``shipments`` and ``events``, each as ``.parquet`` or ``.csv``.

Columns are those of ``journey.timeline`` (``SHIPMENT_COLUMNS``, ``EVENT_COLUMNS``): the first four
of each are needed, and both countries. Times carry an offset from UTC, dates are ISO dates. Bare
dates elsewhere are read in UTC. Rows that cannot be used are put aside with a reason; a value that
cannot be read, where the row can do without it, is put aside alone. A time without an offset says
nothing: its row is put aside, and a file with no other times in that column is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from eta.datasets.base import Dataset, Quarantine, read_csv
from eta.domain.errors import NaiveTime, SourceRejected
from eta.domain.shipment import MAX_WEIGHT_KG
from eta.domain.vocabulary import EventCode
from eta.journey.timelines import EVENT_COLUMNS, SHIPMENT_COLUMNS

ZONE = "UTC"
SHIPMENTS, EVENTS = "shipments", "events"
_TEXTS = (
    "shipment_id",
    "order_id",
    "carrier",
    "service_level",
    "origin_region",
    "origin_postcode",
    "destination_region",
    "destination_postcode",
    "raw_code",
    "place",
)
_COUNTRIES = ("origin_country", "destination_country")

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
}
_MAY_BE_ZERO = {"price"}

#: How a time with an offset from UTC ends.
_OFFSET = r"[T ]\d{2}.*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_tabular(folder: Path) -> Dataset:
    """Reads a folder with ``shipments`` and ``events``.

    Raises:
        SourceRejected: if a file is absent, unreadable or lacks a needed column.
        NaiveTime: if none of the times of a column has an offset.
    """
    quarantine, warnings = Quarantine(), dict[str, int]()
    shipments_file, events_file = _find(folder, SHIPMENTS), _find(folder, EVENTS)
    shipments = _shipments(
        _read(shipments_file, SHIPMENT_COLUMNS, quarantine, warnings),
        shipments_file.name,
        quarantine,
    )
    events = _events(
        _read(events_file, EVENT_COLUMNS, quarantine, warnings),
        events_file.name,
        shipments["shipment_id"],
        quarantine,
        warnings,
    )
    return Dataset(
        "tabular",
        ZONE,
        shipments,
        _with_orders(shipments, events, warnings),
        quarantine.frame(),
        warnings,
    )


def _find(folder: Path, name: str) -> Path:
    paths = [
        path for path in (folder / f"{name}.parquet", folder / f"{name}.csv") if path.is_file()
    ]
    if len(paths) != 1:
        problem = "holds both" if paths else "holds neither"
        raise SourceRejected(
            f"{folder} {problem} {name}.parquet {'and' if paths else 'nor'} {name}.csv; it should hold one of them"
        )
    return paths[0]


def _read(
    path: Path, columns: Sequence[str], quarantine: Quarantine, warnings: dict[str, int]
) -> pd.DataFrame:
    """The columns that the file has; its index is the row's number in the file."""
    has = _header(path)
    for name in sorted(set(has) - set(columns)):
        warnings[f"{path.name}: column {name} is not ours and was not read"] = 1
    wanted = [name for number, name in enumerate(columns) if number < 4 or name in has]
    for name in wanted:
        if name not in has:
            raise SourceRejected(
                f"{path.name} lacks a column: {name}; it should have {', '.join(columns[:4])}"
            )
    if path.suffix == ".csv":
        return read_csv(path, wanted, quarantine)
    return pyarrow.parquet.read_table(path, columns=wanted, use_threads=False).to_pandas(
        ignore_metadata=True
    )


def _header(path: Path) -> list[str]:
    try:
        if path.suffix == ".parquet":
            return list(pyarrow.parquet.read_schema(path).names)
        with pyarrow.csv.open_csv(
            path, read_options=pyarrow.csv.ReadOptions(use_threads=False)
        ) as reader:
            return list(reader.schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceRejected(f"{path.name} cannot be read: {error}") from None


def _shipments(frame: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    frame = _with_texts(frame)
    no_id = frame["shipment_id"].isna()
    quarantine.add(file, "no_shipment_id", frame[no_id])
    again = frame["shipment_id"].duplicated() & ~no_id
    quarantine.add(file, "shipment_id_comes_twice", frame[again])
    frame = frame[~no_id & ~again]
    for name in _COUNTRIES:
        bad = ~frame[name].astype("str").str.fullmatch("[A-Z]{2}").fillna(False).astype(bool)
        quarantine.add(file, f"no_{name}", frame[bad])
        frame = frame[~bad]
    frame = frame.assign(order_id=frame["order_id"].fillna(frame["shipment_id"]))
    for name, (low, high) in _RANGES.items():
        if name in frame:
            frame = frame.assign(**{name: _number(frame, name, low, high, file, quarantine)})
    if "ordered_at" in frame:
        frame = frame.assign(ordered_at=_times(frame, "ordered_at", file, quarantine))
    if "promised_on" in frame:
        frame = frame.assign(promised_on=_dates(frame, "promised_on", file, quarantine))
    if "has_several_origins" in frame:
        frame = frame.assign(
            has_several_origins=_flags(frame, "has_several_origins", file, quarantine)
        )
    return frame.reset_index(drop=True)


def _events(
    frame: pd.DataFrame,
    file: str,
    shipment_id: pd.Series,
    quarantine: Quarantine,
    warnings: dict[str, int],
) -> pd.DataFrame:
    frame = _with_texts(frame)
    stray = ~frame["shipment_id"].isin(shipment_id)
    quarantine.add(file, "event_of_no_shipment", frame[stray])
    frame = frame[~stray]
    is_received_missing = frame["received_at"].isna()
    parsed = frame.assign(
        occurred_at=_times(frame, "occurred_at", file, quarantine),
        received_at=_times(frame, "received_at", file, quarantine),
    )
    absent = frame["occurred_at"].isna()
    quarantine.add(file, "no_occurred_at", frame[absent])
    # A time that was there and could not be read has been put aside with its reason already.
    frame = parsed[
        parsed["occurred_at"].notna() & (parsed["received_at"].notna() | is_received_missing)
    ]
    assumed = frame["received_at"].isna()
    flags = (
        _flags(frame, "is_received_at_assumed", file, quarantine)
        if "is_received_at_assumed" in frame
        else False
    )
    frame = frame.assign(
        received_at=frame["received_at"].fillna(frame["occurred_at"]),
        is_received_at_assumed=assumed | flags,
    )
    code = frame["event_code"].astype("str")
    unmapped = ~code.isin([str(event_code) for event_code in EventCode])
    raw = (
        frame["raw_code"]
        if "raw_code" in frame
        else pd.Series(None, index=frame.index, dtype=object)
    )
    # What the sender wrote is kept, so that two unknown codes stay two scans.
    frame = frame.assign(
        event_code=code.where(~unmapped, EventCode.INFO.value),
        raw_code=raw.where(raw.notna() | ~unmapped, code),
    )
    warnings |= {
        "received_at_assumed": int(assumed.sum()),
        "unmapped_event_codes": int(unmapped.sum()),
        "received_before_occurred": int((frame["received_at"] < frame["occurred_at"]).sum()),
    }
    return frame.reset_index(drop=True)


def _with_orders(
    shipments: pd.DataFrame, events: pd.DataFrame, warnings: dict[str, int]
) -> pd.DataFrame:
    """Events with an ``order_created`` for each shipment that says when it was ordered and has none, known at once."""
    if "ordered_at" not in shipments:
        return events
    has_one = shipments["shipment_id"].isin(
        events.loc[events["event_code"].eq(EventCode.ORDER_CREATED.value), "shipment_id"]
    )
    without_order_event = shipments[~has_one & shipments["ordered_at"].notna()]
    warnings["order_created_from_ordered_at"] = len(without_order_event)
    if not len(without_order_event):
        return events
    added = pd.DataFrame(
        {
            "shipment_id": without_order_event["shipment_id"],
            "event_code": EventCode.ORDER_CREATED.value,
            "occurred_at": without_order_event["ordered_at"],
            "received_at": without_order_event["ordered_at"],
            "is_received_at_assumed": True,
        }
    )
    return pd.concat([events, added], ignore_index=True)


def _with_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Identifiers and names as texts, whatever a file's types are; nothing as nothing."""
    texts = {}
    for name in frame.columns.intersection([*_TEXTS, *_COUNTRIES, "event_code"]):
        column = frame[name]
        if not pd.api.types.is_string_dtype(column):
            column = (
                column.where(column.notna(), None)
                .map(str, na_action="ignore")
                .astype(pd.StringDtype(na_value=np.nan))
            )
        texts[name] = column.where(column != "", None)
    return frame.assign(**texts)


def _number(
    frame: pd.DataFrame, name: str, low: float, high: float, file: str, quarantine: Quarantine
) -> pd.Series:
    numbers = pd.to_numeric(frame[name], errors="coerce").astype(np.float64)
    quarantine.add(
        file, f"unreadable_{name}", _value(frame, name, numbers.isna() & frame[name].notna())
    )
    is_size = low == 0.0 and name not in _MAY_BE_ZERO
    bad = numbers.notna() & ~(
        np.isfinite(numbers)
        & (numbers <= high)
        & ((numbers > low) if is_size else (numbers >= low))
    )
    quarantine.add(file, f"impossible_{name}", _value(frame, name, bad))
    return numbers.where(~bad)


def _times(frame: pd.DataFrame, name: str, file: str, quarantine: Quarantine) -> pd.Series:
    """Aware instants in UTC; NaT where missing, unreadable or without an offset, the last two put aside."""
    column = frame[name]
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    if pd.api.types.is_datetime64_dtype(column):
        raise NaiveTime(name)
    text = column.astype(pd.StringDtype(na_value=np.nan)).str.strip()
    naive = text.notna() & ~text.str.contains(_OFFSET, regex=True).fillna(False).astype(bool)
    parsed = pd.to_datetime(text.where(~naive), format="ISO8601", utc=True, errors="coerce").astype(
        "datetime64[us, UTC]"
    )
    looks_naive = (
        naive
        & pd.to_datetime(text.where(naive), format="ISO8601", utc=True, errors="coerce").notna()
    )
    if len(text) and looks_naive.sum() == text.notna().sum() > 0:
        raise NaiveTime(name)
    quarantine.add(file, f"naive_{name}", frame[looks_naive])
    quarantine.add(file, f"unreadable_{name}", frame[text.notna() & parsed.isna() & ~looks_naive])
    return parsed


def _dates(frame: pd.DataFrame, name: str, file: str, quarantine: Quarantine) -> pd.Series:
    """Calendar dates as midnights without a zone."""
    column = frame[name]
    if pd.api.types.is_datetime64_dtype(column):
        return column.dt.normalize()
    text = column.astype(pd.StringDtype(na_value=np.nan)).str.strip()
    parsed = pd.to_datetime(text, format="%Y-%m-%d", errors="coerce").astype("datetime64[s]")
    quarantine.add(file, f"unreadable_{name}", _value(frame, name, parsed.isna() & text.notna()))
    return parsed


def _flags(frame: pd.DataFrame, name: str, file: str, quarantine: Quarantine) -> pd.Series:
    text = (
        frame[name]
        .map(str, na_action="ignore")
        .astype(pd.StringDtype(na_value=np.nan))
        .str.strip()
        .str.lower()
    )
    quarantine.add(
        file, f"unreadable_{name}", _value(frame, name, text.notna() & ~text.isin(list(_FLAGS)))
    )
    return text.map(_FLAGS).eq(True)


def _value(frame: pd.DataFrame, name: str, rows: pd.Series) -> pd.DataFrame:
    """What is put aside of rows that stay: who they are, and the value."""
    return frame.loc[rows, ["shipment_id", name]]
