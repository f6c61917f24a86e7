"""Parquet columns of any plain type are read without loss."""

from __future__ import annotations

import decimal
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from eta.datasets.base import Dataset
from eta.datasets.tabular import read_tabular
from eta.domain.errors import NaiveColumn, SourceRejected
from support.datasets import NOW

ORDERED = datetime(2026, 10, 1, 8, tzinfo=UTC)
BIG = 2**53


def folder_of(folder: Path, **columns: pa.Array) -> Path:
    """Three shipments, each with one scan; ``columns`` replace those of shipments or of scans."""
    ids = columns.get("shipment_id", pa.array(["a", "b", "c"]))
    shipments = {
        "shipment_id": ids,
        "order_id": pa.array(["o1", "o2", "o3"]),
        "origin_country": pa.array(["DE"] * 3),
        "destination_country": pa.array(["DE"] * 3),
    }
    times = pa.array([ORDERED] * 3, pa.timestamp("us", tz="UTC"))
    events = {
        "shipment_id": ids,
        "event_code": pa.array(["accepted"] * 3),
        "occurred_at": times,
        "received_at": times,
    }
    for name, column in columns.items():
        is_of_events = name in events or name in ("raw_code", "place", "is_received_at_assumed")
        (events if is_of_events else shipments)[name] = column
    pyarrow.parquet.write_table(pa.table(shipments), folder / "shipments.parquet")
    pyarrow.parquet.write_table(pa.table(events), folder / "events.parquet")
    return folder


def dataset(folder: Path, **columns: pa.Array) -> Dataset:
    data = read_tabular(folder_of(folder, **columns), now=NOW)
    for counts in data.rows.values():
        assert counts.read == counts.accepted + counts.duplicate + counts.rejected == 3
    return data


