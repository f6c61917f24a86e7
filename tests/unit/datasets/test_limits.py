"""Files that are too large, or unpack to too much, are refused before they take memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eta import files, parquet
from eta.datasets import csv_files
from eta.datasets.base import Dataset
from eta.datasets.scms import read_scms
from eta.datasets.tabular import read_tabular
from eta.domain.errors import SourceRejected
from eta.parquet import TOO_LONG

NOW = datetime(2026, 11, 27, tzinfo=UTC)
HEADER = "shipment_id,event_code,occurred_at,received_at,place\n"
ROW = "A,accepted,2026-11-02T10:00:00Z,2026-11-02T10:00:00Z,"
SHIPMENTS = (
    "shipment_id,order_id,origin_country,destination_country,ordered_at\n"
    "A,A,AT,DE,2026-11-01T10:00:00Z\n"
)

#: Reads each folder that is named, and prints what came of it and the peak of memory in MiB.
CHILD = r"""
import json, re, sys
from datetime import UTC, datetime
from pathlib import Path
from eta.datasets.tabular import read_tabular
from eta.domain.errors import SourceRejected

results = {}
for name in sys.argv[1:]:
    try:
        found = read_tabular(Path(name), now=datetime(2026, 11, 27, tzinfo=UTC))
        results[Path(name).name] = json.dumps(found.rejected())
    except SourceRejected as error:
        results[Path(name).name] = str(error)
[peak] = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(json.dumps([results, int(peak) >> 10]))
"""


def same(text: str, count: int) -> pa.DictionaryArray:
    """The same text many times, which a file holds once."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([text]))


def events(count: int, **columns: object) -> pa.Table:
    moment = same("2026-11-02T10:00:00Z", count)
    required = {"shipment_id": same("A", count), "event_code": same("accepted", count)}
    return pa.table({**required, "occurred_at": moment, **columns})


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a folder with a shipment."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.mkdir()
        (path / "shipments.csv").write_text(SHIPMENTS, encoding="utf-8")
        return path

    return make


def written(folder: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, folder / "events.parquet", compression="zstd", **options)
    return folder


def read(folder: Path) -> Dataset:
    return read_tabular(folder, now=NOW)


def read_events(folder: Path, text: str) -> Dataset:
    (folder / "events.csv").write_text(text, encoding="utf-8")
    return read(folder)


def test_small_files_that_unpack_to_gigabytes_take_little_memory(
    folder: Callable[[str], Path],
) -> None:
    long = "x" * 1_000_000
    bombs = [
        written(folder("rows"), events(6_000_000), row_group_size=6_000_000),
        written(folder("texts"), events(500_000, place=same("x" * 900, 500_000))),
        written(folder("long"), events(20_000, place=same(long, 20_000))),
        written(folder("bytes"), events(300_000, place=same("x" * 999, 300_000).cast(pa.binary()))),
    ]
    assert max((bomb / "events.parquet").stat().st_size for bomb in bombs) < 1 << 20
    command = [sys.executable, "-c", CHILD, *map(str, bombs)]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    results, peak = json.loads(output)
    beyond = "events.parquet: it unpacks to more than 256 MiB, the limit for its size; split it"
    assert results == {
        "rows": "events.parquet: it has more than 5,000,000 rows, the limit; split it",
        "texts": beyond,
        "long": '{"too_long_place": 20000}',
        "bytes": beyond,
    }
    assert peak < 600


def test_a_row_with_a_text_that_is_too_long_is_rejected_alone(
    folder: Callable[[str], Path],
) -> None:
    place = pa.array(["x" * 1_000, "x" * 1_001, None])
    moments = pa.array([f"2026-11-02T1{hour}:00:00Z" for hour in range(3)])
    table = events(3, place=place).set_column(2, "occurred_at", moments)
    rows = moments.to_pylist()
    lines = [f"A,accepted,{rows[0]},,{'x' * 1_000}\n", f"A,accepted,{rows[1]},,{'x' * 1_001}\n"]
    text = HEADER + "".join(lines) + f"A,accepted,{rows[2]},,\n"
    for found in (read(written(folder("parquet"), table)), read_events(folder("csv"), text)):
        assert found.rejected() == {"too_long_place": 1}
        assert TOO_LONG in found.quarantine["content"].iloc[0]
        assert found.quarantine["row"].tolist() == [1]
        is_scan = found.events["event_code"] == "accepted"
        assert found.events.loc[is_scan, "place"].str.len().fillna(0).tolist() == [1_000, 0]


