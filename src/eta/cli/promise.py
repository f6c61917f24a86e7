"""``eta promise simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eta import bootstrap
from eta.cli.files import check_suffix, write_json, write_picture
from eta.cli.inputs import load_config, read_timelines
from eta.cli.options import (
    SOURCE,
    Config,
    Data,
    JsonFile,
    Quarantine,
    RefitEvery,
    Source,
)
from eta.cli.tables import print_promises, progress_bar
from eta.cli.times import parse_period
from eta.configuration import read_promise_policy
from eta.evaluation.backtest import Refit
from eta.promise import PromisePolicy
from eta.report.plots import draw_promises
from eta.service.analysis.backtest import REFERENCE
from eta.service.analysis.simulate_promise import simulate_promise

First = Annotated[str, typer.Option("--from", help="First day of the orders.")]
Last = Annotated[str, typer.Option("--to", help="Last day of the orders.")]
Policy = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of the promise policy; default: one at the shop's actual on-time rate."
    ),
]
Picture = Annotated[Path | None, typer.Option(help="Draw the promises into this .png or .svg.")]


def simulate_policy(
    data: Data,
    first: First,
    last: Last,
    source: Source = SOURCE,
    policy: Policy = None,
    refit: RefitEvery = Refit.MONTH,
    config: Config = None,
    picture: Picture = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = None,
) -> None:
    """Try a promise policy on past orders and compare it with the shop's actual promises."""
    parse_period(first, last, "UTC")  # a wrong date fails before any data are read
    settings, parameters, _ = load_config(config)
    check_suffix("--picture", picture, (".png", ".svg"))
    promise_policy = read_promise_policy("--policy", str(policy)) if policy else None
    dataset, timelines = read_timelines(data, source, quarantine or settings.quarantine)
    start, end = parse_period(first, last, dataset.zone)
    with progress_bar() as progress:
        result = simulate_promise(
            timelines,
            bootstrap.models(parameters, settings.holidays)[REFERENCE],
            source=source,
            start=start,
            end=end,
            zone=dataset.zone,
            refit=refit,
            policy=promise_policy,
            progress=progress,
        )
    print_promises(result)
    if picture:
        _draw(picture, result["by_segment"], promise_policy)
    write_json(json_file, {name: value for name, value in result.items() if name != "orders"})


def _draw(path: Path, segments: list[dict[str, Any]], policy: PromisePolicy | None) -> None:
    months = [row for row in segments if row["segment"] == "month"]
    regions = [row for row in segments if row["segment"] == "destination_region"]
    label = "a policy at the shop's own on-time rate"
    if policy:
        label = f"the policy {policy.version}"
    file_format = path.suffix.removeprefix(".")
    write_picture(path, draw_promises(months, regions, label, file_format))
