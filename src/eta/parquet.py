"""Parquet files, read in blocks within limits: a small file can claim or unpack to gigabytes.

What the footer says is checked before anything is read, and what a block unpacks to before it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from eta.domain.errors import FileRejected
from eta.files import MAX_COLUMNS, MAX_FILE_BYTES, MAX_ROWS, MAX_TEXT_BYTES, open_regular

#: A file may unpack to ``_MIN_UNPACKED``, and beyond that to ``_MAX_RATIO`` times its size, but not
#: to more than ``_MAX_UNPACKED``; in bytes.
_MIN_UNPACKED, _MAX_UNPACKED, _MAX_RATIO = 256 << 20, 2 << 30, 100
_MAX_FOOTER_BYTES = 16 << 20
#: Rows of a block, and bytes of a number, a time, or the place of a text.
_BLOCK_ROWS, _WIDTH = 65_536, 8
#: If each text of a column may be as long as all its bytes in a row group: the most such bytes, and
#: the bytes that a block may then take.
_MAX_DELTA_BYTES, _BLOCK_BYTES = 32 << 20, 1 << 30
_MIB = 1 << 20
_TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)
#: What stands in place of a text that is too long.
TOO_LONG = f"(a text of more than {MAX_TEXT_BYTES:,} bytes)"


@dataclass(frozen=True)
class Blocks:
    """Columns of a file, and which of their texts were longer than ``MAX_TEXT_BYTES``."""

    table: pa.Table
    is_too_long: Mapping[str, pa.ChunkedArray]


def read_columns(path: Path) -> tuple[str, ...]:
    """Returns the names of the columns of a file.

    Raises:
        FileRejected: if it is no Parquet file within the limits.
    """
    with open_regular(path, max_bytes=MAX_FILE_BYTES) as file:
        return tuple(_open(path, file, ()).schema_arrow.names)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Blocks:
    """Returns the named columns of a file, or all of them.

    Raises:
        FileRejected: if the file cannot be read, a column has values with parts, or a limit is
            exceeded; names it.
    """
    with open_regular(path, max_bytes=MAX_FILE_BYTES) as file:
        parquet = _open(path, file, ())
        schema = parquet.schema_arrow
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        limit = _unpacked_limit(path)
        _check_claims(path, parquet.metadata, schema, limit)
        texts = _Texts.from_footer(path, parquet.metadata, schema)
        opened = _open(path, file, texts.repeated)
        try:
            parts = list(_Reader(path, limit).blocks(opened, schema.names, texts.block_rows))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
    return _joined(parts, schema)


def _joined(
    parts: Sequence[tuple[pa.RecordBatch, Mapping[str, pa.Array]]], schema: pa.Schema
) -> Blocks:
    if not parts:
        return Blocks(schema.empty_table(), {})
    table = pa.Table.from_batches([block for block, _ in parts])
    flags = {name: pa.chunked_array([flags[name] for _, flags in parts]) for name in parts[0][1]}
    return Blocks(table.combine_chunks(), flags)


@dataclass(frozen=True)
class _Texts:
    """How the texts of a file are read."""

    #: Columns that are read as categories, of which each value is held once.
    repeated: Sequence[str]
    #: Rows that are unpacked at once.
    block_rows: int

    @classmethod
    def from_footer(
        cls, path: Path, footer: pyarrow.parquet.FileMetaData, schema: pa.Schema
    ) -> _Texts:
        """By the encodings of the columns.

        Texts by their lengths are as long as the footer claims. Texts by what they have in common
        with the one before may be as long as all claimed bytes, each of them.
        """
        texts = {field.name for field in schema if _is_text(field.type)}
        differing, delta = 0, set[str]()
        for column in _columns(footer, texts):
            if "DELTA_BYTE_ARRAY" in column.encodings:
                differing = max(differing, column.total_uncompressed_size)
            if any(encoding.startswith("DELTA") for encoding in column.encodings):
                delta.add(column.path_in_schema)
        if differing > _MAX_DELTA_BYTES:
            problem = f"{_MAX_DELTA_BYTES // _MIB} MiB of texts in one row group, encoded as DELTA"
            raise _beyond(path, f"it has more than {problem}", "write smaller row groups")
        return cls(sorted(texts - delta), min(_BLOCK_ROWS, _BLOCK_BYTES // max(differing, 1)))


def _columns(
    footer: pyarrow.parquet.FileMetaData, names: Collection[str]
) -> Iterator[pyarrow.parquet.ColumnChunkMetaData]:
    """Yields the named columns of each row group."""
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(footer.num_columns)):
            if column.path_in_schema in names:
                yield column


def _open(path: Path, file: BinaryIO, texts: Sequence[str]) -> pyarrow.parquet.ParquetFile:
    """Opens a file; ``texts`` are read as categories, of which each value is held once."""
    try:
        file.seek(-8, os.SEEK_END)
        length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
        if magic == b"PAR1" and length > _MAX_FOOTER_BYTES:
            limit = f"{_MAX_FOOTER_BYTES // _MIB} MiB"
            raise _beyond(path, f"its footer is larger than {limit}", "write it again")
        file.seek(0)
        return pyarrow.parquet.ParquetFile(file, read_dictionary=list(texts), pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unpacked_limit(path: Path) -> int:
    return min(max(_MIN_UNPACKED, _MAX_RATIO * path.stat().st_size), _MAX_UNPACKED)


def _check_claims(
    path: Path, footer: pyarrow.parquet.FileMetaData, schema: pa.Schema, limit: int
) -> None:
    """Checks what the footer says."""
    if footer.num_columns > MAX_COLUMNS:
        raise _beyond(path, f"it has more than {MAX_COLUMNS:,} columns, the limit")
    if footer.num_rows > MAX_ROWS:
        raise _beyond(path, f"it has more than {MAX_ROWS:,} rows, the limit")
    for field in schema:
        _check_type(path, field)
    widths = sum(map(_width, schema.types))
    claimed = sum(column.total_uncompressed_size for column in _columns(footer, schema.names))
    _check_unpacked(path, max(claimed, footer.num_rows * widths), limit)


def _check_type(path: Path, field: pa.Field) -> None:
    """Checks that the size of a value is known before it is unpacked."""
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
        if _is_text(kind):
            raise FileRejected(path.name, f"{field.name} is of a special type", "write it as text")
    if pa.types.is_nested(kind):
        problem = f"{field.name} holds values with parts ({kind})"
        raise FileRejected(path.name, problem, "write one text, number or time a row")


def _check_unpacked(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise _beyond(
            path, f"it unpacks to more than {limit // _MIB:,} MiB, the limit for its size"
        )


def _beyond(path: Path, problem: str, hint: str = "split it") -> FileRejected:
    return FileRejected(path.name, problem, hint)


def _unreadable(path: Path, error: Exception) -> FileRejected:
    return FileRejected(path.name, f"it cannot be read as Parquet: {error}", "write it again")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return any(is_text(kind) for is_text in _TEXT_TYPES)


def _width(kind: pa.DataType) -> int:
    """The least number of bytes of a value."""
    return max(kind.byte_width, _WIDTH) if pa.types.is_fixed_size_binary(kind) else _WIDTH


class _Reader:
    """Unpacks a file block by block up to a limit in bytes."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._rows, self._unpacked = 0, 0

    def blocks(
        self, parquet: pyarrow.parquet.ParquetFile, names: Sequence[str], block_rows: int
    ) -> Iterator[tuple[pa.RecordBatch, dict[str, pa.Array]]]:
        """Yields blocks of rows, with the flags of texts that are too long, by column."""
        batches = parquet.iter_batches(block_rows, columns=list(names), use_threads=False)
        for batch in batches:
            self._rows += len(batch)
            if self._rows > MAX_ROWS:
                raise _beyond(self._path, f"it has more than {MAX_ROWS:,} rows, the limit")
            columns, flags = {}, {}
            for name in names:
                columns[name] = column = batch.column(name)
                if _is_text(column.type):
                    columns[name], flags[name] = self._unpack(column)
                else:
                    self._count(len(column) * _width(column.type))
            yield pa.RecordBatch.from_pydict(columns), flags

    def _unpack(self, column: pa.Array) -> tuple[pa.Array, pa.Array]:
        """The texts, and which are too long; those are replaced before they are unpacked."""
        is_repeated = pa.types.is_dictionary(column.type)
        texts = column.dictionary if is_repeated else column
        codes = column.indices if is_repeated else pa.array(range(len(column)))
        lengths = pc.fill_null(pc.binary_length(texts), 0)
        is_too_long = pc.greater(lengths, MAX_TEXT_BYTES)
        flags = pc.fill_null(is_too_long.take(codes), False)
        if pc.any(is_too_long).as_py():
            texts = pc.if_else(is_too_long, pa.scalar(TOO_LONG).cast(texts.type), texts)
            lengths = pc.fill_null(pc.binary_length(texts), 0)
        self._count((pc.sum(lengths.take(codes)).as_py() or 0) + len(column) * _WIDTH)
        return texts.take(codes), flags

    def _count(self, size: int) -> None:
        self._unpacked += size
        _check_unpacked(self._path, self._unpacked, self._limit)
