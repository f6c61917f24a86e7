"""A CSV file is read whatever its encoding and separator; one bad row costs one row."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from eta.datasets.base import Dataset, Quarantine
from eta.datasets.csv_files import read_csv
from eta.datasets.tabular import read_tabular
from eta.domain.errors import SourceRejected
from support.datasets import NOW

COLUMNS = ["id", "code", "place"]
HEADER = "id,code,place\n"
ROWS = ["1,a,x", "2,b,y", "3,c,z"]
SHIPMENTS = "shipment_id,order_id,origin_country,destination_country\nA1,O1,DE,DE\nA2,O2,DE,DE\n"
EVENTS = (
    "shipment_id,event_code,occurred_at,received_at,place\n"
    "A1,accepted,2026-10-02T08:00:00Z,2026-10-02T08:00:00Z,Bad Münster\n"
    "A2,accepted,2026-10-02T09:00:00Z,2026-10-02T09:00:00Z,Höxter\n"
)


def read(folder: Path, data: bytes | str) -> tuple[pd.DataFrame, Quarantine]:
    path = folder / "file.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    quarantine = Quarantine()
    frame = read_csv(path, COLUMNS, quarantine)
    counts = quarantine.rows()["file.csv"]
    assert counts.read == len(frame) + counts.rejected
    return frame, quarantine


def rejected(quarantine: Quarantine) -> list[tuple[int, str, str]]:
    frame = quarantine.frame()
    return list(zip(frame["row"], frame["reason"], frame["content"], strict=True))


def tabular(folder: Path, events: bytes, shipments: bytes = SHIPMENTS.encode()) -> Dataset:
    (folder / "shipments.csv").write_bytes(shipments)
    (folder / "events.csv").write_bytes(events)
    return read_tabular(folder, now=NOW)


@pytest.mark.parametrize("position", [0, 1, 3])
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"half a row", "wrong_number_of_fields"),
        (b"9,d,w,more", "wrong_number_of_fields"),
        (b"9,d,w,,,", "wrong_number_of_fields"),
        (b'9,"d,w', "invalid_quotes"),
        (b'9,"d"d,"w', "invalid_quotes"),
        (b'"9,d,w', "invalid_quotes"),
        (b"9,d\0,w", "nul_byte"),
        (b"9,d\xff,w", "invalid_encoding"),
        (b"9,d\xc3\x28,\xff", "invalid_encoding"),
        (b"9," + b"d" * 3_000_000 + b",w", "row_too_long"),
    ],
)
def test_a_bad_row_costs_itself_wherever_it_is(
    tmp_path: Path, row: bytes, reason: str, position: int
) -> None:
    rows = [line.encode() for line in ROWS]
    rows.insert(position, row)
    frame, quarantine = read(tmp_path, HEADER.encode() + b"\n".join(rows) + b"\n")
    assert frame["id"].tolist() == ["1", "2", "3"]
    assert [found[:2] for found in rejected(quarantine)] == [(position, reason)]
    assert frame.index.tolist() == [number for number in range(4) if number != position]


def test_a_bad_row_beyond_the_first_block_costs_itself(tmp_path: Path) -> None:
    rows = [f"{number},a,x" for number in range(300_000)]
    rows[250_000] = "half a row"
    frame, quarantine = read(tmp_path, HEADER + "\n".join(rows))
    assert len(frame) == 299_999
    assert rejected(quarantine) == [(250_000, "wrong_number_of_fields", "half a row")]


def test_several_bad_rows_are_each_named(tmp_path: Path) -> None:
    rows = [b"1,a,x", b'2,"b,y', b"3,c", b"4,\0,z", b"5,e,v", b"6,\xff,u"]
    frame, quarantine = read(tmp_path, HEADER.encode() + b"\n".join(rows))
    assert frame["id"].tolist() == ["1", "5"]
    assert sorted(found[:2] for found in rejected(quarantine)) == [
        (1, "invalid_quotes"),
        (2, "wrong_number_of_fields"),
        (3, "nul_byte"),
        (5, "invalid_encoding"),
    ]


@pytest.mark.parametrize(
    ("place", "expected"),
    [('"x, y"', "x, y"), ('"x\ny"', "x\ny"), ('"a ""b"""', 'a "b"'), ('5" pipe', '5" pipe')],
)
def test_values_in_quotes_are_read(tmp_path: Path, place: str, expected: str) -> None:
    frame, quarantine = read(tmp_path, f"{HEADER}1,a,{place}\n2,b,y\n")
    assert frame["place"].tolist() == [expected, "y"]
    assert rejected(quarantine) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: f"\n\n{text}\n\n",
        lambda text: text.rstrip("\n"),
        lambda text: f"sep=;\n{text.replace(',', ';')}",
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", "|"),
        lambda text: text.replace("id,code,place", ' id , "code",place '),
        lambda text: text.replace("id,code,place", '"id","code","place"'),
        lambda text: "\n".join(f"{line},," for line in text.splitlines()),
    ],
)
def test_a_file_is_read_in_any_common_layout(tmp_path: Path, change: Callable[[str], str]) -> None:
    frame, quarantine = read(tmp_path, change(HEADER + "\n".join(ROWS) + "\n"))
    assert frame.to_numpy().tolist() == [row.split(",") for row in ROWS]
    assert rejected(quarantine) == []


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("latin-1", b""),
        ("cp1252", b""),
    ],
)
def test_a_file_is_read_in_any_common_encoding(tmp_path: Path, encoding: str, mark: bytes) -> None:
    data = tabular(tmp_path, mark + EVENTS.encode(encoding))
    assert data.events["place"].tolist() == ["Bad Münster", "Höxter"]
    assert data.rejected() == {}
    is_utf8 = encoding == "utf-8"
    assert [text for text in data.warnings if "was read so" in text] == (
        []
        if is_utf8
        else [f"events.csv is in {encoding.replace('latin-1', 'cp1252')} and was read so"]
    )