def texts(data: Dataset, name: str) -> list[str | None]:
    frame = data.shipments if name in data.shipments else data.events
    return [None if pd.isna(value) else value for value in frame[name]]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1000, None, 1002]), ["1000", "1002"]),
        (pa.array([BIG, BIG + 1, BIG + 2]), [str(BIG), str(BIG + 1), str(BIG + 2)]),
        (pa.array([BIG + 1, None, BIG + 3]), [str(BIG + 1), str(BIG + 3)]),
        (pa.array([2**64 - 1, None, 1], pa.uint64()), [str(2**64 - 1), "1"]),
        (pa.array([7, 8, None], pa.int8()), ["7", "8"]),
        (pa.array([1000.0, None, 1002.0]), ["1000", "1002"]),
        (pa.array([1000.0, 1001.5, float("nan")]), ["1000", "1001.5"]),
        (pa.array([decimal.Decimal(1000), None, decimal.Decimal(1002)]), ["1000", "1002"]),
        (pa.array([decimal.Decimal("10.00"), decimal.Decimal("9.50"), None]), ["10", "9.50"]),
        (pa.array(["x", "y", None]).dictionary_encode(), ["x", "y"]),
        (pa.array([10, 11, None]).dictionary_encode(), ["10", "11"]),
        (pa.array(["x", "", None], pa.large_string()), ["x"]),
        (pa.array(["x", " ", "y"], pa.string_view()), ["x", "y"]),
        (pa.array([b"x", None, b"y"]), ["x", "y"]),
        (pa.array([b"xx", None, b"yy"], pa.binary(2)), ["xx", "yy"]),
        (pa.array([True, False, None]), ["true", "false"]),
        (pa.array([date(2026, 1, 1), date(2026, 1, 2), None]), ["2026-01-01", "2026-01-02"]),
    ],
)
def test_an_identifier_of_any_type_stays_as_it_is(
    tmp_path: Path, column: pa.Array, expected: list[str]
) -> None:
    data = dataset(tmp_path, shipment_id=column)
    assert texts(data, "shipment_id") == expected
    assert data.events["shipment_id"].tolist() == expected
    lost = 3 - len(expected)
    assert data.rejected() == (
        {"no_shipment_id": lost, "event_of_no_shipment": lost} if lost else {}
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.0, 2.0, 2.0**53 + 2]),
        pa.array([1.0, 2.0, float("inf")]),
        pa.array([1.0, 2.0, 2.0**24 + 2], pa.float32()),
        pa.array([b"1", b"2", b"\xff"]),
        pa.array(["1", "2", "3\0"]),
    ],
)
def test_an_ambiguous_identifier_costs_its_row(tmp_path: Path, column: pa.Array) -> None:
    data = dataset(tmp_path, shipment_id=column)
    assert texts(data, "shipment_id") == ["1", "2"]
    assert data.rejected() == {"ambiguous_shipment_id": 2}


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("destination_postcode", pa.array([10115, None, 10117]), ["10115", None, "10117"]),
        ("origin_postcode", pa.array([10115.0, None, 10117.0]), ["10115", None, "10117"]),
        ("order_id", pa.array([5001, 5002, 5003]), ["5001", "5002", "5003"]),
        ("carrier", pa.array([None] * 3), [None] * 3),
        ("carrier", pa.array([1.0, 1e300, None]), ["1", None, None]),
        ("weight_kg", pa.array([1, None, 3]), [1.0, None, 3.0]),
        (
            "weight_kg",
            pa.array([decimal.Decimal("1.5"), None, decimal.Decimal("2.5")]),
            [1.5, None, 2.5],
        ),
        ("weight_kg", pa.array(["1.5", "2", None]), [1.5, 2.0, None]),
        ("weight_kg", pa.array([1.5, 2.0, None], pa.float32()), [1.5, 2.0, None]),
        ("weight_kg", pa.array([True, None, None]), [None] * 3),
        ("package_count", pa.array([1, 2, None], pa.uint8()), [1.0, 2.0, None]),
        ("has_several_origins", pa.array([True, False, None]), [True, False, False]),
        ("has_several_origins", pa.array([1, 0, None]), [True, False, False]),
        ("has_several_origins", pa.array([1.0, 0.0, None]), [True, False, False]),
        ("place", pa.array([1, 2, None]), ["1", "2", None]),
        ("raw_code", pa.array([10.0, 20.0, None]), ["10", "20", None]),
    ],
)
def test_values_of_any_plain_type_are_read(
    tmp_path: Path, name: str, column: pa.Array, expected: list[Any]
) -> None:
    data = dataset(tmp_path, **{name: column})
    assert texts(data, name) == expected


def test_an_identifier_may_be_a_uuid(tmp_path: Path) -> None:
    numbers = [uuid.UUID(int=number) for number in range(3)]
    column = pa.array([number.bytes for number in numbers], pa.uuid())
    data = dataset(tmp_path, shipment_id=column)
    assert texts(data, "shipment_id") == [str(number) for number in numbers]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "+02:00", "America/Sao_Paulo"])
def test_times_of_any_unit_and_zone_are_instants(tmp_path: Path, unit: str, zone: str) -> None:
    column = pa.array([ORDERED] * 3, pa.timestamp(unit, tz=zone))
    data = dataset(tmp_path, occurred_at=column, received_at=column, ordered_at=column)
    assert data.rejected() == {}
    assert set(data.events["occurred_at"]) == {pd.Timestamp(ORDERED)}
    assert data.shipments["ordered_at"].tolist() == [pd.Timestamp(ORDERED)] * 3


