"""Replays past days for several models and says in figures what each was worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eta import __version__
from eta.curves import Curves
from eta.domain.errors import SourceRejected
from eta.evaluation.replay import WARM_UP_MONTHS, Law, Progress, Refit, replay
from eta.evaluation.summary import summarise
from eta.forecast.base import ArrivalModel
from eta.journey.state import Moments
from eta.journey.timeline import Timelines
from eta.simulation.truth import JOURNEYS_FILE, SCENARIO_FILE, Truth

REFERENCE = "eta"
#: The law given all that is hidden, on simulated parcels: how good anyone could be.
ORACLE = "oracle"


def oracle_of(data: Path, timelines: Timelines) -> dict[str, Law]:
    """The oracle, by its name, if ``data`` is a folder of simulated parcels, else nothing.

    Raises:
        SourceRejected: if the truth is that of other parcels.
    """
    if not ((data / SCENARIO_FILE).is_file() and (data / JOURNEYS_FILE).is_file()):
        return {}
    truth = Truth.load(data)
    rows = truth.rows(timelines.shipment_id)
    if (rows < 0).any():
        raise SourceRejected(f"{data} holds shipments of which {JOURNEYS_FILE} knows nothing; simulate anew, or take {JOURNEYS_FILE} away")

    def hidden_law(moments: Moments) -> Curves:
        return truth.hidden_law(rows[moments.row], moments.as_of)

    return {ORACLE: hidden_law}


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
    warm_up_months: int = WARM_UP_MONTHS,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The figures of a replay of ``start <= as_of < end``, both aware midnights, ready for JSON.

    Promise levels are chosen on the ``warm_up_months`` before ``start``; without them no promise is judged. ``laws`` are
    judged beside the models; where the oracle is one of them, the data are marked as simulated.

    Raises:
        NothingToLearn: if nothing had arrived before ``start``, or nothing was in flight.
    """
    replayed = replay(timelines, models, start=start, end=end, refit=refit, laws=laws, warm_up_months=warm_up_months, progress=progress)
    return {
        "eta_version": __version__,
        "data": {"source": source, "sha256": timelines.digest(timelines.received_at.max()), **({"simulated": True} if ORACLE in laws else {})},
        "from": str(start.date()),
        "to": last_day,
        "refit": str(refit),
        **summarise(replayed, reference=REFERENCE),
    }
