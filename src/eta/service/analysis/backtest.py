"""Replays past days for several models and computes the figures of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta import __version__
from eta.calendars.local_time import local_date
from eta.curves import Curves
from eta.domain.errors import SourceRejected
from eta.evaluation.backtest import WARM_UP_MONTHS, Progress, Refit, merchant_on_time_rate, replay
from eta.evaluation.model_run import CurveSource
from eta.evaluation.oracle_comparison import compare_with_oracle
from eta.evaluation.summary import summarise
from eta.forecast.base import ArrivalModel
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from eta.simulation.truth import JOURNEYS_FILE, SCENARIO_FILE, Truth

REFERENCE = "eta"

#: The true distribution of simulated parcels, given everything hidden: the best possible.
ORACLE = "oracle"

#: The true distribution given one parcel's scans: the best possible without other parcels.
SCAN_CONDITIONAL = "scan_conditional"


def oracle_sources(data: Path, timelines: Timelines) -> dict[str, CurveSource]:
    """The oracle, by its name, if ``data`` is a folder of simulated parcels, else nothing.

    Raises:
        SourceRejected: if the truth is that of other parcels.
    """
    truth_and_rows = _truth(data, timelines)
    if truth_and_rows is None:
        return {}
    truth, rows = truth_and_rows

    def oracle_curve(moments: AsOfPairs) -> Curves:
        return truth.oracle_curve(rows[moments.row], moments.as_of)

    return {ORACLE: oracle_curve}


def scan_conditional_source(data: Path, timelines: Timelines) -> CurveSource | None:
    """The true curves given one parcel's scans, if ``data`` is a folder of simulated parcels.

    Raises:
        SourceRejected: if the truth is that of other parcels.
    """
    truth_and_rows = _truth(data, timelines)
    if truth_and_rows is None:
        return None
    truth, rows = truth_and_rows

    def scan_conditional_curve(moments: AsOfPairs) -> Curves:
        return truth.scan_conditional_curve(rows[moments.row], moments.as_of)

    return scan_conditional_curve


def _truth(data: Path, timelines: Timelines) -> tuple[Truth, NDArray[np.int64]] | None:
    """The truth behind simulated parcels and its row for each shipment; None for other data."""
    if not ((data / SCENARIO_FILE).is_file() and (data / JOURNEYS_FILE).is_file()):
        return None
    truth = Truth.load(data)
    rows = truth.rows(timelines.shipment_id)
    if (rows < 0).any():
        raise SourceRejected(
            f"{data} holds shipments that {JOURNEYS_FILE} lacks; simulate again, "
            f"or delete {JOURNEYS_FILE}"
        )
    return truth, rows


def backtest_models(
    timelines: Timelines,
    models: Mapping[str, Callable[[], ArrivalModel]],
    *,
    source: str,
    start: datetime,
    end: datetime,
    zone: str = "UTC",
    refit: Refit,
    curve_sources: Mapping[str, CurveSource] = MappingProxyType({}),
    scan_conditional_curve: CurveSource | None = None,
    warm_up_months: int = WARM_UP_MONTHS,
    jobs: int = 1,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The figures of a replay of ``start <= as_of < end``, midnights in ``zone``, ready for JSON.

    Promises are compared at the shop's on-time rate over the judged days. They are chosen on the
    days before each of them, ``warm_up_months`` before ``start`` included. ``curve_sources`` are
    judged beside the models; if the oracle is one of them, the data are marked as simulated, and
    all models are compared with it and with ``scan_conditional_curve``. ``jobs`` processes share
    the work; the figures do not depend on their number.

    Raises:
        NoTrainingData: if nothing had arrived before ``start``, or nothing was in flight.
    """
    replayed = replay(
        timelines,
        models,
        start=start,
        end=end,
        zone=zone,
        refit=refit,
        promise=merchant_on_time_rate(timelines, start, end),
        curve_sources=curve_sources,
        warm_up_months=warm_up_months,
        jobs=jobs,
        progress=progress,
    )
    oracle = curve_sources.get(ORACLE)
    truth = None
    if oracle is not None:
        truth_sources = {ORACLE: oracle}
        if scan_conditional_curve is not None:
            truth_sources = {SCAN_CONDITIONAL: scan_conditional_curve, ORACLE: oracle}
        truth = compare_with_oracle(replayed, timelines, truth_sources)
    data = {"source": source, "sha256": timelines.digest(timelines.received_at.max())}
    is_simulated = oracle is not None
    figures: dict[str, Any] = {"eta_version": __version__}
    figures["data"] = {**data, "simulated": True} if is_simulated else data
    figures["from"] = str(local_date(start, zone))
    figures["to"] = str(local_date(end, zone) - timedelta(days=1))
    figures["refit"] = str(refit)
    figures |= summarise(replayed, reference=REFERENCE, is_simulated=is_simulated)
    figures["truth"] = truth
    return figures
