"""CSV files: their encoding, their separator, and the rows that cannot be parsed.

A row that cannot be parsed is rejected alone, wherever it is. UTF-8, UTF-16, UTF-32 and
Windows-1252 (Latin-1) are read, separated by commas, semicolons, tabs or bars.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from eta.datasets.base import Quarantine
from eta.domain.errors import FileRejected, SourceRejected
from eta.files import MAX_COLUMNS, MAX_FILE_BYTES, MAX_ROWS, MAX_TEXT_BYTES, read_regular
from eta.parquet import TOO_LONG

TEXT_TYPE = pd.StringDtype(na_value=np.nan)

#: Starts of files that are no text, and what they are.
_BINARY = {
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "compressed",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
}
#: Byte-order marks, the longest first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: Letters of Western European languages in Windows-1252, except the rarest.
_LATIN_LETTERS = frozenset({0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, *range(0xC0, 0xFE)} - {0xD7, 0xF7})

#: Other characters of such texts: the euro, quotes, dashes, blanks, ordinals, degrees.
_LATIN_SIGNS = frozenset({0x80, *range(0x91, 0x98), 0xA0, 0xA1, 0xAA, 0xB0, 0xB4, 0xBA, 0xBF})

_ASCII = bytes(range(0x80))
#: A letter beyond ASCII in UTF-8.
_UTF8_LETTER = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)

#: A longer row, in bytes, is rejected; a value in quotes goes over so many lines at most.
_MAX_ROW_BYTES, _MAX_LINES = 100_000, 20
#: Most bytes that are looked at to find an encoding without a mark.
_SAMPLE_BYTES = 4_096
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with its header."""

    path: Path
    header: tuple[str, ...]
    separator: str
    #: The rows after the header in UTF-8, except for bytes that belong to no text.
    body: bytes
    #: How the file differs from UTF-8 separated by commas.
    notes: tuple[str, ...]

    @classmethod
    def open(cls, path: Path, columns: Sequence[str]) -> CsvFile:
        """The file; ``columns`` are those that its header may name.

        Raises:
            SourceRejected: if it is absent, empty, or no text.
        """
        data, encoding = _in_utf8(path)
        first, body = _split_header(data)
        _check_limits(path, first, body)
        headers = {mark: _names(first.decode(errors="replace"), mark) for mark in _SEPARATORS}
        separator = max(headers, key=lambda mark: len(set(headers[mark]) & set(columns)))
        if not any(headers[separator]):
            hint = f"its first line should name the columns: {', '.join(columns)}"
            raise SourceRejected(f"{path.name} is empty; {hint}")
        notes = []
        if encoding != "utf-8":
            notes.append(f"{path.name} is in {encoding} and was read so")
        if separator != ",":
            notes.append(f"{path.name} is separated by {_SEPARATORS[separator]} and was read so")
        return cls(path, headers[separator], separator, body, tuple(notes))

    def read(self, columns: Sequence[str], quarantine: Quarantine) -> pd.DataFrame:
        """The named columns as text; rows that cannot be parsed go to quarantine.

        The index is the number of the row in the file, 0 for the first; an empty field is missing.

        Raises:
            SourceRejected: if the header lacks a column or names it twice.
        """
        for name in columns:
            check_column(self.path, name, columns, self.header)
        rejected: dict[int, tuple[str, str]] = {}
        table = self._parse(self.body, columns, rejected)
        if table is None or not self._is_certain(len(table) + len(rejected)):
            table = self._parse_line_by_line(columns, rejected)
        quarantine.count_read(self.path.name, len(table) + len(rejected))
        quarantine.warnings |= dict.fromkeys(self.notes, 1)
        _reject(self.path.name, rejected, quarantine)
        frame: pd.DataFrame = table.to_pandas(types_mapper={pa.string(): TEXT_TYPE}.get)
        if rejected:
            numbers = np.delete(np.arange(len(table) + len(rejected)), list(rejected))
            frame = frame.set_axis(numbers)
        return self._without_too_long(frame, table, quarantine)

    def _without_too_long(
        self, frame: pd.DataFrame, table: pa.Table, quarantine: Quarantine
    ) -> pd.DataFrame:
        """The rows without a text that is longer than the limit; rejects the others."""
        for name in table.column_names:
            lengths = pc.fill_null(pc.binary_length(table[name]), 0)
            is_too_long = pd.Series(pc.greater(lengths, MAX_TEXT_BYTES).to_numpy(), frame.index)
            if is_too_long.any():
                shown = frame.assign(**{name: frame[name].mask(is_too_long, TOO_LONG)})
                reason = {f"too_long_{name}": is_too_long}
                frame = quarantine.reject_rows(self.path.name, shown, reason)
                table = table.filter(pa.array(~is_too_long))
        return frame

    def _is_certain(self, rows: int) -> bool:
        """Whether each of so many rows is one line, and the last one has no open quote."""
        last = self.body[-_MAX_ROW_BYTES:].strip(b"\r\n").rpartition(b"\n")[2]
        is_open = b'"' in last and not _lines_of_row([last], self.separator, len(self.header))
        return rows == _row_count(self.body) and not is_open

    def _parse_line_by_line(
        self, columns: Sequence[str], rejected: dict[int, tuple[str, str]]
    ) -> pa.Table:
        """The same where a row cannot be told from the next, or is no text."""
        rejected.clear()
        rows = list(_rows(self.body.splitlines(), self.separator, len(self.header)))
        sound = [number for number, (reason, _) in enumerate(rows) if not reason]
        invalid: dict[int, tuple[str, str]] = {}
        body = b"\n".join(rows[number][1] for number in sound)
        table = self._parse(body, columns, invalid)
        if table is None:
            raise SourceRejected(
                f"{self.path.name} cannot be read as CSV; save it again as CSV in UTF-8"
            )
        for number, (reason, line) in enumerate(rows):
            if reason:
                rejected[number] = (reason, line[:_MAX_ROW_BYTES].decode(errors="replace"))
        rejected |= {sound[number]: reason for number, reason in invalid.items()}
        return table

    def _parse(
        self, body: bytes, columns: Sequence[str], rejected: dict[int, tuple[str, str]]
    ) -> pa.Table | None:
        """The named columns of rows; None if some are no text or cannot be told apart."""

        def on_invalid_row(row: pyarrow.csv.InvalidRow) -> str:
            rejected[row.number - 1] = ("wrong_number_of_fields", row.text)
            return "skip"

        if not body.strip():
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        # A name that the file has twice, but nobody reads, may not be repeated.
        names = list(map(str, range(len(self.header))))
        for name in columns:
            names[self.header.index(name)] = name
        options = pyarrow.csv.ParseOptions(
            delimiter=self.separator, newlines_in_values=True, invalid_row_handler=on_invalid_row
        )
        try:
            is_text = b"\0" not in body and _is_utf8(body)
            return _parse(body, names, columns, options) if is_text else None
        except pa.ArrowInvalid:
            return None


