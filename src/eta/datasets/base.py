"""The dataset that every reader returns, the quarantine of rejected rows, and their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.domain.errors import InvalidValue

QUARANTINE_COLUMNS = ("file", "row", "kind", "reason", "content")

#: What was rejected: a whole row, or one optional value of an accepted row.
ROW, VALUE = "row", "value"

#: So many different values of a column are named in reasons.
_NAMED_VALUES = 20

_SEPARATOR = "\x1f"

#: The row number of a rejected value that was computed from several rows.
NO_ROW = -1

#: A column of a reader's frames: the number of the row in its file, or ``NO_ROW``.
ROW_NUMBER = "row_number"

#: Orders and receipts lie between these: an instant, and so long after the reading.
_EARLIEST, _AHEAD = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timedelta(hours=48)


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of one file: ``read`` is the sum of the other three."""

    read: int
    #: In the data; printed as ``kept``.
    accepted: int
    #: Scans that another row of the file reports too.
    duplicate: int
    rejected: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """A source in the columns of ``journey.timelines``, with the rejected rows and the reasons."""

    source: str
    #: The IANA zone of the source's dates without a time.
    zone: str
    shipments: pd.DataFrame
    events: pd.DataFrame
    #: ``QUARANTINE_COLUMNS``, one row a rejected row or value.
    quarantine: pd.DataFrame
    #: Peculiarities of accepted rows, with the number of rows that have them.
    warnings: dict[str, int]
    #: The rows of each file, by its name; empty if the source is no file.
    rows: Mapping[str, RowCounts] = field(default_factory=dict)
    #: How often each code that is none of ours occurs in accepted rows, as the source writes it.
    unmapped_codes: Mapping[str, int] = field(default_factory=dict)

    def rejected(self) -> dict[str, int]:
        """How many rows and values were rejected, by reason."""
        counts = self.quarantine["reason"].value_counts().sort_index()
        return {str(reason): int(count) for reason, count in counts.items()}

    def examples(self) -> dict[str, str]:
        """The content of the first rejected row or value, by reason."""
        first = self.quarantine.drop_duplicates("reason").sort_values("reason")
        return dict(zip(first["reason"], map(shown_row, first["content"]), strict=True))


def shown_row(content: str) -> str:
    """A rejected row as messages show it: without the empty fields at its end."""
    return content.rstrip(", ") or "an empty row"


class Reader(Protocol):
    """Reads a source from its folder or file; ``now``, aware, bounds the times that it accepts."""

    def __call__(self, source: Path, /, *, now: datetime) -> Dataset:
        """The data.

        Raises:
            SourceRejected: if the data do not have the format of their source.
        """


class Quarantine:
    """Collects rejected rows and values, and counts the rows of each file."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []
        self._read, self._accepted = Counter[str](), Counter[str]()
        self._duplicate, self._rejected = Counter[str](), Counter[str]()
        #: Peculiarities of the files themselves.
        self.warnings: dict[str, int] = {}

    def reject_rows(
        self, file: str, rows: pd.DataFrame, reasons: Mapping[str, pd.Series | NDArray[np.bool_]]
    ) -> pd.DataFrame:
        """The rows for which no reason holds; every other one is rejected for the first that does.

        The index of ``rows`` is their number in the file, 0 for the first.
        """
        is_valid = np.ones(len(rows), dtype=bool)
        for reason, flags in reasons.items():
            is_rejected = is_valid & np.asarray(flags, dtype=bool)
            self._add(file, ROW, reason, rows[is_rejected])
            self._rejected[file] += int(is_rejected.sum())
            is_valid &= ~is_rejected
        return rows[is_valid]

    def reject_values(self, file: str, reason: str, values: pd.DataFrame) -> None:
        """Rejects values of accepted rows, each shown with the row's id."""
        self._add(file, VALUE, reason, values)

    def _add(self, file: str, kind: str, reason: str, rows: pd.DataFrame) -> None:
        if len(rows):
            texts = rows.astype("str").fillna("")
            content = list(map(",".join, zip(*(texts[name] for name in texts), strict=True)))
            columns = {"file": file, "row": rows.index, "kind": kind, "reason": reason}
            self._parts.append(pd.DataFrame({**columns, "content": content}))

    def count_read(self, file: str, rows: int) -> None:
        """Counts rows that were read from a file."""
        self._read[file] += rows

    def count_accepted(self, file: str, rows: int, *, duplicate: int = 0) -> None:
        """Counts rows of a file that are in the data, and those that repeat one of them."""
        self._accepted[file] += rows
        self._duplicate[file] += duplicate

    def rows(self) -> dict[str, RowCounts]:
        """The rows of each file."""
        return {
            file: RowCounts(
                read=self._read[file],
                accepted=self._accepted[file],
                duplicate=self._duplicate[file],
                rejected=self._rejected[file],
            )
            for file in self._read
        }

    def frame(self) -> pd.DataFrame:
        """All rejected rows and values, in ``QUARANTINE_COLUMNS``."""
        empty = pd.DataFrame(columns=list(QUARANTINE_COLUMNS))
        return pd.concat([empty, *self._parts], ignore_index=True)


def resolved(texts: pd.Series, resolve: Callable[[str], str]) -> pd.Series:
    """The texts as ``resolve`` writes them; missing if it raises ``InvalidValue``.

    It is called once for each different text.
    """
    result: dict[object, str] = {}
    for text in texts.dropna().unique():
        with suppress(InvalidValue):
            result[text] = resolve(str(text))
    return texts.map(result).astype(texts.dtype)


def resolved_within(
    country: pd.Series, texts: pd.Series, resolve: Callable[[str, str], str]
) -> pd.Series:
    """The texts as ``resolve`` writes them for their countries; see ``resolved``."""
    keys = country.str.cat(texts, sep=_SEPARATOR)
    return resolved(keys, lambda key: resolve(*key.split(_SEPARATOR, 1)))


def reasons_of_values(reason: str, values: pd.Series) -> dict[str, pd.Series]:
    """Reasons to reject rows for their ``values``, where these are not missing.

    A reason names the value, if it is one of the most frequent.
    """
    frequent = values.value_counts().index[:_NAMED_VALUES]
    named = {f"{reason}: {value}": values.eq(value).fillna(False) for value in frequent}
    return {**named, reason: values.notna()}


def is_implausible(times: pd.Series, now: datetime) -> pd.Series:
    """Which instants, aware, are no time of an order or a receipt: before 2000 or in the future.

    The future starts 48 hours after ``now``. A missing time is plausible.
    """
    latest = pd.Timestamp(now) + _AHEAD
    return times.notna() & ~times.between(_EARLIEST, latest)
