"""Replays past days for several models and says in figures what each was worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from eta import __version__
from eta.evaluation.replay import Progress, Refit, replay
from eta.evaluation.summary import summarise
from eta.forecast.base import ArrivalModel
from eta.journey.timeline import Timelines

REFERENCE = "eta"


def backtest_models(
    timelines: Timelines,
    models: Mapping[str, Callable[[], ArrivalModel]],
    *,
    source: str,
    start: datetime,
    end: datetime,
    last_day: str,
    refit: Refit,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The figures of a replay of ``start <= as_of < end``, both aware midnights, ready for JSON.

    Raises:
        NothingToLearn: if nothing had arrived before ``start``, or nothing was in flight.
    """
    replayed = replay(timelines, models, start=start, end=end, refit=refit, progress=progress)
    return {
        "eta_version": __version__,
        "data": {"source": source, "sha256": timelines.digest(timelines.received_at.max())},
        "from": str(start.date()),
        "to": last_day,
        "refit": str(refit),
        **summarise(replayed, reference=REFERENCE),
    }
