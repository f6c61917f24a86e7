"""Small tabular folders, mutated at random from a seed, and what must hold of each of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from eta.datasets.base import Dataset
from eta.datasets.tabular import read_tabular
from eta.domain.errors import EtaError
from eta.journey.last_normal_day import last_normal_day
from eta.journey.timelines import Timelines

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
#: The first order, parcels a day, and days with orders.
FIRST, PARCELS_A_DAY, DAYS = datetime(2026, 9, 1, 8, tzinfo=UTC), 4, 30
#: No sound row is received later.
LAST_DAY = date(2026, 10, 4)
CODES = ("order_created", "accepted", "arrived_at_facility", "out_for_delivery", "delivered")

Row = dict[str, str | None]

#: Values that systems write in place of one that they do not have, or by mistake.
VALUES: tuple[str | None, ...] = (
    *(None, "", " ", "NULL", "NaN", "None", "N/A", "-", "?", "#N/A", "0", "-1", "1e400", "inf"),
    *(
        "true",
        "1000.0",
        "1,5",
        "=1+1",
        "[/red]",
        "[bold",
        "\u202ex",
        "\ud7ff",
        "x" * 5000,
        "Zürich",
    ),
    *("1990-12-31", "1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    *("0000-00-00 00:00:00", "1970-01-01T00:00:00Z", "2027-10-01T08:00:00Z", "2062-10-01T08:00Z"),
    *("2026-10-01T08:00:00", "2026-10-01", "01.10.2026", "10/13/2026 08:00", "1759305600"),
    *("2026-10-01T08:00:00+25:00", "2026-13-45T00:00:00Z", "2026-10-01T08:00:00+05:30", "20261001"),
    *("UK", "Germany", "XX", "de", "DE-BY", "Bayern", "1050", "ABC", "01050", "a,b", 'a"b', "a;b"),
    *("a\tb", "a|b", "a\nb", "a\r\nb", "P0", "P1", "Delivered", "DELIVERED", "info"),
)
#: Texts that only a regular expression holds.
_PATTERN = re.compile(r"\\d|\(\?|\[\^|\[0-9\]|\[A-Z\]|\.\*|\\s")


@dataclass
class Folder:
    """A folder to be written: both tables, and how."""

    shipments: list[Row]
    events: list[Row]
    is_parquet: bool = False
    separator: str = ","
    encoding: str = "utf-8"
    line_end: str = "\n"
    quotes_all: bool = False
    #: Changes of bytes, after which the number of rows is not known.
    damages: list[Callable[[bytes], bytes]] = field(default_factory=list)
    #: Types of Parquet columns, by name.
    types: dict[str, Callable[[list[str | None]], pa.Array]] = field(default_factory=dict)
    what: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of a folder; ``fault`` is empty if all that must hold does."""

    dataset: Dataset | None
    timelines: Timelines | None
    refusal: str
    fault: str
    as_of: date | None


