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
from eta.evaluation.backtest import WARM_UP_MONTHS, Progress, Refit, replay, shops_rate
from eta.evaluation.model_run import Law
from eta.evaluation.oracle_comparison import check_truth
from eta.evaluation.summary import summarise
from eta.forecast.base import ArrivalModel
from eta.journey.state import Moments
from eta.journey.timelines import Timelines
from eta.simulation.truth import JOURNEYS_FILE, SCENARIO_FILE, Truth

REFERENCE = "eta"

#: The law given all that is hidden, on simulated parcels: how good anyone could be.
ORACLE = "oracle"

#: The law given one parcel's scans: how good anyone could be who hears of no other parcel.
SEEN = "seen"


def oracle_of(data: Path, timelines: Timelines) -> dict[str, Law]:
    """The oracle, by its name, if ``data`` is a folder of simulated parcels, else nothing.

    Raises:
        SourceRejected: if the truth is that of other parcels.
    """
    known = _truth(data, timelines)
    if known is None:
        return {}
    truth, rows = known

    def hidden_law(moments: Moments) -> Curves:
        return truth.hidden_law(rows[moments.row], moments.as_of)

    return {ORACLE: hidden_law}


def seen_law_of(data: Path, timelines: Timelines) -> Law | None:
    """The law given one parcel's scans, if ``data`` is a folder of simulated parcels.

    Raises:
        SourceRejected: if the truth is that of other parcels.
    """
    known = _truth(data, timelines)
    if known is None:
        return None
    truth, rows = known

    def seen_law(moments: Moments) -> Curves:
        return truth.seen_law(rows[moments.row], moments.as_of)

    return seen_law


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
    laws: Mapping[str, Law] = MappingProxyType({}),
    seen_law: Law | None = None,
    warm_up_months: int = WARM_UP_MONTHS,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The figures of a replay of ``start <= as_of < end``, both aware midnights, ready for JSON.

    Promises are compared at the shop's own on-time rate over the judged days, and chosen on the
    days before each of them, ``warm_up_months`` before ``start`` included. ``laws`` are judged
    beside the models; where the oracle is one of them, the data are marked as simulated, and all
    models are compared with its law and with ``seen_law``.

    Raises:
        NothingToLearn: if nothing had arrived before ``start``, or nothing was in flight.
    """
    promise = shops_rate(timelines, start, end)
    replayed = replay(
        timelines,
        models,
        start=start,
        end=end,
        refit=refit,
        promise=promise,
        laws=laws,
        warm_up_months=warm_up_months,
        progress=progress,
    )
    is_simulated = ORACLE in laws
    true_laws = {
        name: law for name, law in ((SEEN, seen_law), (ORACLE, laws.get(ORACLE))) if law is not None
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
        "truth": check_truth(replayed, timelines, true_laws) if is_simulated else None,
    }
