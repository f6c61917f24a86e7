"""The only place that chooses concrete parts: readers, models, the registry and the store."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.datasets.base import Reader
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
from eta.model.bundle import ModelBundle
from eta.model.hot_swap import ActiveModelLoader
from eta.model.registry import Registry, Version
from eta.model.trial import PassedVersions, VersionTrial, describe_program
from eta.service.estimates.warm_up import warm_up
from eta.settings import Settings
from eta.simulation.scenario import DEFAULT, Scenario
from eta.store.clock_guard import ClockGuard
from eta.store.engine import Engine
from eta.store.store import SqlStore, engine_from_url, open_store

#: The program that tries a version; it never looks for modules in the current folder.
_TRIAL_COMMAND = (sys.executable, "-P", "-m", "eta.cli.try_version")

ModelFactory = Callable[[], ArrivalModel]

#: Readers of data, by the name of the source.
SOURCES: Mapping[str, Reader] = {
    "tabular": read_tabular,
    "olist": read_olist,
    "cargo2000": read_cargo2000,
    "scms": read_scms,
}
#: The source that commands read by default, and the one of simulated parcels.
DEFAULT_SOURCE = "tabular"

#: The simulated parcel network.
SCENARIO: Scenario = DEFAULT

#: The model that versions hold: constructs one from its parameters.
MODEL: Callable[..., HazardModel] = HazardModel


#: Baselines, by their names in reports.
_BASELINES: Mapping[str, ModelFactory] = {
    "B0": PromiseBaseline,
    "B1": HistoryBaseline,
    "B1-lane": partial(HistoryBaseline, by_lane=True),
    "B2": partial(HistoryBaseline, last_days=14.0),
    "B2-lane": partial(HistoryBaseline, by_lane=True, last_days=14.0, shrinkage=20.0, at_least=1),
    "B3": PromiseRatioBaseline,
    "B4": SurvivalBaseline,
}

#: Baselines that are slow to fit; a backtest compares them only if it names them.
_BOOSTED: Mapping[str, ModelFactory] = {
    "B5": BoostedMedianBaseline,
    "B6": BoostedQuantilesBaseline,
}

#: Models that a backtest compares by default.
DEFAULT_MODELS = (*_BASELINES, "eta")
#: Baselines that a newly trained version is checked against.
CHECK_BASELINES: Mapping[str, ModelFactory] = {"B4": _BASELINES["B4"]}


def models(
    parameters: Mapping[str, Any], holidays: HolidayCalendar = PUBLIC_HOLIDAYS
) -> dict[str, ModelFactory]:
    """Every model, by name; ``parameters`` and ``holidays`` are for ``eta`` and its variants."""
    with_promise = {**parameters, "uses_promise": True}
    delivered_only = {**parameters, "includes_censored": False}
    return {
        **_BASELINES,
        **_BOOSTED,
        "eta": model_factory(parameters, holidays),
        "eta+promise": model_factory(with_promise, holidays),
        "eta-delivered-only": model_factory(delivered_only, holidays),
    }


def model_factory(
    parameters: Mapping[str, Any], holidays: HolidayCalendar
) -> Callable[[], HazardModel]:
    """A function that constructs ``eta`` with these parameters and holidays."""
    return lambda: MODEL(**parameters).with_holidays(holidays)


def settings(env: Mapping[str, str]) -> Settings:
    """The settings of an environment.

    Without ``ETA_HOME`` the home folder is that of the user's data.

    Raises:
        InvalidSetting: if the environment holds an unknown name or an impossible value.
    """
    home = env.get("ETA_HOME") or platformdirs.user_data_path("eta", appauthor=False)
    return Settings.from_env({**env, "ETA_HOME": str(Path(home).expanduser().absolute())})


def registry(settings: Settings) -> Registry:
    """The model registry, which tries a version before it becomes active."""
    return Registry(settings.models, version_trial(settings).check)


def version_trial(settings: Settings) -> VersionTrial:
    """The trial of the registry's versions.

    Those that passed are noted in the user's cache folder, which is as trusted as the program.
    """
    package = Path(__file__).parent
    folder = platformdirs.user_cache_path("eta", appauthor=False) / "passed-versions"
    # A user without a home has no such folder.
    has_folder = folder.is_absolute()
    passed = PassedVersions(folder, describe_program(package)) if has_folder else None
    return VersionTrial(settings.models, _TRIAL_COMMAND, passed)


def load_model(version: Version, settings: Settings) -> ModelBundle:
    """The model of a version.

    Raises:
        ModelCorrupted: if the version lacks a part or was trained on other columns.
    """
    return ModelBundle.from_version(version, MODEL, settings.holidays)


def model_loader(settings: Settings, on_load: Callable[[str], None]) -> ActiveModelLoader:
    """The loader of the active version; ``on_load`` receives the outcome of each load."""
    return ActiveModelLoader(
        settings.models,
        lambda version: load_model(version, settings),
        warm_up,
        version_trial(settings),
        on_load,
        settings.max_model_age_days,
    )


def wall_clock() -> datetime:
    """The time of day by this machine."""
    return datetime.now(UTC)


def steady_clock() -> float:
    """Seconds by a clock that nobody sets, and that counts while the machine sleeps."""
    # Linux alone has it; elsewhere the monotonic clock is as close as it gets.
    boot_time = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(boot_time)


def store(
    settings: Settings,
    clock: Callable[[], datetime],
    steady: Callable[[], float] | None = None,
) -> SqlStore:
    """The open store.

    ``clock`` is judged by ``steady``; without it, it is trusted, as one that is simulated.

    Raises:
        InvalidSetting: if the settings do not name one.
        StoreLocked, StoreUnavailable, StoreRejected: if it cannot be used.
    """
    guard = ClockGuard(steady, settings.max_idle_days) if steady else None
    return open_store(settings.database_url, clock, guard)


def store_engine(settings: Settings) -> Engine:
    """The engine of the store, for reading while another process writes.

    Raises:
        InvalidSetting: if the settings do not name a store.
    """
    return engine_from_url(settings.database_url)