def test_an_impossible_time_costs_its_row(tmp_path: Path) -> None:
    counts = pa.array([int(ORDERED.timestamp()) * 1000, 2**62, -(2**62)])
    column = counts.cast(pa.timestamp("ms", tz="UTC"))
    data = dataset(tmp_path, occurred_at=column, received_at=column)
    assert data.rejected() == {"implausible_received_at": 2}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([date(2026, 10, 5)] * 3), "2026-10-05"),
        (pa.array([date(2026, 10, 5)] * 3, pa.date64()), "2026-10-05"),
        (pa.array([np.datetime64("2026-10-05", "us")] * 3), "2026-10-05"),
        (
            pa.array([datetime(2026, 10, 5, tzinfo=UTC)] * 3, pa.timestamp("ms", "UTC")),
            "2026-10-05",
        ),
        (pa.array(["2026-10-05"] * 3), "2026-10-05"),
        (pa.array(["2026-10-05"] * 3).dictionary_encode(), "2026-10-05"),
    ],
)
def test_dates_of_any_type_are_dates(tmp_path: Path, column: pa.Array, expected: str) -> None:
    data = dataset(tmp_path, promised_on=column)
    assert data.rejected() == {}
    assert set(data.shipments["promised_on"]) == {pd.Timestamp(expected)}


def test_a_promised_instant_within_a_day_is_no_date(tmp_path: Path) -> None:
    column = pa.array([ORDERED, None, None], pa.timestamp("us", "UTC"))
    data = dataset(tmp_path, promised_on=column)
    assert data.rejected() == {"unreadable_promised_on": 1}
    assert data.shipments["promised_on"].isna().all()


@pytest.mark.parametrize("name", ["place", "carrier", "shipment_id", "occurred_at", "weight_kg"])
@pytest.mark.parametrize(
    "column", [pa.array([["x"], None, ["y"]]), pa.array([{"x": 1}, {"x": 2}, None])]
)
def test_values_with_parts_are_refused_by_name(tmp_path: Path, name: str, column: pa.Array) -> None:
    with pytest.raises(SourceRejected, match=rf"\.parquet: {name} holds values with parts"):
        dataset(tmp_path, **{name: column})


def test_times_without_a_zone_are_refused_unless_all_are_missing(tmp_path: Path) -> None:
    naive = pa.array([np.datetime64("2026-10-01", "us")] * 3, pa.timestamp("us"))
    for column in (naive, naive.cast(pa.date32()), naive.cast(pa.string())):
        with pytest.raises(NaiveColumn, match=r"^received_at: .*\.parquet .* 2026-10-01"):
            dataset(tmp_path, received_at=column)
    data = dataset(tmp_path, received_at=pa.array([None] * 3, pa.timestamp("ns")))
    assert data.warnings["received_at_assumed"] == 3


def test_texts_of_another_encoding_cost_their_row(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"b\xff", b"c"])
    column = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    data = dataset(tmp_path, shipment_id=column)
    assert texts(data, "shipment_id") == ["a", "c"]


def test_a_file_of_pandas_is_read_without_its_index(tmp_path: Path) -> None:
    folder_of(tmp_path)
    for name in ("shipments", "events"):
        frame = pd.read_parquet(tmp_path / f"{name}.parquet").set_index("shipment_id")
        frame.to_parquet(tmp_path / f"{name}.parquet")
    assert len(read_tabular(tmp_path, now=NOW).shipments) == 3


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"a,b\n1,2\n"])
def test_a_damaged_file_is_named(tmp_path: Path, data: bytes) -> None:
    folder_of(tmp_path)
    (tmp_path / "events.parquet").write_bytes(data)
    with pytest.raises(SourceRejected, match=r"events\.parquet: it cannot be read as Parquet"):
        read_tabular(tmp_path, now=NOW)


def test_damage_in_the_middle_of_a_file_is_no_traceback(tmp_path: Path) -> None:
    whole = (folder_of(tmp_path) / "events.parquet").read_bytes()
    for position in np.linspace(4, len(whole) - 5, 60).astype(int):
        data = bytearray(whole)
        data[position] ^= 0xFF
        (tmp_path / "events.parquet").write_bytes(bytes(data))
        try:
            counts = read_tabular(tmp_path, now=NOW).rows["events.parquet"]
        except (SourceRejected, NaiveColumn):
            continue
        assert counts.read == counts.accepted + counts.duplicate + counts.rejected
