"""``eta score``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from eta import bootstrap
from eta.calendars.local_time import to_instant
from eta.cli.files import check_suffix, write_json, write_table
from eta.cli.inputs import load_config, read_timelines, resolve_version
from eta.cli.options import SOURCE, Config, Data, JsonFile, Quarantine, Source
from eta.cli.quality import report_quality
from eta.cli.tables import err, out, print_scored, progress_bar
from eta.cli.times import check_as_of, parse_instant
from eta.cli.train import train_version
from eta.forecast.seen_services import UnseenName
from eta.model.bundle import ModelBundle
from eta.model.choose_version import VersionChoice, choose_version
from eta.model.hot_swap import age_in_days
from eta.model.registry import Version
from eta.service.scoring.score_dataset import ScoreTables, score_dataset, unseen_names
from eta.settings import Settings

AsOf = Annotated[
    str,
    typer.Option(help="A date (00:00 in the source's zone) or a time with an offset."),
]
Model = Annotated[
    str | None,
    typer.Option(help="Version to use; default: the newest trained on data up to --as-of only."),
]
OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write one row a parcel, as .csv or .parquet; expired parcels go to a second file.",
    ),
]


def score(
    data: Data,
    as_of: AsOf,
    source: Source = SOURCE,
    model: Model = None,
    out_file: OutFile = None,
    config: Config = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = None,
) -> None:
    """Predict windows and delay flags of all parcels in flight."""
    check_suffix("--out", out_file, (".csv", ".parquet"))
    check_as_of(as_of)
    settings, parameters, policy = load_config(config, "models")
    dataset, timelines = read_timelines(data, source, quarantine or settings.quarantine)
    moment = parse_instant(as_of, dataset.zone)
    choice = VersionChoice(None, None, None, {})
    if model is None:
        choice = _choose_model(settings, moment, source)
    served = choice.bundle if model is None else _named_model(settings, model, moment)
    if served is None:
        err.print(f"no version was trained on data up to {moment.isoformat()} only: training one")
        quality = report_quality(dataset, timelines, moment, config)
        name = train_version(
            timelines, settings, moment, source, dataset.zone, parameters, policy, quality
        )
        served = bootstrap.load_model(bootstrap.registry(settings).load(name), settings)
        err.print(f"scoring with version {name}")
    with progress_bar() as progress:
        progress("scoring", 0, 1)
        scored = score_dataset(timelines, served, to_instant(moment), policy=policy)
        progress("scored", 1, 1)
    print_scored(scored)
    unseen = _report_unseen(scored, served)
    if out_file:
        expired_file = out_file.with_name(f"{out_file.stem}.expired{out_file.suffix}")
        write_table(out_file, scored.on_the_way())
        write_table(expired_file, scored.expired)
        out.print(f"wrote {escape(str(out_file))} and {escape(str(expired_file))}")
    chosen = {"promoted": choice.promoted, "why_not_promoted": choice.why_not_promoted}
    write_json(json_file, {**_summary(scored, moment, served.version, unseen), **chosen})


def _named_model(settings: Settings, model: str, moment: datetime) -> ModelBundle:
    """The version that ``--model`` names; notes that it was trained on data received later."""
    registry = bootstrap.registry(settings)
    version = registry.load(resolve_version(registry, model))
    if version.data_through > moment:
        err.print(
            f"[yellow]note:[/] {version.name} was trained on data received after"
            f" {moment.isoformat()}: these scores use later knowledge"
        )
    return _load(version, settings, moment)


def _choose_model(settings: Settings, moment: datetime, source: str) -> VersionChoice:
    """The newest version of the source trained on data up to ``moment`` only.

    Prints rejected versions, which version is used, and why not the promoted one.
    """

    def load(version: Version) -> ModelBundle:
        return _load(version, settings, moment)

    choice = choose_version(bootstrap.registry(settings), moment, source, load)
    for problem in choice.problems.values():
        err.print(f"[yellow]rejected:[/] {escape(problem)}")
    if choice.why_not_promoted:
        why = f"{choice.promoted or 'the promoted version'} is not used: {choice.why_not_promoted}"
        err.print(f"[yellow]note:[/] {escape(why)}", soft_wrap=True)
    if choice.bundle is not None:
        err.print(f"scoring with version {choice.bundle.version}")
    return choice


def _report_unseen(scored: ScoreTables, served: ModelBundle) -> Mapping[UnseenName, int]:
    """Reports carriers and services that the model has not seen; their parcels by name."""
    unseen = unseen_names(scored, served.seen_services)
    for name, parcels in unseen.items():
        noun = "parcel" if parcels == 1 else "parcels"
        err.print(f"[yellow]note:[/] {parcels:,} {noun}: {escape(name.describe())}")
    return unseen


def _load(version: Version, settings: Settings, moment: datetime) -> ModelBundle:
    """The model of a version; reports one that is outdated at ``moment``."""
    age_days = age_in_days(version.data_through, moment)
    if age_days > settings.max_model_age_days:
        err.print(
            f"[yellow]note:[/] {version.name} has learned from data through"
            f" {version.data_through.isoformat()}, {age_days:.0f} days before"
            f" {moment.isoformat()}: train on newer data with `eta train`"
        )
    return bootstrap.load_model(version, settings)


def _summary(
    scored: ScoreTables, moment: datetime, version: str, unseen: Mapping[UnseenName, int]
) -> dict[str, Any]:
    states = scored.in_flight["delay_state"].value_counts().sort_index()
    return {
        "as_of": moment.isoformat(),
        "model_version": version,
        "in_flight": len(scored.in_flight),
        "undelivered": len(scored.undelivered),
        "expired": len(scored.expired),
        "flagged": int(scored.in_flight["flag_raised"].sum()),
        "unseen": [{**name._asdict(), "parcels": parcels} for name, parcels in unseen.items()],
        "delay_states": {str(state): int(count) for state, count in states.items()},
    }