def test_a_large_text_that_is_not_repeated_is_refused_by_the_footer(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_MIN_UNPACKED", 1 << 20)
    texts = pa.array(["x" * 500_000] * 3)
    path = written(folder("x"), events(3, place=texts), use_dictionary=False)
    with pytest.raises(SourceRejected, match="unpacks to more than 1 MiB, the limit for its size"):
        read(path)


ENCODINGS = ("PLAIN", "RLE_DICTIONARY", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_of_every_encoding_are_read_within_the_limits(
    folder: Callable[[str], Path], encoding: str
) -> None:
    places = [f"hub {number}" for number in range(100)] + [None, "y" * 1_001]
    moments = pa.array([f"2026-11-02T10:{n // 60:02d}:{n % 60:02d}Z" for n in range(102)])
    table = events(102, place=pa.array(places)).set_column(2, "occurred_at", moments)
    options: dict[str, object] = {"use_dictionary": True}
    if encoding != "RLE_DICTIONARY":
        repeated = ["shipment_id", "event_code"]
        options = {"use_dictionary": repeated, "column_encoding": {"place": encoding}}
    found = read(written(folder("x"), table, **options))
    assert found.rejected() == {"too_long_place": 1}
    is_scan = found.events["event_code"] == "accepted"
    assert found.events.loc[is_scan, "place"].fillna("").tolist() == [*places[:100], ""]


def test_texts_that_repeat_the_one_before_are_bounded(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = pa.array(["x" * 200_000 + str(number) for number in range(300)])
    options = {"use_dictionary": False, "column_encoding": {"place": "DELTA_BYTE_ARRAY"}}
    path = written(folder("x"), events(300, place=texts), **options)
    assert (path / "events.parquet").stat().st_size < 20_000
    assert read(path).rejected() == {"too_long_place": 300}
    monkeypatch.setattr(parquet, "_MAX_DELTA_BYTES", 100_000)
    with pytest.raises(SourceRejected, match="encoded as DELTA; write smaller row groups"):
        read(path)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (pa.array([["a"]]), r"events\.parquet: place holds values with parts"),
        (pa.array([{"a": 1}]), r"events\.parquet: place holds values with parts"),
    ],
    ids=["list", "struct"],
)
def test_values_with_parts_are_refused_before_they_are_read(
    folder: Callable[[str], Path], column: pa.Array, problem: str
) -> None:
    with pytest.raises(SourceRejected, match=problem):
        read(written(folder("x"), events(1, place=column)))


def test_thousands_of_columns_are_refused(folder: Callable[[str], Path]) -> None:
    more = {f"x{number}": pa.array([1]) for number in range(1_000)}
    with pytest.raises(SourceRejected, match="it has more than 1,000 columns, the limit"):
        read(written(folder("parquet"), events(1, **more)))
    with pytest.raises(SourceRejected, match="it has more than 1,000 columns, the limit"):
        read_events(folder("csv"), HEADER.strip() + "," * 1_000 + "\n")
    with pytest.raises(SourceRejected, match="its first line is longer than 100,000 bytes"):
        read_events(folder("line"), "x" * 100_001)


def test_too_many_lines_or_bytes_of_a_csv_are_refused(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_files, "MAX_ROWS", 10)
    assert len(read_events(folder("ten"), HEADER + 10 * (ROW + "\n")).events)
    with pytest.raises(SourceRejected, match="it has more than 10 lines, the limit; split it"):
        read_events(folder("eleven"), HEADER + 11 * "\n")
    monkeypatch.setattr(csv_files, "MAX_FILE_BYTES", 1 << 20)
    with pytest.raises(SourceRejected, match="it is larger than 1 MiB, the limit; split it"):
        read_events(folder("large"), HEADER + "x" * (1 << 20))
    assert files.MAX_ROWS == 5_000_000


def test_a_field_of_megabytes_is_one_rejected_row(folder: Callable[[str], Path]) -> None:
    text = f'{HEADER}{ROW}\n{ROW}"{"x" * 5_000_000}"\n{ROW}home\n'
    found = read_events(folder("x"), text)
    assert found.rejected() == {"row_too_long": 1}
    assert len(found.quarantine["content"].iloc[0]) < 200_000
    assert found.rows["events.csv"].accepted == 2


def test_blank_lines_before_the_header_are_passed_over_in_one_go(
    folder: Callable[[str], Path],
) -> None:
    assert len(read_events(folder("x"), "\n" * 1_000_000 + HEADER + ROW).events) == 2


def test_pipes_devices_and_folders_are_no_data(folder: Callable[[str], Path]) -> None:
    path = folder("x")
    os.mkfifo(path / "events.csv")
    with pytest.raises(SourceRejected, match="should hold events"):
        read(path)
    (path / "events.csv").unlink()
    (path / "events.parquet").symlink_to("/dev/zero")
    with pytest.raises(SourceRejected, match="should hold events"):
        read(path)
    os.mkfifo(path / "pipe.csv")
    for name in ("pipe.csv", "events.parquet"):
        with pytest.raises(SourceRejected, match=r"it is a (pipe|device); name a file"):
            read_scms(path / name, now=NOW)