def test_a_damaged_letter_in_a_utf_8_file_is_not_taken_for_latin(tmp_path: Path) -> None:
    data = tabular(tmp_path, EVENTS.encode().replace("Höxter".encode(), b"H\xf6xter"))
    assert data.events["place"].tolist() == ["Bad Münster"]
    assert data.rejected() == {"invalid_encoding": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file.csv is empty; its first line should name the columns: id, code, place"),
        (b" \n\n", "file.csv is empty; its first line should name the columns: id, code, place"),
        (b"id,code\n1,a\n", "file.csv lacks a column: place; it should have id, code, place, and"),
        (b"1,a,x\n", "file.csv lacks a column: id"),
        (b"id,code,place,id\n1,a,x,1\n", "file.csv has the column id twice; remove one of them"),
        (b"PK\x03\x04....", "file.csv is no text but an Excel workbook or a ZIP archive; save it"),
        (b"\x1f\x8b....", "file.csv is no text but compressed; save it as CSV in UTF-8"),
        (b"PAR1....", "file.csv is no text but a Parquet file; save it as CSV in UTF-8"),
        (b"\xff\xfe", "file.csv is empty"),
        (bytes(range(256)) * 20, "file.csv lacks a column: id"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_to_do(
    tmp_path: Path, data: bytes, message: str
) -> None:
    with pytest.raises(SourceRejected) as raised:
        read(tmp_path, data)
    assert str(raised.value).startswith(message)


def test_a_header_alone_is_a_file_without_rows(tmp_path: Path) -> None:
    for data in (HEADER, HEADER.rstrip("\n"), f"{HEADER}\n\n"):
        frame, quarantine = read(tmp_path, data)
        assert (len(frame), list(frame)) == (0, COLUMNS)
        assert quarantine.rows()["file.csv"].read == 0


def test_a_column_that_nobody_reads_may_come_twice(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, "id,note,code,note,place\n1,n,a,m,x\n")
    assert frame.to_numpy().tolist() == [["1", "a", "x"]]


def test_the_folder_must_hold_the_files(tmp_path: Path) -> None:
    with pytest.raises(SourceRejected, match="does not exist; name the folder that holds"):
        read_tabular(tmp_path / "nowhere", now=NOW)
    (tmp_path / "scans.csv").write_text(EVENTS)
    with pytest.raises(SourceRejected, match=r"is a file; name the folder"):
        read_tabular(tmp_path / "scans.csv", now=NOW)
    with pytest.raises(SourceRejected, match=r"should hold shipments.*it holds scans\.csv"):
        read_tabular(tmp_path, now=NOW)
    (tmp_path / "shipments.tsv").write_text(SHIPMENTS.replace(",", "\t"))
    (tmp_path / "events.tsv").write_text(EVENTS.replace(",", "\t"), encoding="utf-8")
    assert read_tabular(tmp_path, now=NOW).rejected() == {}
