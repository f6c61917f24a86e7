"""Parquet files: columns of any plain type, as texts, numbers or instants without loss.

A whole number is its digits in an identifier, whatever its type: integers of a column with missing
values never pass through floats. A float beyond the whole numbers that its type can tell apart is
rejected, because several numbers have the same float.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from eta.datasets.base import Quarantine
from eta.datasets.csv_files import TEXT_TYPE, check_column
from eta.domain.errors import FileRejected, SourceRejected
from eta.parquet import read_columns, read_parquet

#: The largest whole number up to which floats of so many bits tell all whole numbers apart.
_MAX_WHOLE = {16: 2**11, 32: 2**24, 64: 2**53}
_UTC = pa.timestamp("us", tz="UTC")
#: Microseconds of the years 1 and 9999, the bounds of instants.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file with the names of its columns."""

    path: Path
    header: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> ParquetFile:
        """The file.

        Raises:
            SourceRejected: if it is no Parquet file within the limits.
        """
        try:
            return cls(path, read_columns(path))
        except FileRejected as error:
            raise SourceRejected(str(error)) from None

    def read(
        self,
        columns: Sequence[str],
        quarantine: Quarantine,
        *,
        key: str,
        numbers: Collection[str],
        times: Collection[str],
    ) -> pd.DataFrame:
        """The named columns: ``numbers`` and ``times`` as such if they are, all others as text.

        A row with a text that is too long, or whose ``key`` is ambiguous or no text, is rejected,
        and so is such a value elsewhere. The index is the number of the row in the file, 0 for the
        first.

        Raises:
            SourceRejected: if the file cannot be read within the limits, lacks a column, names it
                twice, or holds a nested one.
        """
        for name in columns:
            check_column(self.path, name, columns, self.header)
        try:
            blocks = read_parquet(self.path, columns)
        except FileRejected as error:
            raise SourceRejected(str(error)) from None
        table, file = blocks.table, self.path.name
        quarantine.count_read(file, len(table))
        plain = {name: _plain(table[name]) for name in columns}
        frame, is_lost = _converted(plain, numbers, times)
        too_long = {f"too_long_{name}": flags for name, flags in blocks.is_too_long.items()}
        frame = quarantine.reject_rows(file, frame, too_long)
        return _without_lost(frame, is_lost, key, file, quarantine)


def _converted(
    columns: Mapping[str, pa.ChunkedArray], numbers: Collection[str], times: Collection[str]
) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """Columns as numbers, times or texts, and which of the texts are ambiguous or none."""
    series, is_lost = {}, {}
    for name, column in columns.items():
        if name in times and _is_time(column.type):
            series[name] = _instants(column)
        elif name in numbers and _is_number(column.type):
            series[name] = _to_pandas(column.cast(pa.float64(), safe=False))
        else:
            texts, is_lost[name] = _texts(column)
            series[name] = _to_pandas(texts)
    return pd.DataFrame(series), is_lost


def _without_lost(
    frame: pd.DataFrame,
    is_lost: dict[str, pd.Series],
    key: str,
    file: str,
    quarantine: Quarantine,
) -> pd.DataFrame:
    """The rows whose key is a text; rejects the others, and other values that are none."""
    frame = quarantine.reject_rows(file, frame, {f"ambiguous_{key}": is_lost[key].loc[frame.index]})
    for name, flags in is_lost.items():
        lost = flags.loc[frame.index]
        quarantine.reject_values(file, f"ambiguous_{name}", frame.loc[lost, [key, name]])
        frame = frame.assign(**{name: frame[name].mask(lost)})
    return frame


def _to_pandas(column: pa.ChunkedArray) -> pd.Series:
    series: pd.Series = column.to_pandas(types_mapper={pa.string(): TEXT_TYPE}.get)
    return series


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with the values of its categories, and identifiers as texts."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        values = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.string())])
    return column


def _instants(column: pa.ChunkedArray) -> pd.Series:
    """Times with a zone in UTC; times without one, and dates, as they are."""
    kind = column.type
    if pa.types.is_date(kind):
        return _to_pandas(column.cast(pa.timestamp("s")))
    if kind.tz is None:
        return _to_pandas(column)
    if kind.unit in ("s", "ms"):
        counts = column.cast(pa.int64())
        factor = 1 if kind.unit == "s" else 1000
        is_possible = pc.and_(
            pc.greater_equal(counts, _FIRST_SECOND * factor),
            pc.less_equal(counts, _LAST_SECOND * factor),
        )
        # The year 1 is rejected as implausible; a missing time would be read as none.
        counts = pc.if_else(is_possible, counts, _FIRST_SECOND * factor)
        column = counts.cast(kind)
    return _to_pandas(column.cast(_UTC, safe=False))


def _texts(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pd.Series]:
    """The values as texts, and which of them are ambiguous or no text."""
    kind = column.type
    if pa.types.is_floating(kind):
        return _texts_of_floats(column)
    if pa.types.is_decimal(kind):
        texts = column.cast(pa.string())
        texts = pc.replace_substring_regex(texts, pattern=r"\.0+$", replacement="")
        return texts, _nowhere(column)
    if _is_bytes(kind) or not _is_valid(column):
        return _texts_of_bytes(column)
    texts = column.cast(pa.string())
    has_nul = pc.fill_null(pc.match_substring(texts, "\0"), False)
    return texts, has_nul.to_pandas()


def _texts_of_floats(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pd.Series]:
    """Whole numbers as digits, others as they are written; NaN is missing."""
    values = column.cast(pa.float64()).to_pandas()
    is_whole = values.eq(np.floor(values))
    is_ambiguous = values.abs() > _MAX_WHOLE[column.type.bit_width]
    digits = values.where(is_whole & ~is_ambiguous, 0.0).astype(np.int64).astype(TEXT_TYPE)
    texts = digits.where(is_whole & ~is_ambiguous, values.astype(TEXT_TYPE))
    texts = texts.mask(values.isna())
    return pa.chunked_array([pa.array(texts, pa.string(), from_pandas=True)]), is_ambiguous


def _texts_of_bytes(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pd.Series]:
    """Bytes in UTF-8 as texts; others are no text."""
    values = (
        column.cast(pa.binary()).to_pylist() if not _is_bytes(column.type) else column.to_pylist()
    )
    texts = [None if value is None else value.decode(errors="replace") for value in values]
    is_lost = [text is not None and ("\ufffd" in text or "\0" in text) for text in texts]
    return pa.chunked_array([pa.array(texts, pa.string())]), pd.Series(is_lost, dtype=bool)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _is_valid(column: pa.ChunkedArray) -> bool:
    """Whether the texts of a column are in UTF-8."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _nowhere(column: pa.ChunkedArray) -> pd.Series:
    return pd.Series(False, index=range(len(column)))