def _parse(
    body: bytes,
    names: Sequence[str],
    columns: Sequence[str],
    parse_options: pyarrow.csv.ParseOptions,
) -> pa.Table:
    """The named columns as text; an empty field is missing."""
    read_options = pyarrow.csv.ReadOptions(use_threads=False, column_names=list(names))
    convert_options = pyarrow.csv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    return pyarrow.csv.read_csv(
        pa.BufferReader(body),
        read_options=read_options,
        parse_options=parse_options,
        convert_options=convert_options,
    )


def read_csv(path: Path, columns: Sequence[str], quarantine: Quarantine) -> pd.DataFrame:
    """The named columns of a CSV file as text; rows that cannot be parsed go to quarantine.

    Raises:
        SourceRejected: if the file is absent, is no CSV, or lacks a column.
    """
    return CsvFile.open(path, columns).read(columns, quarantine)


def check_column(path: Path, name: str, required: Sequence[str], header: Sequence[str]) -> None:
    """Checks that a header names a column once.

    Raises:
        SourceRejected: if it does not.
    """
    if name not in header:
        raise SourceRejected(
            f"{path.name} lacks a column: {name}; it should have {', '.join(required)}, and has "
            + ", ".join(header[:50])
        )
    if list(header).count(name) > 1:
        raise SourceRejected(f"{path.name} has the column {name} twice; remove one of them")


def _check_limits(path: Path, header: bytes, body: bytes) -> None:
    """Checks how large a file is before its rows are read.

    Raises:
        SourceRejected: if it is too large; names the limit.
    """
    problem = ""
    if len(header) > _MAX_ROW_BYTES:
        problem = f"its first line is longer than {_MAX_ROW_BYTES:,} bytes"
    elif max(map(header.count, map(str.encode, _SEPARATORS))) >= MAX_COLUMNS:
        problem = f"it has more than {MAX_COLUMNS:,} columns"
    elif _row_count(body) > MAX_ROWS:
        problem = f"it has more than {MAX_ROWS:,} lines"
    if problem:
        raise SourceRejected(f"{path.name}: {problem}, the limit; split it")


def _in_utf8(path: Path) -> tuple[bytes, str]:
    """The bytes of a text file in UTF-8 without a mark, and the encoding that it has."""
    if not path.exists():
        raise SourceRejected(f"{path} does not exist; name the folder that holds {path.name}")
    try:
        data = read_regular(path, max_bytes=MAX_FILE_BYTES)
    except FileRejected as error:
        raise SourceRejected(str(error)) from None
    for start, kind in _BINARY.items():
        if data.startswith(start):
            raise SourceRejected(f"{path.name} is no text but {kind}; save it as CSV in UTF-8")
    encoding = _encoding(data)
    for mark in _MARKS:
        data = data.removeprefix(mark) if _MARKS[mark] == encoding else data
    if encoding != "utf-8":
        data = data.decode(encoding, errors="replace").encode()
    return data, encoding


