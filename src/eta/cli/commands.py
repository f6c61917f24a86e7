"""The shell's door: ``eta train``, ``eta backtest``, ``eta score``, ``eta serve``, ``eta models``."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.markup import escape
from rich.table import Table

from eta import __version__, bootstrap
from eta.calendars.holidays import HolidayCalendar
from eta.calendars.local_time import midnight, to_instant
from eta.cli.log import LOGGING
from eta.cli.store import add_commands, open_configured_store, read_data
from eta.cli.tables import (
    checked_metric,
    err,
    figure,
    out,
    print_check,
    print_demo,
    print_drift,
    print_failing,
    print_promises,
    print_rows,
    print_scored,
    print_truth,
    progress_bar,
)
from eta.datasets.base import Dataset
from eta.delays import DelayPolicy
from eta.domain.errors import (
    EtaError,
    InvalidSetting,
    InvalidValue,
    ModelCorrupted,
    ModelNotFound,
    SourceRejected,
)
from eta.evaluation.backtest import Refit
from eta.forecast.hazard.model import HazardModel
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle
from eta.model.registry import Registry, write_atomically
from eta.model.train import train_model
from eta.model.update import update_model
from eta.promise import PromisePolicy
from eta.report.plots import draw_coverage, draw_forecasts, draw_pit, draw_promises
from eta.service.analysis.backtest import (
    ORACLE,
    REFERENCE,
    backtest_models,
    oracle_sources,
    scan_conditional_source,
)
from eta.service.analysis.demo import run_demo
from eta.service.analysis.simulate_data import simulate_data
from eta.service.analysis.simulate_promise import simulate_promise
from eta.service.scoring.score_dataset import score_dataset
from eta.settings import Settings, is_loopback, read_setting
from eta.simulation.scenario import DEFAULT as DEFAULT_SCENARIO

app = typer.Typer(
    name="eta",
    help="Delivery dates that people can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(
    help="The registry: what there is, what serves, and back again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models")
promise_app = typer.Typer(
    help="The promise: which day to promise, tried on past orders.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(promise_app, name="promise")
add_commands(app)

Data = Annotated[
    Path,
    typer.Argument(
        help="Folder of the data, or `store:` for what the service has recorded.",
        show_default=False,
    ),
]
Source = Annotated[str, typer.Option(help=f"Layout of the data: {', '.join(bootstrap.SOURCES)}.")]
SOURCE = "tabular"
Config = Annotated[
    Path | None, typer.Option(help="TOML file with [model] and [delays]; see training/train.toml.")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the same figures to this file.")
]
Quarantine = Annotated[
    Path, typer.Option(help="Where rejected rows are written, if there are any.")
]
QUARANTINE = Path("quarantine.csv")
#: Seconds that requests at work have to end when the server is told to stop.
GRACE_SECONDS = 8
NEWEST_VERSION = "newest"
Version = Annotated[
    str, typer.Argument(help=f"Name of a version, or {NEWEST_VERSION}.", show_default=False)
]


@app.command()
def demo(
    data: Annotated[
        Path, typer.Option(help="Folder of the simulated parcels; made if it is not there.")
    ] = Path("models/demo"),
    picture: Annotated[
        Path | None, typer.Option(help="Draw forecasts and what came true into this .png or .svg.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """The product in a minute: simulate, train, replay a week, and look at parcels on their way."""
    settings = Settings.from_env(os.environ)
    available = bootstrap.models({})
    with progress_bar() as progress:
        result = run_demo(
            data,
            Registry(settings.models),
            scenario=DEFAULT_SCENARIO,
            read=bootstrap.SOURCES["tabular"],
            models={name: available[name] for name in bootstrap.DEFAULT_MODELS},
            make=HazardModel,
            progress=progress,
        )
    print_demo(result)
    if picture:
        write_atomically(
            picture, draw_forecasts(result.chart_data, picture.suffix.removeprefix("."))
        )
        out.print(f"drew {escape(str(picture))}")
    out.print(f"version [bold]{result.version}[/] serves; `eta serve --demo` answers with it")
    _write_json(json_file, result.backtest)


@app.command()
def simulate(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to write to.", show_default=False)
    ],
    shipments: Annotated[int, typer.Option(min=1, help="How many parcels.")] = 20_000,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed gives the same parcels.")
    ] = DEFAULT_SCENARIO.seed,
    json_file: JsonFile = None,
) -> None:
    """Write simulated shipments and events, with the truth behind them, as Parquet."""
    with progress_bar() as progress:
        figures = simulate_data(
            folder, DEFAULT_SCENARIO, shipments=shipments, seed=seed, progress=progress
        )
    out.print(
        f"wrote {figures['shipments']:,} simulated shipments and {figures['events']:,} events to {escape(str(folder))}"
    )
    _write_json(json_file, figures)


@app.command()
def train(
    data: Data,
    source: Source = SOURCE,
    as_of: Annotated[
        str | None,
        typer.Option(help="Learn from what was known at this date or time; default: all of it."),
    ] = None,
    config: Config = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = QUARANTINE,
) -> None:
    """Learn from what was known at a moment and write a version into the registry."""
    settings, parameters, policy = _load_config(config)
    dataset, timelines = _read(data, source, quarantine)
    # What was told at that very moment counts as known.
    moment = _parse_instant(as_of, dataset.zone) if as_of else _utc(timelines.received_at.max())
    name = _train(timelines, settings, moment, source, parameters, policy)
    manifest = Registry(settings.models).load(name).manifest
    print_check(manifest)
    out.print(
        f"version [bold]{name}[/] is in {escape(str(settings.models))}; `eta models promote {name}` makes it serve"
    )
    _write_json(json_file, {"version": name, **manifest})


@app.command()
def update(
    data: Data,
    source: Source = SOURCE,
    as_of: Annotated[
        str | None,
        typer.Option(help="Use what was known at this date or time; default: all of it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Version to start from; default: the one that serves.")
    ] = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = QUARANTINE,
) -> None:
    """Keep up with how fast the network runs these days, without fitting again; if the version serves, the new one does."""
    settings = Settings.from_env(os.environ)
    registry = Registry(settings.models)
    name = _resolve_version(registry, model) if model else registry.promoted()
    if name is None:
        raise ModelNotFound("no version serves; promote one, or name one with --model")
    dataset, timelines = _read(data, source, quarantine)
    moment = _parse_instant(as_of, dataset.zone) if as_of else _utc(timelines.received_at.max())
    with progress_bar() as progress:
        updated = update_model(
            timelines,
            registry,
            name,
            as_of=moment,
            source=source,
            make=HazardModel,
            holidays=settings.holidays,
            progress=progress,
        )
    drift = ModelBundle.from_version(
        registry.load(updated), HazardModel, settings.holidays
    ).model.drift
    print_drift(drift)
    out.print(
        f"version [bold]{updated}[/] is {name} as of {moment.isoformat()}{'; it serves' if registry.promoted() == updated else ''}"
    )
    _write_json(
        json_file,
        {
            "version": updated,
            "from": name,
            "active": registry.promoted() == updated,
            "drift": drift.to_json(),
        },
    )


@app.command()
def backtest(
    data: Data,
    first: Annotated[str, typer.Option("--from", help="First day to judge.")],
    last: Annotated[str, typer.Option("--to", help="Last day to judge.")],
    source: Source = SOURCE,
    refit: Annotated[Refit, typer.Option(help="How often `eta` is fitted again.")] = Refit.MONTH,
    models: Annotated[str, typer.Option(help="Models to compare, comma-separated.")] = ",".join(
        bootstrap.DEFAULT_MODELS
    ),
    config: Config = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw pit.png and coverage.png into this folder."),
    ] = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = QUARANTINE,
) -> None:
    """Replay past days as they were known and compare models with each other."""
    settings, parameters, _ = _load_config(config)
    available = bootstrap.models(parameters, settings.holidays)
    names = [name.strip() for name in models.split(",")]
    for name in names:
        if name not in available:
            raise InvalidValue(
                "--models", f"{name!r} is no model", f"choose from {', '.join(available)}"
            )
    dataset, timelines = _read(data, source, quarantine)
    start, end = _parse_period(first, last, dataset.zone)
    with progress_bar() as progress:
        result = backtest_models(
            timelines,
            {name: available[name] for name in names},
            source=source,
            start=start,
            end=end,
            last_day=last,
            refit=refit,
            curve_sources=oracle_sources(data, timelines),
            scan_conditional_curve=scan_conditional_source(data, timelines),
            progress=progress,
        )
    if "simulated" in result["data"]:
        out.print("simulated parcels; the oracle knows all that is hidden: nobody can do better")
    print_rows(result["rows"], result["differences"])
    headline_model = REFERENCE if REFERENCE in names else names[0]
    print_failing(result, headline_model)
    print_truth(result, headline_model)
    if pictures:
        _draw(pictures, result, headline_model)
    _write_json(json_file, result)


@app.command()
def score(
    data: Data,
    as_of: Annotated[
        str,
        typer.Option(
            help="The moment: a date (00:00 in the source's zone) or a time with an offset."
        ),
    ],
    source: Source = SOURCE,
    model: Annotated[
        str | None,
        typer.Option(
            help="Version to use; default: the newest that had not learned beyond --as-of."
        ),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", help="One row a parcel, .csv or .parquet; expired parcels beside it."
        ),
    ] = None,
    config: Config = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = QUARANTINE,
) -> None:
    """Windows and delay flags of all parcels in flight."""
    if out_file and out_file.suffix not in (".csv", ".parquet"):
        raise InvalidValue(
            "--out", f"{out_file.name} names no format", "end it with .csv or .parquet"
        )
    settings, parameters, policy = _load_config(config)
    dataset, timelines = _read(data, source, quarantine)
    moment = _parse_instant(as_of, dataset.zone)
    registry = Registry(settings.models)
    served = (
        _newest_model(registry, moment, settings.holidays)
        if model is None
        else _named_model(registry, model, moment, settings.holidays)
    )
    if served is None:
        err.print(f"no version had learned by {moment.isoformat()} and no further: training one")
        trained = registry.load(_train(timelines, settings, moment, source, parameters, policy))
        served = ModelBundle.from_version(trained, HazardModel, settings.holidays)
    with progress_bar() as progress:
        progress("scoring", 0, 1)
        scored = score_dataset(timelines, served, to_instant(moment), policy=policy)
        progress("scored", 1, 1)
    print_scored(scored)
    if out_file:
        expired_file = out_file.with_name(f"{out_file.stem}.expired{out_file.suffix}")
        _write_table(out_file, scored.in_flight)
        _write_table(expired_file, scored.expired)
        out.print(f"wrote {escape(str(out_file))} and {escape(str(expired_file))}")
    states = scored.in_flight["delay_state"].value_counts().sort_index()
    figures = {
        "as_of": moment.isoformat(),
        "model_version": served.version,
        "in_flight": len(scored.in_flight),
        "expired": len(scored.expired),
    }
    _write_json(
        json_file,
        {**figures, "delay_states": {str(state): int(count) for state, count in states.items()}},
    )


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
    demo: Annotated[
        bool, typer.Option("--demo", help="Ask for no keys; on loopback only.")
    ] = False,
) -> None:
    """Answer over HTTP; a version promoted meanwhile is picked up without a restart."""
    if demo:
        # The application reads its settings where it is made.
        os.environ["ETA_DEMO"] = "1"
    settings = Settings.from_env(os.environ)
    settings.require_api_keys()
    if settings.is_demo and not is_loopback(host):
        raise InvalidValue(
            "--host",
            "the demo asks for no keys and listens on loopback only",
            "leave it out, or set ETA_API_KEYS and serve without the demo",
        )
    # What keeps the store from being opened is said here in one line, before the server starts.
    open_configured_store().close()
    import uvicorn  # of no use to the other commands, and slow to import

    uvicorn.run(
        "eta.api.app:from_environment",
        factory=True,
        host=host,
        port=port,
        access_log=False,
        log_config=LOGGING,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


@promise_app.command("simulate")
def promise_simulate(
    data: Data,
    first: Annotated[str, typer.Option("--from", help="First day of the orders.")],
    last: Annotated[str, typer.Option("--to", help="Last day of the orders.")],
    source: Source = SOURCE,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of the promise policy; default: that keeps the shop's own on-time rate."
        ),
    ] = None,
    refit: Annotated[
        Refit, typer.Option(help="How often the model is fitted again.")
    ] = Refit.MONTH,
    config: Config = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the promises into this .png or .svg.")
    ] = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = QUARANTINE,
) -> None:
    """Replay a promise policy on past orders: days promised, kept and saved, beside what was promised."""
    settings, parameters, _ = _load_config(config)
    if picture and picture.suffix not in (".png", ".svg"):
        raise InvalidValue(
            "--picture", f"{picture.name} names no format", "end it with .png or .svg"
        )
    promise_policy = (
        None if policy is None else read_setting("--policy", str(policy), PromisePolicy.from_toml)
    )
    dataset, timelines = _read(data, source, quarantine)
    start, end = _parse_period(first, last, dataset.zone)
    with progress_bar() as progress:
        result = simulate_promise(
            timelines,
            bootstrap.models(parameters, settings.holidays)[REFERENCE],
            source=source,
            start=start,
            end=end,
            last_day=last,
            refit=refit,
            policy=promise_policy,
            progress=progress,
        )
    print_promises(result)
    if picture:
        months, regions = (
            [row for row in result["by_segment"] if row["segment"] == name]
            for name in ("month", "destination_region")
        )
        policy_label = (
            f"the policy {promise_policy.version}"
            if promise_policy
            else "a policy at the shop's own on-time rate"
        )
        write_atomically(
            picture, draw_promises(months, regions, policy_label, picture.suffix.removeprefix("."))
        )
        out.print(f"drew {escape(str(picture))}")
    _write_json(json_file, {name: value for name, value in result.items() if name != "orders"})


@models_app.command("list")
def list_models(json_file: JsonFile = None) -> None:
    """All versions, the one that learned furthest first."""
    registry = _registry()
    serving = registry.promoted()
    table = Table("version", "learned through", "examples", "CRPS at purchase, days", "active")
    rows: list[dict[str, Any]] = []
    for name in registry.names():
        try:
            manifest = registry.load(name).manifest
        except ModelCorrupted as error:
            table.add_row(name, "[red]rejected[/]", "", escape(str(error)), "")
            rows.append({"version": name, "rejected": str(error)})
            continue
        table.add_row(
            name,
            manifest["data"]["through"],
            f"{manifest['data']['examples']:,}",
            figure(checked_metric(manifest, "crps_days")),
            "yes" if name == serving else "",
        )
        rows.append({"version": name, "data": manifest["data"], "active": name == serving})
    out.print(table)
    _write_json(json_file, {"versions": rows, "active": serving})


@models_app.command()
def show(version: Version, json_file: JsonFile = None) -> None:
    """What a version is made of and how it did against earlier days."""
    registry = _registry()
    manifest = registry.load(_resolve_version(registry, version)).manifest
    print_check(manifest)
    out.print_json(json.dumps({name: value for name, value in manifest.items() if name != "check"}))
    _write_json(json_file, dict(manifest))


@models_app.command()
def promote(version: Version) -> None:
    """Make a version serve."""
    registry = _registry()
    name = _resolve_version(registry, version)
    registry.promote(name)
    out.print(f"{name} serves")


@models_app.command()
def rollback() -> None:
    """Make the version serve that served before."""
    out.print(f"{_registry().rollback()} serves again")


@models_app.command()
def compare(version: Version, other: Version, json_file: JsonFile = None) -> None:
    """Two versions' checks, side by side; each was judged on the days before it learned."""
    registry = _registry()
    version, other = _resolve_version(registry, version), _resolve_version(registry, other)
    manifests = {name: registry.load(name).manifest for name in (version, other)}
    metrics = (
        "n",
        "mae_days",
        "crps_days",
        "crps_censored_days",
        "coverage_80",
        "coverage_90",
        "late_auc",
        "late_ap",
    )
    table = Table("figure, at purchase", version, other)
    days = {
        name: manifest["check"] and f"{manifest['check']['from']} to {manifest['check']['to']}"
        for name, manifest in manifests.items()
    }
    table.add_row("judged on", *(days[name] or "no earlier days" for name in manifests))
    for metric in metrics:
        table.add_row(
            metric, *(figure(checked_metric(manifest, metric)) for manifest in manifests.values())
        )
    out.print(table)
    _write_json(json_file, {name: manifest["check"] for name, manifest in manifests.items()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command line; every foreseen error is one line on standard error and exit status 2."""
    try:
        app(args=arguments, prog_name="eta", standalone_mode=True)
    except EtaError as error:
        err.print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(2)
    except OSError as error:
        err.print(f"[red]error:[/] {escape(str(error.filename or 'file'))}: {error.strerror}")
        sys.exit(2)


def _version(value: bool) -> None:
    if value:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Delivery dates that people can trust."""


def _load_config(config: Path | None) -> tuple[Settings, dict[str, Any], DelayPolicy]:
    """Settings, parameters of the model and delay policy."""
    settings = Settings.from_env(os.environ)
    if config is None:
        return settings, {}, DelayPolicy()
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidSetting(f"{config} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{config} is no TOML: {error}") from None
    defaults: dict[str, dict[str, Any]] = {
        "model": HazardModel().get_params(),
        "delays": asdict(DelayPolicy()),
    }
    for section, entries in values.items():
        if section not in defaults or not isinstance(entries, dict):
            raise InvalidSetting(
                f"{config}: [{section}] is no section; there are [model] and [delays]"
            )
        for name, value in entries.items():
            if name not in defaults[section]:
                raise InvalidSetting(
                    f"{config}: {name} is no setting of [{section}]; there are {', '.join(sorted(defaults[section]))}"
                )
            kind = type(defaults[section][name])
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise InvalidSetting(
                    f"{config}: {name} of [{section}] must be {kind.__name__}, such as {defaults[section][name]}"
                )
    return settings, values.get("model", {}), DelayPolicy(**values.get("delays", {}))


def _read(data: Path, source: str, quarantine: Path) -> tuple[Dataset, Timelines]:
    with err.status(f"reading {escape(str(data))}"):
        dataset = read_data(data, source)
        if not len(dataset.shipments):
            raise SourceRejected(f"{data} holds no orders")
        timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    err.print(f"read {len(timelines):,} shipments and {len(timelines.event_code):,} scans")
    for note, count in dataset.warnings.items():
        if count:
            err.print(f"  kept   {count:>7,}  {note}")
    for reason, count in dataset.rejected().items():
        err.print(f"  [yellow]rejected[/] {count:>5,}  {reason}")
    if len(dataset.quarantine):
        _write_table(quarantine, dataset.quarantine)
        err.print(f"  rejected rows are in {escape(str(quarantine))}")
    return dataset, timelines


def _train(
    timelines: Timelines,
    settings: Settings,
    moment: datetime,
    source: str,
    parameters: Mapping[str, Any],
    policy: DelayPolicy,
) -> str:
    with progress_bar() as progress:
        return train_model(
            timelines,
            Registry(settings.models),
            as_of=moment,
            source=source,
            make=lambda: HazardModel(**parameters).with_holidays(settings.holidays),
            rivals=bootstrap.CHECK_BASELINES,
            policy=policy,
            progress=progress,
        )


def _newest_model(
    registry: Registry, moment: datetime, holidays: HolidayCalendar
) -> ModelBundle | None:
    """The newest sound version that had not learned beyond ``moment``; what is refused on the way is said."""
    for name in registry.names():
        try:
            version = registry.load(name)
            if version.data_through <= moment:
                return ModelBundle.from_version(version, HazardModel, holidays)
        except ModelCorrupted as error:
            err.print(f"[yellow]refused:[/] {escape(str(error))}")
    return None


def _named_model(
    registry: Registry, name: str, moment: datetime, holidays: HolidayCalendar
) -> ModelBundle:
    version = registry.load(_resolve_version(registry, name))
    if version.data_through > moment:
        err.print(
            f"[yellow]note:[/] {version.name} has learned beyond {moment.isoformat()}: these answers know more than that morning did"
        )
    return ModelBundle.from_version(version, HazardModel, holidays)


def _registry() -> Registry:
    return Registry(Settings.from_env(os.environ).models)


def _resolve_version(registry: Registry, version: str) -> str:
    names = registry.names()
    return names[0] if version == NEWEST_VERSION and names else version


def _parse_instant(text: str, zone: str) -> datetime:
    try:
        moment = midnight(text, zone)
    except ValueError:
        raise InvalidValue(
            "--as-of", f"{text!r} is no date", "write 2018-05-15 or 2018-05-15T08:00:00-03:00"
        ) from None
    if len(text) > len("2018-05-15") and datetime.fromisoformat(text).tzinfo is None:
        raise InvalidValue(
            "--as-of", f"{text!r} has no offset from UTC", "write it as 2018-05-15T08:00:00-03:00"
        )
    return moment


def _parse_date(text: str, field: str, zone: str) -> datetime:
    try:
        return midnight(
            datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=None).date().isoformat(),  # noqa: DTZ007  # a date alone
            zone,
        )
    except ValueError:
        raise InvalidValue(field, f"{text!r} is no date", "write it as 2018-05-15") from None


def _parse_period(first: str, last: str, zone: str) -> tuple[datetime, datetime]:
    """The midnights at which the first of some days begins and the last ends."""
    start, last_midnight = _parse_date(first, "--from", zone), _parse_date(last, "--to", zone)
    if last_midnight < start:
        raise InvalidValue("--to", f"{last} is before {first}", "give a later day")
    return start, last_midnight + timedelta(days=1)


def _utc(instant: np.datetime64) -> datetime:
    return pd.Timestamp(instant, tz="UTC").to_pydatetime()


def _draw(folder: Path, result: Mapping[str, Any], model: str) -> None:
    """The pictures of a backtest: of ``model`` and of the baseline with the lowest CRPS at purchase."""
    rivals = [
        row
        for row in result["rows"]
        if row["moment"] == "purchase"
        and row["model"] not in (model, ORACLE)
        and not row["model"].startswith(REFERENCE)
    ]
    best = [
        row["model"]
        for row in sorted(
            (row for row in rivals if row["crps_days"] is not None),
            key=lambda row: row["crps_days"],
        )[:1]
    ]
    is_simulated = "simulated" in result["data"]
    write_atomically(
        folder / "pit.png", draw_pit(result["rows"], [model, *best], is_simulated=is_simulated)
    )
    write_atomically(
        folder / "coverage.png",
        draw_coverage(result["rows"], result["by_segment"], model, is_simulated=is_simulated),
    )
    out.print(f"drew pit.png and coverage.png into {escape(str(folder))}")


def _write_json(path: Path | None, values: Mapping[str, Any]) -> None:
    if path:
        write_atomically(path, json.dumps(values, indent=1, allow_nan=False).encode() + b"\n")


def _write_table(path: Path, table: pd.DataFrame) -> None:
    if path.suffix == ".parquet":
        write_atomically(path, table.to_parquet(index=False))
    else:
        text = table.select_dtypes(include=["object", "string"]).columns
        # A spreadsheet runs a cell that starts like a formula.
        safe = table.assign(
            **{
                name: table[name].map(
                    lambda cell: (
                        f"'{cell}"
                        if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell
                        else cell
                    )
                )
                for name in text
            }
        )
        write_atomically(path, safe.to_csv(index=False, lineterminator="\n").encode())
