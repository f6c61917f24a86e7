"""``eta demo`` and ``eta simulate``."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from eta import bootstrap
from eta.cli.files import write_json, write_picture
from eta.cli.inputs import load_settings
from eta.cli.options import Folder, JsonFile
from eta.cli.tables import out, print_demo, progress_bar
from eta.report.plots import draw_forecasts
from eta.service.analysis.demo import run_demo
from eta.service.analysis.simulate_data import simulate_data

DemoData = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the simulated parcels; default: demo in the folder of models.",
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(help="Draw forecasts and actual arrivals into this .png or .svg."),
]
Shipments = Annotated[int, typer.Option(min=1, help="Number of parcels.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same parcels.")]


def demo(
    data: DemoData = None,
    picture: Picture = None,
    json_file: JsonFile = None,
) -> None:
    """Show the product in a minute, on simulated parcels.

    Simulates parcels, trains a model, backtests it over a week and shows parcels in flight.
    """
    settings = load_settings("models")
    available = bootstrap.models({})
    with progress_bar() as progress:
        result = run_demo(
            data or settings.models / "demo",
            bootstrap.registry(settings),
            scenario=bootstrap.SCENARIO,
            read=partial(bootstrap.SOURCES[bootstrap.DEFAULT_SOURCE], now=datetime.now(UTC)),
            models={name: available[name] for name in bootstrap.DEFAULT_MODELS},
            make=bootstrap.MODEL,
            progress=progress,
        )
    print_demo(result)
    if picture:
        file_format = picture.suffix.removeprefix(".")
        write_picture(picture, draw_forecasts(result.chart_data, file_format))
    out.print(f"version [bold]{result.version}[/] is active; `eta serve --demo` serves it")
    write_json(json_file, result.backtest)


def simulate(
    folder: Folder,
    shipments: Shipments = 20_000,
    seed: Seed = bootstrap.SCENARIO.seed,
    json_file: JsonFile = None,
) -> None:
    """Write simulated parcels and the truth behind them as Parquet."""
    with progress_bar() as progress:
        figures = simulate_data(
            folder, bootstrap.SCENARIO, shipments=shipments, seed=seed, progress=progress
        )
    counts = f"{figures['shipments']:,} simulated shipments and {figures['events']:,} events"
    out.print(f"wrote {counts} to {escape(str(folder))}")
    write_json(json_file, figures)
