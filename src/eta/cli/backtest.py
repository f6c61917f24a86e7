"""``eta backtest``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from eta import bootstrap
from eta.cli.files import write_json
from eta.cli.inputs import load_config, read_timelines
from eta.cli.options import (
    SOURCE,
    Config,
    Data,
    Jobs,
    JsonFile,
    Quarantine,
    RefitEvery,
    Source,
)
from eta.cli.quality import report_quality
from eta.cli.tables import out, print_failing, print_rows, print_truth, progress_bar
from eta.cli.times import parse_period
from eta.domain.errors import InvalidValue
from eta.evaluation.backtest import Refit
from eta.evaluation.summary import HEADLINE_METRIC
from eta.files import write_atomically
from eta.forecast.base import ArrivalModel
from eta.report.plots import draw_coverage, draw_pit
from eta.service.analysis.backtest import (
    ORACLE,
    REFERENCE,
    backtest_models,
    oracle_sources,
    scan_conditional_source,
)

First = Annotated[str, typer.Option("--from", help="First day to evaluate.")]
Last = Annotated[str, typer.Option("--to", help="Last day to evaluate.")]
Models = Annotated[str, typer.Option(help="Models to compare, comma-separated.")]
Pictures = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Draw pit.png and coverage.png into this folder."),
]
DEFAULT_MODELS = ",".join(bootstrap.DEFAULT_MODELS)


def backtest(
    data: Data,
    first: First,
    last: Last,
    source: Source = SOURCE,
    refit: RefitEvery = Refit.MONTH,
    models: Models = DEFAULT_MODELS,
    config: Config = None,
    jobs: Jobs = 1,
    pictures: Pictures = None,
    json_file: JsonFile = None,
    quarantine: Quarantine = None,
) -> None:
    """Compare models on past days, with the data received by then."""
    parse_period(first, last, "UTC")  # a wrong date fails before any data are read
    settings, parameters, _ = load_config(config)
    chosen = _choose(models, bootstrap.models(parameters, settings.holidays))
    dataset, timelines = read_timelines(data, source, quarantine or settings.quarantine)
    start, end = parse_period(first, last, dataset.zone)
    report_quality(dataset, timelines, end, config)
    with progress_bar() as progress:
        result = backtest_models(
            timelines,
            chosen,
            source=source,
            start=start,
            end=end,
            zone=dataset.zone,
            refit=refit,
            curve_sources=oracle_sources(data, timelines),
            scan_conditional_curve=scan_conditional_source(data, timelines),
            jobs=jobs,
            progress=progress,
        )
    headline_model = REFERENCE if REFERENCE in chosen else next(iter(chosen))
    if "simulated" in result["data"]:
        out.print("simulated parcels; the oracle sees all that is hidden: nothing can do better")
    print_rows(result["rows"], result["differences"])
    print_failing(result, headline_model)
    print_truth(result, headline_model)
    if pictures:
        _draw(pictures, result, headline_model)
    write_json(json_file, result)


def _choose(
    models: str, available: Mapping[str, Callable[[], ArrivalModel]]
) -> dict[str, Callable[[], ArrivalModel]]:
    """The models that an option names.

    Raises:
        InvalidValue: if there is no model of such a name.
    """
    names = [name.strip() for name in models.split(",")]
    for name in names:
        if name not in available:
            hint = f"choose from {', '.join(available)}"
            raise InvalidValue("--models", f"{name!r} is not a model", hint)
    return {name: available[name] for name in names}


def _draw(folder: Path, result: Mapping[str, Any], model: str) -> None:
    """Draws the pictures of ``model`` and of the baseline with the best headline at purchase."""
    rows, is_simulated = result["rows"], "simulated" in result["data"]
    # The baseline with the lowest CRPS over all parcels at purchase, if there is one.
    crps: dict[str, float] = {}
    for row in rows:
        name = row["model"]
        is_baseline = name not in (model, ORACLE) and not name.startswith(REFERENCE)
        if is_baseline and row["moment"] == "purchase" and row[HEADLINE_METRIC] is not None:
            crps[name] = row[HEADLINE_METRIC]
    best_baseline = [min(crps, key=crps.__getitem__)] if crps else []
    shown = [model, *best_baseline]
    pit = draw_pit(rows, shown, is_simulated=is_simulated)
    write_atomically(folder / "pit.png", pit)
    coverage = draw_coverage(rows, result["by_segment"], model, is_simulated=is_simulated)
    write_atomically(folder / "coverage.png", coverage)
    out.print(f"drew pit.png and coverage.png into {escape(str(folder))}")
