"""Rejected rows by file, and columns of which most values were rejected."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eta.datasets.base import ROW, VALUE, Dataset, shown_row
from eta.quality.findings import Finding

ROWS_REJECTED, COLUMN_REJECTED = "rows_rejected", "column_rejected"

#: A column of which this share of the rows has a rejected value is named.
MOST = 0.5


def find_rejected_rows(dataset: Dataset) -> Finding:
    """The rejected rows of the file with the largest share of them."""
    shares = {name: rows.rejected / max(rows.read, 1) for name, rows in dataset.rows.items()}
    if not shares:
        return Finding(ROWS_REJECTED, "rows", 0, 0, {}, "")
    file = max(shares, key=shares.__getitem__)
    rows = dataset.rows[file]
    rejected = dataset.quarantine
    rejected = rejected[rejected["file"].eq(file) & rejected["kind"].eq(ROW)]
    unit, example = f"rows of {file}", _example(rejected)
    return Finding(ROWS_REJECTED, unit, rows.rejected, rows.read, {}, example)


def find_rejected_columns(dataset: Dataset) -> Iterator[Finding]:
    """Columns of which most rows have a rejected value; a reason ends with its column."""
    values = dataset.quarantine[dataset.quarantine["kind"].eq(VALUE)]
    for (file, _), part in values.groupby(["file", "reason"], sort=True):
        counts = dataset.rows.get(str(file))
        if counts and len(part) > MOST * counts.read:
            unit = f"rows of {file}"
            yield Finding(COLUMN_REJECTED, unit, len(part), counts.read, {}, _example(part))


def _example(rejected: pd.DataFrame) -> str:
    """The first of the most frequent reason, with the reason."""
    if rejected.empty:
        return ""
    reason = rejected["reason"].mode().iloc[0]
    content = rejected.loc[rejected["reason"].eq(reason), "content"].iloc[0]
    return f"{reason}: {shown_row(content)}"