def _encoding(data: bytes) -> str:
    """The encoding of a text; ``utf-8`` also if some bytes of it are damaged."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    sample = data[:_SAMPLE_BYTES]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if 2 * sample[first::2].count(0) > len(sample[first::2]) > 0:
            return encoding
    return "cp1252" if not _is_utf8(data) and _is_latin(data) else "utf-8"


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _BLOCK_BYTES):
            decoder.decode(data[start : start + _BLOCK_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_latin(data: bytes) -> bool:
    """Whether a text that is not in UTF-8 is in Windows-1252: its foreign bytes are as there."""
    foreign = set(data.translate(None, _ASCII))
    has_letters = not foreign.isdisjoint(_LATIN_LETTERS)
    is_latin = has_letters and foreign <= _LATIN_LETTERS | _LATIN_SIGNS
    # If any letter beyond ASCII was written in UTF-8, the others are damaged.
    return is_latin and not _UTF8_LETTER.search(data)


def _split_header(data: bytes) -> tuple[bytes, bytes]:
    """The header, which starts in the first line that holds anything, and the rest."""
    if b"\r" in data.partition(b"\n")[0].rstrip(b"\r\n"):
        # Lines end as on old Macintoshes.
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        line = data[start:end]
        if line.strip() and not line.lower().startswith(b"sep="):
            return _whole_header(line, data[end + 1 :])
        start = end + 1
    return b"", b""


def _whole_header(line: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The header, with further lines of names in quotes, and the rest."""
    header, rest = line, data
    for _ in range(_MAX_LINES):
        if header.count(b'"') % 2 == 0:
            return header.strip(b"\r\n"), rest
        more, _, rest = rest.partition(b"\n")
        header += b"\n" + more
    return line.strip(b"\r\n"), data


def _names(line: str, separator: str) -> tuple[str, ...]:
    """The names of the columns in a header."""
    try:
        names = next(csv.reader(_with_ends(line.split("\n")), delimiter=separator), [])
    except csv.Error:
        return ()
    return tuple(name.strip(' \t"') for name in names)


def _row_count(body: bytes) -> int:
    """The number of rows if each of them is one line."""
    return body.count(b"\n") + (len(body) > 0 and not body.endswith(b"\n"))


def _rows(lines: Sequence[bytes], separator: str, width: int) -> Iterator[tuple[str, bytes]]:
    """The rows, each with the reason to reject it, empty for a sound one."""
    number = 0
    while number < len(lines):
        line, count = lines[number], 1
        reason = _reason(line)
        if not reason and b'"' in line:
            count = _lines_of_row(lines[number : number + _MAX_LINES], separator, width)
            reason = "" if count else "invalid_quotes"
        count = max(count, 1)
        if line:
            yield reason, b"\n".join(lines[number : number + count])
        number += count


def _reason(line: bytes) -> str:
    """Why a line is no row, whatever its fields are; empty if nothing is wrong."""
    if b"\0" in line:
        return "nul_byte"
    if len(line) > _MAX_ROW_BYTES:
        return "row_too_long"
    try:
        is_text = line.isascii() or "\ufffd" not in line.decode()
    except UnicodeDecodeError:
        is_text = False
    return "" if is_text else "invalid_encoding"


def _lines_of_row(lines: Sequence[bytes], separator: str, width: int) -> int:
    """How many lines the row takes that starts in the first one; 0 if its quotes are wrong."""
    for count in range(1, len(lines) + 1):
        try:
            texts = [line.decode() for line in lines[:count]]
            fields = next(csv.reader(_with_ends(texts), delimiter=separator, strict=True))
        except UnicodeDecodeError:
            return 0
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                return 0
        else:
            return count if count == 1 or len(fields) == width else 0
    return 0


def _with_ends(texts: Iterable[str]) -> Iterator[str]:
    """Lines as a reader of CSV expects them."""
    return (f"{text}\n" for text in texts)


def _reject(file: str, rejected: dict[int, tuple[str, str]], quarantine: Quarantine) -> None:
    """Puts rows that could not be parsed into quarantine."""
    numbers = sorted(rejected)
    reasons = np.array([rejected[number][0] for number in numbers], dtype=object)
    lines = pd.DataFrame({"line": [rejected[number][1] for number in numbers]}, index=numbers)
    quarantine.reject_rows(
        file, lines, {reason: reasons == reason for reason in sorted(set(reasons))}
    )
