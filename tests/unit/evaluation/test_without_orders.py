"""Of a shipment without an order the first scan stands in, in training and in a backtest."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from eta import bootstrap
from eta.domain.errors import NoTrainingData
from eta.evaluation.backtest import Refit
from eta.journey.snapshots import PURCHASE, evaluation_snapshots, training_snapshots
from eta.journey.timelines import Timelines
from eta.service.analysis.backtest import backtest_models

FIRST = pd.Timestamp("2026-06-01T08:00:00Z")
UNTIL = np.datetime64("2026-09-01", "us")
CODES = ("manifest_received", "accepted", "arrived_at_facility", "out_for_delivery", "delivered")


def timelines(count: int, codes: tuple[str, ...] = CODES) -> Timelines:
    """Parcels that travel about three days, five of them a day."""
    random = np.random.default_rng(1)
    shipments = pd.DataFrame(
        {
            "shipment_id": [f"T{number:03d}" for number in range(count)],
            "order_id": "o",
            "origin_country": "US",
            "destination_country": "US",
        }
    )
    started = FIRST + pd.to_timedelta(np.arange(count) // 5, unit="D")
    hours = np.linspace(0, 72, len(codes))
    parts = [
        pd.DataFrame(
            {
                "shipment_id": shipments["shipment_id"],
                "event_code": code,
                "occurred_at": started + pd.to_timedelta(late + random.random(count), unit="h"),
            }
        )
        for code, late in zip(codes, hours, strict=True)
    ]
    events = pd.concat(parts, ignore_index=True)
    return Timelines.from_frames(shipments, events.assign(received_at=events["occurred_at"]))


def test_the_first_scan_received_is_the_purchase() -> None:
    tracked = timelines(20)
    for snapshots in (
        training_snapshots(tracked, UNTIL),
        evaluation_snapshots(tracked, np.datetime64("2026-01-01", "us"), UNTIL),
    ):
        purchases = snapshots.take(np.flatnonzero(snapshots.moment == PURCHASE))
        assert sorted(purchases.pairs.row) == list(range(20))
        first = tracked.received_at[tracked.scans.starts[:-1]]
        assert (purchases.pairs.as_of == first[purchases.pairs.row]).all()
        assert (purchases.states.ordered_at == first[purchases.pairs.row]).all()


def test_a_shipment_with_an_order_has_that_purchase_alone() -> None:
    ordered = timelines(20, ("label_created", "order_created", "accepted", "delivered"))
    snapshots = training_snapshots(ordered, UNTIL)
    purchases = snapshots.take(np.flatnonzero(snapshots.moment == PURCHASE))
    second = ordered.received_at[ordered.scans.starts[:-1] + 1]
    assert (purchases.pairs.as_of == second[purchases.pairs.row]).all()
    assert len(purchases) == 20


@pytest.mark.parametrize("codes", [CODES, ("accepted", "delivered"), ("sorted", "delivered")])
def test_every_baseline_is_compared_on_tracking_alone(codes: tuple[str, ...]) -> None:
    models = bootstrap.models({})
    names = [name for name in bootstrap.DEFAULT_MODELS if name != "eta"]
    result = backtest_models(
        timelines(300, codes),
        {name: models[name] for name in names},
        source="tabular",
        start=datetime(2026, 7, 5, tzinfo=UTC),
        end=datetime(2026, 7, 12, tzinfo=UTC),
        refit=Refit.NEVER,
    )
    purchases = [row for row in result["rows"] if row["moment"] == "purchase"]
    assert {row["model"] for row in purchases} == set(names)
    figures = {row["model"]: row["crps_days"] for row in purchases}
    assert figures["B1"] is not None
    assert figures["B1"] < 1.0


def test_a_backtest_without_any_delivery_is_no_traceback() -> None:
    with pytest.raises(NoTrainingData, match="no parcel had arrived"):
        backtest_models(
            timelines(100, ("accepted", "sorted")),
            {"B1": bootstrap.models({})["B1"]},
            source="tabular",
            start=datetime(2026, 6, 10, tzinfo=UTC),
            end=datetime(2026, 6, 12, tzinfo=UTC),
            refit=Refit.NEVER,
        )
