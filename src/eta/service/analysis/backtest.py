"""Replays past days for several models and says in figures what each was worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta import __version__
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

#: The law given all that is hidden, on simulated parcels: how good anyone could be.
ORACLE = "oracle"

#: The law given one parcel's scans: how good anyone could be who hears of no other parcel.
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
    """The law given one parcel's scans, if ``data`` is a folder of simulated parcels.

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
    """The truth behind simulated parcels, and its row for each shipment; None for any other data."""
    if not ((data / SCENARIO_FILE).is_file() and (data / JOURNEYS_FILE).is_file()):
        return None
    truth = Truth.load(data)
    rows = truth.rows(timelines.shipment_id)
    if (rows < 0).any():
        raise SourceRejected(
            f"{data} holds shipments of which {JOURNEYS_FILE} knows nothing; simulate anew, or take {JOURNEYS_FILE} away"
        )
    return truth, rows


def backtest_models(
    timelines: Timelines,
    models: Mapping[str, Callable[[], ArrivalModel]],
    *,
    source: str,
    start: datetime,
    end: datetime,
    last_day: str,
    refit: Refit,
    curve_sources: Mapping[str, CurveSource] = MappingProxyType({}),
    scan_conditional_curve: CurveSource | None = None,
    warm_up_months: int = WARM_UP_MONTHS,
    jobs: int = 1,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The figures of a replay of ``start <= as_of < end``, both aware midnights, ready for JSON.

    Promises are compared at the shop's own on-time rate over the judged days, and chosen on the
    days before each of them, ``warm_up_months`` before ``start`` included. ``curve_sources`` are judged
    beside the models; where the oracle is one of them, the data are marked as simulated, and all
    models are compared with its law and with ``scan_conditional_curve``.

    Raises:
        NothingToLearn: if nothing had arrived before ``start``, or nothing was in flight.
    """
    promise = merchant_on_time_rate(timelines, start, end)
    replayed = replay(
        timelines,
        models,
        start=start,
        end=end,
        refit=refit,
        promise=promise,
        curve_sources=curve_sources,
        warm_up_months=warm_up_months,
        jobs=jobs,
        progress=progress,
    )
    is_simulated = ORACLE in curve_sources
    true_sources = {
        name: curve_source
        for name, curve_source in (
            (SCAN_CONDITIONAL, scan_conditional_curve),
            (ORACLE, curve_sources.get(ORACLE)),
        )
        if curve_source is not None
    }
    return {
        "eta_version": __version__,
        "data": {
            "source": source,
            "sha256": timelines.digest(timelines.received_at.max()),
            **({"simulated": True} if is_simulated else {}),
        },
        "from": str(start.date()),
        "to": last_day,
        "refit": str(refit),
        **summarise(replayed, reference=REFERENCE, is_simulated=is_simulated),
        "truth": compare_with_oracle(replayed, timelines, true_sources) if is_simulated else None,
    }
