"""Every row that a reader reads is kept, a duplicate, or rejected."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.datasets.tabular import read_tabular
from support.datasets import NOW
from support.fuzzed_files import mutated_folder, outcome, write

SHIPMENTS = st.fixed_dictionaries(
    {
        "shipment_id": st.sampled_from(["a", "b", "c", "", None]),
        "order_id": st.sampled_from(["o", None]),
        "origin_country": st.sampled_from(["DE", "Germany", None]),
        "destination_country": st.sampled_from(["DE", "AT"]),
        "ordered_at": st.sampled_from(
            ["2026-03-01T10:00:00Z", "2062-03-01T10:00:00Z", "1990-12-31T00:00:00Z", "soon", None]
        ),
        "weight_kg": st.sampled_from(["1.5", "-1", "heavy", None]),
    }
)
EVENTS = st.fixed_dictionaries(
    {
        "shipment_id": st.sampled_from(["a", "b", "nobody", None]),
        "event_code": st.sampled_from(["accepted", "delivered", "Delivered", None]),
        "occurred_at": st.sampled_from(
            ["2026-03-02T10:00:00Z", "2026-03-02T11:00:00+01:00", "2027-03-02T10:00:00Z", "x", None]
        ),
        "received_at": st.sampled_from(
            ["2026-03-02T10:00:00Z", "2026-03-05T10:00:00Z", "2028-03-02T10:00:00Z", "x", None]
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(shipments=st.lists(SHIPMENTS, max_size=6), events=st.lists(EVENTS, max_size=12))
def test_rows_read_are_accepted_duplicate_or_rejected(
    shipments: list[dict[str, str | None]], events: list[dict[str, str | None]]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        columns = ["shipment_id", "order_id", "origin_country", "destination_country"]
        columns += ["ordered_at", "weight_kg"]
        pd.DataFrame(shipments, columns=columns).to_csv(folder / "shipments.csv", index=False)
        columns = ["shipment_id", "event_code", "occurred_at", "received_at"]
        pd.DataFrame(events, columns=columns).to_csv(folder / "events.csv", index=False)
        data = read_tabular(folder, now=NOW)
    for file, rows in (("shipments.csv", shipments), ("events.csv", events)):
        counts = data.rows[file]
        assert counts.read == len(rows)
        assert counts.read == counts.accepted + counts.duplicate + counts.rejected
    assert data.rows["shipments.csv"].accepted == len(data.shipments)
    assert data.events["event_code"].eq("info").sum() == sum(data.unmapped_codes.values())
    is_row = data.quarantine["kind"] == "row"
    assert is_row.sum() == sum(counts.rejected for counts in data.rows.values())
    assert set(data.examples()) == set(data.rejected())


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_folder_is_read_or_refused_and_no_row_is_lost(tmp_path: Path, seed: int) -> None:
    folder = mutated_folder(1_000_000 + seed)
    write(folder, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert outcome(folder, tmp_path).fault == "", folder.what
