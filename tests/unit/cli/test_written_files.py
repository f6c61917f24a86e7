"""Tables that commands write for people who open them in a spreadsheet."""

from pathlib import Path

import pandas as pd
import pytest

from eta.cli.files import write_table


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_file_starts_a_formula(start: str, tmp_path: Path) -> None:
    text = f"{start}HYPERLINK(1)"
    for name in ("table.csv", "table.parquet"):
        write_table(tmp_path / name, pd.DataFrame({"order_id": [text, "A-1"]}))
    written = pd.read_csv(tmp_path / "table.csv", dtype=str)["order_id"].tolist()
    assert written == [f"'{text}".replace("\r", "\n"), "A-1"]
    # No spreadsheet runs a cell of a Parquet file.
    assert pd.read_parquet(tmp_path / "table.parquet")["order_id"].tolist() == [text, "A-1"]


def test_a_carriage_return_begins_no_row_of_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(path, pd.DataFrame({"order_id": ["A\r=1", "B\r\n+1"]}))
    assert path.read_bytes() == b'order_id\n"A\n=1"\n"B\n+1"\n'
