"""The dataset that every reader returns, the quarantine of rejected rows, and CSV reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from eta.domain.errors import SourceRejected

QUARANTINE_COLUMNS = ("file", "row", "reason", "content")

#: The row number of a rejected value that was computed from several rows.
NO_ROW = -1


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

    def rejected(self) -> dict[str, int]:
        """How many rows were rejected, by reason."""
        counts = self.quarantine["reason"].value_counts().sort_index()
        return {str(reason): int(count) for reason, count in counts.items()}


class Quarantine:
    """Collects rejected rows."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def add(self, file: str, reason: str, rows: pd.DataFrame) -> None:
        """Rejects rows of a file.

        Their index is their number among the rows that could be parsed, 0 for the first.
        """
        if len(rows):
            content = rows.astype("str").fillna("").agg(",".join, axis=1)
            columns = {"file": file, "row": rows.index, "reason": reason, "content": content}
            self._parts.append(pd.DataFrame(columns))

    def frame(self) -> pd.DataFrame:
        """All rejected rows, in ``QUARANTINE_COLUMNS``."""
        empty = pd.DataFrame(columns=list(QUARANTINE_COLUMNS))
        return pd.concat([empty, *self._parts], ignore_index=True)


def read_csv(path: Path, columns: Sequence[str], quarantine: Quarantine) -> pd.DataFrame:
    """The named columns of a CSV file as text; rows with a wrong number of fields go to quarantine.

    Raises:
        SourceRejected: if the file is absent, is no CSV, or lacks a column.
    """
    invalid_lines: dict[int, str] = {}

    def on_invalid_row(row: pyarrow.csv.InvalidRow) -> str:
        # The number counts the lines of the file, of which the header is 1.
        invalid_lines[row.number - 2] = row.text
        return "skip"

    try:
        table = _parse_csv(path, columns, on_invalid_row)
    except FileNotFoundError:
        raise SourceRejected(
            f"{path} does not exist; name the folder that holds {path.name}"
        ) from None
    except KeyError as error:
        raise SourceRejected(
            f"{path.name} lacks a column: {error.args[0]}; it should have {', '.join(columns)}"
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceRejected(f"{path.name} cannot be read as CSV: {error}") from None
    lines = pd.DataFrame({"line": pd.Series(invalid_lines, dtype="str")})
    quarantine.add(path.name, "wrong_number_of_fields", lines)
    text_type = pd.StringDtype(na_value=float("nan"))
    return table.to_pandas(types_mapper={pa.string(): text_type}.get)


def _parse_csv(
    path: Path, columns: Sequence[str], on_invalid_row: Callable[[pyarrow.csv.InvalidRow], str]
) -> pa.Table:
    """The named columns as text; an empty field is missing."""
    read_options = pyarrow.csv.ReadOptions(use_threads=False)
    parse_options = pyarrow.csv.ParseOptions(
        newlines_in_values=True, invalid_row_handler=on_invalid_row
    )
    convert_options = pyarrow.csv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    return pyarrow.csv.read_csv(
        path,
        read_options=read_options,
        parse_options=parse_options,
        convert_options=convert_options,
    )
