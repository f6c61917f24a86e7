"""What every importer returns, and how it reads files without losing a row in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from eta.domain.errors import SourceRejected

QUARANTINE_COLUMNS = ("file", "row", "reason", "content")

#: Stands for the number of a row where what is wrong was made of several.
NO_ROW = -1


@dataclass(frozen=True, eq=False)
class Dataset:
    """A source in our columns (``journey.timeline``), with the rows that could not be used and why."""

    source: str
    #: The IANA zone in which the source's bare dates are to be read.
    zone: str
    shipments: pd.DataFrame
    events: pd.DataFrame
    #: ``QUARANTINE_COLUMNS``, one row a rejected row or value.
    quarantine: pd.DataFrame
    #: Peculiarities that were kept, with how many rows have them.
    warnings: dict[str, int]

    def rejected(self) -> dict[str, int]:
        """How many rows were rejected, by reason."""
        return {
            str(reason): int(count)
            for reason, count in self.quarantine["reason"].value_counts().sort_index().items()
        }


class Quarantine:
    """Collects rejected rows."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def add(self, file: str, reason: str, rows: pd.DataFrame) -> None:
        """Puts rows of a file aside; their index is their number among the rows that could be read, 0 the first."""
        if len(rows):
            content = rows.astype("str").fillna("").agg(",".join, axis=1)
            self._parts.append(
                pd.DataFrame(
                    {"file": file, "row": rows.index, "reason": reason, "content": content}
                )
            )

    def frame(self) -> pd.DataFrame:
        """All that was put aside."""
        return pd.concat(
            [pd.DataFrame(columns=list(QUARANTINE_COLUMNS)), *self._parts], ignore_index=True
        )


def read_csv(path: Path, columns: Sequence[str], quarantine: Quarantine) -> pd.DataFrame:
    """The named columns of a CSV file as text; rows with a wrong number of fields go to quarantine.

    Raises:
        SourceRejected: if the file is absent, is no CSV, or lacks a column.
    """
    bad: dict[int, str] = {}

    def on_invalid_row(row: pyarrow.csv.InvalidRow) -> str:
        # The number counts lines of the file, the header's being 1.
        bad[row.number - 2] = row.text
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=on_invalid_row
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
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
    quarantine.add(
        path.name, "wrong_number_of_fields", pd.DataFrame({"line": pd.Series(bad, dtype="str")})
    )
    return table.to_pandas(types_mapper={pa.string(): pd.StringDtype(na_value=float("nan"))}.get)
