"""The one place that chooses concrete parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.datasets.base import Dataset
from eta.datasets.cargo2000 import read_cargo2000
from eta.datasets.olist import read_olist
from eta.datasets.scms import read_scms
from eta.datasets.tabular import read_tabular
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines.boosted import BoostedMedianBaseline, BoostedQuantilesBaseline
from eta.forecast.baselines.simple import (
    HistoryBaseline,
    PromiseBaseline,
    PromiseRatioBaseline,
    SurvivalBaseline,
)
from eta.forecast.hazard.model import HazardModel

#: Readers of data, by the name of the source.
SOURCES: Mapping[str, Callable[[Path], Dataset]] = {
    "tabular": read_tabular,
    "olist": read_olist,
    "cargo2000": read_cargo2000,
    "scms": read_scms,
}

#: Parameters of baselines, by the name they go by in reports.
_BASELINES: Mapping[str, Callable[[], ArrivalModel]] = {
    "B0": PromiseBaseline,
    "B1": HistoryBaseline,
    "B1-lane": lambda: HistoryBaseline(by_lane=True),
    "B2": lambda: HistoryBaseline(last_days=14.0),
    "B2-lane": lambda: HistoryBaseline(by_lane=True, last_days=14.0, shrinkage=20.0, at_least=1),
    "B3": PromiseRatioBaseline,
    "B4": SurvivalBaseline,
}

#: Baselines that take a while to fit: compared where they are named.
_BOOSTED: Mapping[str, Callable[[], ArrivalModel]] = {
    "B5": BoostedMedianBaseline,
    "B6": BoostedQuantilesBaseline,
}

#: What a replay compares unless it is told otherwise.
DEFAULT_MODELS = (*_BASELINES, "eta")
#: What a newly trained version is checked against.
CHECK_BASELINES: Mapping[str, Callable[[], ArrivalModel]] = {"B4": _BASELINES["B4"]}


def models(
    parameters: Mapping[str, Any], holidays: HolidayCalendar = PUBLIC_HOLIDAYS
) -> dict[str, Callable[[], ArrivalModel]]:
    """Every model by name; ``parameters`` and ``holidays`` are those of ``eta`` and its variants."""
    return {
        **_BASELINES,
        **_BOOSTED,
        "eta": lambda: HazardModel(**parameters).with_holidays(holidays),
        "eta+promise": lambda: HazardModel(**{**parameters, "uses_promise": True}).with_holidays(
            holidays
        ),
        "eta-delivered-only": lambda: HazardModel(
            **{**parameters, "includes_censored": False}
        ).with_holidays(holidays),
    }
