"""Files that commands write, each whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape

from eta.cli.tables import out
from eta.domain.errors import InvalidValue
from eta.files import write_atomically

#: A spreadsheet runs a cell that starts with one of these as a formula.
_FORMULA_STARTS = tuple("=+-@\t\r")


def write_json(path: Path | None, values: Mapping[str, Any]) -> None:
    """Writes figures as strict JSON, if an option names a file for them."""
    if path:
        text = json.dumps(values, indent=1, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table as ``.parquet``, or as CSV without cells that a spreadsheet would run."""
    if path.suffix == ".parquet":
        write_atomically(path, table.to_parquet(index=False))
        return
    text_columns = table.select_dtypes(include=["object", "string"]).columns
    safe = table.assign(**{name: table[name].map(_without_formula) for name in text_columns})
    csv = safe.to_csv(index=False, lineterminator="\n")
    write_atomically(path, csv.encode())


def _without_formula(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    safe = f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    # A carriage return is not quoted, and would begin a row: perhaps one with a formula.
    return safe.replace("\r\n", "\n").replace("\r", "\n")


def check_suffix(option: str, path: Path | None, suffixes: tuple[str, str]) -> None:
    """Refuses a file whose name ends with neither of two formats.

    Raises:
        InvalidValue: if it does.
    """
    if path and path.suffix not in suffixes:
        hint = f"end it with {' or '.join(suffixes)}"
        raise InvalidValue(option, f"{path.name} does not name a format", hint)


def write_picture(path: Path, picture: bytes) -> None:
    """Writes a picture and reports it."""
    write_atomically(path, picture)
    out.print(f"drew {escape(str(path))}")