def sound_folder(random: Random) -> Folder:
    """Sound parcels that travel two to four days."""
    shipments: list[Row] = []
    events: list[Row] = []
    for number in range(PARCELS_A_DAY * DAYS):
        name = f"P{number}"
        ordered_at = FIRST + timedelta(days=number // PARCELS_A_DAY, minutes=number % 60)
        shipments.append(
            {
                "shipment_id": name,
                "order_id": f"O{number}",
                "origin_country": "DE",
                "destination_country": random.choice(["DE", "AT"]),
                "carrier": random.choice(["dhl", "post"]),
                "destination_postcode": None,
                "weight_kg": f"{random.uniform(0.1, 5.0):.2f}",
                "ordered_at": ordered_at.isoformat(),
                "promised_on": f"{ordered_at + timedelta(days=5):%Y-%m-%d}",
            }
        )
        for step, code in enumerate(CODES):
            at = ordered_at + timedelta(hours=step * random.uniform(12, 20))
            events.append(
                {
                    "shipment_id": name,
                    "event_code": code,
                    "occurred_at": at.isoformat(),
                    "received_at": (at + timedelta(minutes=5)).isoformat(),
                    "raw_code": None,
                    "place": random.choice(["Hub 1", "Hub 2"]),
                }
            )
    return Folder(shipments, events)


def mutated_folder(seed: int) -> Folder:
    """Sound parcels with one to four mutations."""
    random = Random(seed)
    folder = sound_folder(random)
    for _ in range(random.randint(1, 4)):
        mutation = random.choice(MUTATIONS)
        folder.what.append(mutation.__name__)
        mutation(folder, random)
    return folder


def _table(folder: Folder, random: Random) -> list[Row]:
    return random.choice([folder.shipments, folder.events])


def _some(table: list[Row], random: Random) -> list[Row]:
    """At most a tenth of the rows."""
    return random.sample(table, min(len(table), random.randint(1, max(1, len(table) // 10))))


def set_values(folder: Folder, random: Random) -> None:
    """A value in some rows of a column."""
    table = _table(folder, random)
    name = random.choice(list(table[0]))
    value = random.choice(VALUES)
    for row in _some(table, random):
        row[name] = value


def set_any_values(folder: Folder, random: Random) -> None:
    """Any values anywhere in some rows."""
    table = _table(folder, random)
    for row in _some(table, random):
        row[random.choice(list(row))] = random.choice(VALUES)


def set_a_column(folder: Folder, random: Random) -> None:
    """One value in a whole column."""
    table = _table(folder, random)
    name, value = random.choice(list(table[0])), random.choice(VALUES)
    for row in table:
        row[name] = value


def shift_years(folder: Folder, random: Random) -> None:
    """A typo in the year of some rows."""
    table = _table(folder, random)
    year = random.choice(["2027", "2062", "1926", "0026", "2025", "20026"])
    for row in _some(table, random):
        for name in row:
            if name.endswith("_at"):
                row[name] = (row[name] or "").replace("2026", year, 1)


def repeat_rows(folder: Folder, random: Random) -> None:
    """Some rows twice."""
    table = _table(folder, random)
    table.extend(dict(row) for row in _some(table, random))


def shuffle_rows(folder: Folder, random: Random) -> None:
    """All rows in another order."""
    random.shuffle(folder.shipments)
    random.shuffle(folder.events)


def remove_rows(folder: Folder, random: Random) -> None:
    """Many rows missing, or all but one."""
    table = _table(folder, random)
    del table[max(random.choice([1, len(table) // 2, len(table) - 3]), 1) :]


def remove_a_column(folder: Folder, random: Random) -> None:
    """A column missing."""
    table = _table(folder, random)
    name = random.choice(list(table[0]))
    if len(table[0]) > 1:
        for row in table:
            row.pop(name, None)


def add_a_column(folder: Folder, random: Random) -> None:
    """A column that nobody knows."""
    name = random.choice(
        ["note", "[/x]", "Ünïcode", "a b", "tracking_number", "registered_at", "x.1"]
    )
    for row in _table(folder, random):
        row[name] = random.choice(VALUES)


def order_columns(folder: Folder, random: Random) -> None:
    """The columns in another order."""
    table = _table(folder, random)
    names = random.sample(list(table[0]), len(table[0]))
    table[:] = [{name: row.get(name) for name in names} for row in table]


def rename_a_column(folder: Folder, random: Random) -> None:
    """A column with another name."""
    table = _table(folder, random)
    name = random.choice(list(table[0]))
    other = random.choice([name.upper(), f" {name} ", f"{name}2", "shipment_id", ""])
    table[:] = [{(other if key == name else key): row[key] for key in row} for row in table]


def write_otherwise(folder: Folder, random: Random) -> None:
    """Another layout of CSV."""
    folder.separator = random.choice([",", ";", "\t", "|"])
    folder.encoding = random.choice(
        ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
    )
    folder.line_end = random.choice(["\n", "\r\n", "\r"])
    folder.quotes_all = random.random() < 0.5


def damage_bytes(folder: Folder, random: Random) -> None:
    """Bytes written over, put in, or lost."""
    position, kind = random.random(), random.randrange(4)
    junk = random.choice(
        [
            b'"',
            b"\0",
            b"\xff",
            b"\xc3",
            b",",
            b"\n",
            b"\r",
            b'",',
            b'"""',
            b",,,,",
            b"\n\n",
            b"\xe9",
        ]
    )

    def damage(data: bytes) -> bytes:
        at = int(position * len(data))
        ends = {0: data[at:], 1: data[at + 1 :], 2: data[at + len(junk) :], 3: b""}
        return data[:at] + (junk if kind != 3 else b"") + ends[kind]

    folder.damages.append(damage)


def write_parquet(folder: Folder, random: Random) -> None:
    """Parquet with columns of other types."""
    folder.is_parquet = True
    for name in {name for row in (*folder.shipments[:1], *folder.events[:1]) for name in row}:
        if random.random() < 0.3:
            folder.types[name] = random.choice(TYPES)


MUTATIONS = (
    *(set_values, set_any_values, set_a_column, shift_years, repeat_rows, shuffle_rows),
    *(remove_rows, remove_a_column, add_a_column, order_columns, rename_a_column),
    *(write_otherwise, damage_bytes, write_parquet),
)


def _numbers(values: list[str | None]) -> list[int | None]:
    """Whole numbers in place of texts, the same for the same text."""
    return [None if value is None else int.from_bytes(value.encode()[-5:]) for value in values]


def _times(values: list[str | None]) -> list[datetime | None]:
    times: list[datetime | None] = []
    for value in values:
        try:
            time = datetime.fromisoformat(value or "")
            times.append(time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC))
        except (ValueError, OverflowError):
            times.append(None)
    return times


def _of(kind: pa.DataType, convert: Callable[[list[Any]], list[Any]]) -> Callable[[Any], pa.Array]:
    def array(values: list[Any]) -> pa.Array:
        try:
            return pa.array(convert(values), kind)
        except pa.ArrowInvalid:  # nanoseconds do not reach all years
            return pa.array([None] * len(values), kind)

    return array


TYPES: tuple[Callable[[list[str | None]], pa.Array], ...] = (
    _of(pa.int64(), _numbers),
    _of(pa.float64(), _numbers),
    _of(pa.float32(), lambda values: [float(at or 0) for at in _numbers(values)]),
    _of(pa.decimal128(38, 2), _numbers),
    _of(pa.large_string(), list),
    _of(pa.string_view(), list),
    _of(pa.binary(), lambda values: [value.encode() if value else None for value in values]),
    _of(pa.bool_(), lambda values: [value is not None for value in values]),
    _of(pa.null(), lambda values: [None] * len(values)),
    _of(pa.list_(pa.string()), lambda values: [[value] for value in values]),
    _of(pa.timestamp("us", tz="UTC"), _times),
    _of(pa.timestamp("ns", tz="America/Sao_Paulo"), _times),
    _of(
        pa.timestamp("ms"), lambda values: [at and at.replace(tzinfo=None) for at in _times(values)]
    ),
    _of(pa.date32(), lambda values: [at and at.date() for at in _times(values)]),
    lambda values: pa.array(values, pa.string()).dictionary_encode(),
)


def write(folder: Folder, path: Path) -> None:
    """Writes the two files."""
    for name, table in (("shipments", folder.shipments), ("events", folder.events)):
        data = _parquet(table, folder) if folder.is_parquet else _csv(table, folder)
        for damage in folder.damages if name == "events" else []:
            data = damage(data)
        suffix = "parquet" if folder.is_parquet else "csv"
        (path / f"{name}.{suffix}").write_bytes(data)


def _csv(table: list[Row], folder: Folder) -> bytes:
    text = io.StringIO()
    values = [value or "" for row in table for value in row.values()]
    has_line_ends = any("\n" in value or "\r" in value for value in values)
    writer = csv.writer(
        text,
        delimiter=folder.separator,
        lineterminator=folder.line_end,
        quoting=csv.QUOTE_ALL if folder.quotes_all or has_line_ends else csv.QUOTE_MINIMAL,
    )
    writer.writerow(list(table[0]))
    writer.writerows([["" if value is None else value for value in row.values()] for row in table])
    return text.getvalue().encode(folder.encoding, errors="replace")


def _parquet(table: list[Row], folder: Folder) -> bytes:
    columns = {}
    for name in table[0]:
        values = [row.get(name) for row in table]
        convert = folder.types.get(name)
        columns[name] = convert(values) if convert else pa.array(values, pa.string())
    data = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), data)
    return data.getvalue()


def outcome(folder: Folder, path: Path) -> Outcome:
    """Reads a written folder as commands do, and checks all that must hold."""
    try:
        dataset = read_tabular(path, now=NOW)
        timelines = Timelines.from_frames(dataset.shipments, dataset.events)
        if not len(dataset.events):
            return Outcome(dataset, timelines, "", fault_of(dataset, folder), None)
        as_of = last_normal_day(timelines.received_at, dataset.zone).day
    except EtaError as error:
        refusal = str(error)
        fault = "a pattern in an error" if _PATTERN.search(refusal) else ""
        return Outcome(None, None, refusal, fault or ("" if refusal else "no reason"), None)
    fault = fault_of(dataset, folder)
    if as_of > LAST_DAY and not fault:
        fault = f"learns through {as_of}, after the last sound row"
    return Outcome(dataset, timelines, "", fault, as_of)


def fault_of(dataset: Dataset, folder: Folder) -> str:
    """What is wrong with the counts of a data set; empty if nothing is."""
    is_row = dataset.quarantine["kind"] == "row"
    suffix = "parquet" if folder.is_parquet else "csv"
    for name, table in (("shipments", folder.shipments), ("events", folder.events)):
        file = f"{name}.{suffix}"
        counts = dataset.rows[file]
        listed = int((is_row & (dataset.quarantine["file"] == file)).sum())
        if counts.read != counts.accepted + counts.duplicate + counts.rejected:
            return f"{file}: {counts} does not add up"
        if counts.rejected != listed:
            return f"{file}: {counts.rejected} rows rejected, {listed} listed"
        if counts.read != len(table) and not (folder.damages and name == "events"):
            return f"{file}: {len(table)} rows written, {counts.read} read"
    if set(dataset.examples()) != set(dataset.rejected()):
        return "a reason without an example"
    if dataset.rows[f"shipments.{suffix}"].accepted != len(dataset.shipments):
        return "other shipments than counted"
    return ""
