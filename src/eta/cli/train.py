"""``eta train`` and ``eta update``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from eta import bootstrap
from eta.cli.files import write_json
from eta.cli.inputs import (
    StoreTenants,
    load_config,
    load_settings,
    parse_as_of,
    read_timelines,
    resolve_version,
)
from eta.cli.memory import give_back_large_arrays, release_frames
from eta.cli.options import (
    SOURCE,
    AllTenants,
    Config,
    Data,
    Jobs,
    JsonFile,
    OneTenant,
    Quarantine,
    Source,
)
from eta.cli.quality import report_quality
from eta.cli.tables import out, print_check, print_drift, progress_bar
from eta.cli.times import check_as_of
from eta.delays import DelayPolicy
from eta.domain.errors import ModelNotFound
from eta.journey.timelines import Timelines
from eta.model.registry import Registry
from eta.model.train import train_model
from eta.model.update import update_model
from eta.quality.assess import DataQuality
from eta.service.analysis.simulate_data import holds_simulated_data
from eta.settings import Settings

AsOf = Annotated[
    str | None,
    typer.Option(
        help="Use only data received by this date or time;"
        " default: through the last day with a normal number of rows."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Train even if the data look unfit; see [quality].")
]
StartVersion = Annotated[
    str | None, typer.Option("--model", help="Version to update; default: the active one.")
]


def train(
    data: Data,
    source: Source = SOURCE,
    as_of: AsOf = None,
    config: Config = None,
    jobs: Jobs = 1,
    force: Force = False,
    json_file: JsonFile = None,
    quarantine: Quarantine = None,
    tenant: OneTenant = None,
    all_tenants: AllTenants = False,
) -> None:
    """Train a model and write a version into the registry.

    All tenants share the registry.
    """
    check_as_of(as_of)
    give_back_large_arrays()
    settings, parameters, policy = load_config(config, "models")
    tenants = StoreTenants(tenant, all_tenants)
    dataset, timelines = read_timelines(data, source, quarantine or settings.quarantine, tenants)
    moment = parse_as_of(as_of, dataset, timelines)
    quality = report_quality(dataset, timelines, moment, config, forced=force)
    recipe = (source, dataset.zone, parameters, policy, quality)
    del dataset
    release_frames()
    is_simulated = holds_simulated_data(data)
    name = train_version(timelines, settings, moment, *recipe, is_simulated=is_simulated, jobs=jobs)
    manifest = bootstrap.registry(settings).load(name).manifest
    print_check(manifest)
    folder = escape(str(settings.models))
    out.print(
        f"version [bold]{name}[/] is in {folder}; `eta models promote {name}` makes it active"
    )
    write_json(json_file, {"version": name, **manifest})


def train_version(
    timelines: Timelines,
    settings: Settings,
    moment: datetime,
    source: str,
    zone: str,
    parameters: Mapping[str, Any],
    policy: DelayPolicy,
    quality: DataQuality,
    *,
    is_simulated: bool = False,
    jobs: int = 1,
) -> str:
    """Trains a model on the data received by ``moment``; returns the name of the new version.

    Raises:
        DataRefused: if the data are not fit to train on.
        NoTrainingData: if no parcel had arrived by then.
    """
    quality.check()
    with progress_bar() as progress:
        return train_model(
            timelines,
            bootstrap.registry(settings),
            as_of=moment,
            source=source,
            zone=zone,
            make=bootstrap.model_factory(parameters, settings.holidays),
            rivals=bootstrap.CHECK_BASELINES,
            policy=policy,
            is_simulated=is_simulated,
            quality=quality,
            jobs=jobs,
            progress=progress,
        )


def update(
    data: Data,
    source: Source = SOURCE,
    as_of: AsOf = None,
    model: StartVersion = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = None,
    tenant: OneTenant = None,
    all_tenants: AllTenants = False,
) -> None:
    """Update drift and place effects of a version.

    The model is not fitted again. If the version is active, the new one becomes active.
    """
    check_as_of(as_of)
    settings = load_settings("models")
    registry = bootstrap.registry(settings)
    name = _version_to_update(registry, model)
    tenants = StoreTenants(tenant, all_tenants)
    dataset, timelines = read_timelines(data, source, quarantine or settings.quarantine, tenants)
    moment = parse_as_of(as_of, dataset, timelines)
    report_quality(dataset, timelines, moment, None)
    with progress_bar() as progress:
        updated = update_model(
            timelines,
            registry,
            name,
            as_of=moment,
            source=source,
            make=bootstrap.MODEL,
            holidays=settings.holidays,
            progress=progress,
        )
    drift = bootstrap.load_model(registry.load(updated), settings).model.drift
    print_drift(drift)
    is_active = registry.promoted() == updated
    ending = "; it is active" if is_active else ""
    out.print(f"version [bold]{updated}[/] is {name} as of {moment.isoformat()}{ending}")
    report = {"version": updated, "from": name, "active": is_active, "drift": drift.to_json()}
    write_json(json_file, report)


def _version_to_update(registry: Registry, model: str | None) -> str:
    if model:
        return resolve_version(registry, model)
    active = registry.promoted()
    if active is None:
        raise ModelNotFound("no version is active; promote one, or name one with --model")
    return active
