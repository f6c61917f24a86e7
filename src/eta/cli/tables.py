"""What a terminal shows: tables, progress, and a curve drawn in text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from math import ceil, floor, log10
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from eta.evaluation.coverage import ALL
from eta.forecast.drift.estimate import AGE_CLASSES, MAX_LOG_RATE_RATIO, Drift
from eta.service.analysis.backtest import SCAN_CONDITIONAL
from eta.service.analysis.demo import Demo
from eta.service.scoring.score_dataset import ScoreTables

#: Wide enough for every table where nobody's screen decides.
_FILE_WIDTH = 160


def _console(*, stderr: bool) -> Console:
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr, soft_wrap=True, width=None if is_terminal else _FILE_WIDTH, emoji=False
    )


out, err = _console(stderr=False), _console(stderr=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that long work moves."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=not err.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )


def print_rows(rows: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]]) -> None:
    """Models by moment, with how far each is above ``eta``."""
    metrics = {
        "n": "n",
        "mae_days": "MAE",
        "crps_days": "CRPS",
        "crps_censored_days": "CRPS, all",
        "coverage_80": "in 80 %",
        "coverage_censored_80": "all",
        "coverage_90": "in 90 %",
        "coverage_censored_90": "all",
        "coverage_dates_80": "in dates",
        "late_auc": "late AUC",
        "late_auc_month_mean": "by month",
    }
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("moment", "model", *metrics.values(), "CRPS above eta's"):
        table.add_column(
            name,
            no_wrap=name in ("moment", "model", "CRPS above eta's"),
            justify="right" if name in metrics.values() else "left",
        )
    against = {
        (row["moment"], row["against"]): row for row in differences if row["metric"] == "crps_days"
    }
    for moment in dict.fromkeys(row["moment"] for row in rows):
        for row in (row for row in rows if row["moment"] == moment):
            gap = against.get((moment, row["model"]))
            interval = (
                ""
                if gap is None or gap["low"] is None
                else f"{-gap['mean']:+.2f} [{-gap['high']:+.2f}, {-gap['low']:+.2f}]"
            )
            table.add_row(
                moment, row["model"], *(figure(row.get(metric)) for metric in metrics), interval
            )
        table.add_section()
    out.print(table)


def print_promises(result: Mapping[str, Any]) -> None:
    """Promises of a policy beside those that were given, in all and by segment; and how to go on with it where it is no file yet."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in (
        "orders",
        "n",
        "days promised",
        "the shop's",
        "on time",
        "the shop's",
        "days saved",
    ):
        table.add_column(
            name, justify="left" if name in ("orders", "days saved") else "right", no_wrap=True
        )
    for row in [{"segment": "all", "value": "orders", **result["total"]}, *result["by_segment"]]:
        interval = (
            ""
            if row["days_saved_low"] is None
            else f" [{row['days_saved_low']:+.2f}, {row['days_saved_high']:+.2f}]"
        )
        table.add_row(
            escape(f"{row['segment']} {row['value']}"),
            f"{row['n']:,}",
            f"{row['promised_days_mean']:.2f}",
            f"{row['shop_promised_days_mean']:.2f}",
            f"{row['on_time_share']:.1%}",
            f"{row['shop_on_time_share']:.1%}",
            f"{row['days_saved']:+.2f}{escape(interval)}",
        )
    out.print(table)
    if late := result["late_costs_days"]:
        # Three digits, rounded up: the rate is kept.
        step = 10.0 ** (floor(log10(late)) - 2)
        late_cost = f"{ceil(late / step) * step:g}"
        out.print(
            escape(
                f"On the last day a late parcel counted for {late_cost} days; to promise like that: [costs] with late = {late_cost} in the policy file."
            )
        )


#: Of ranges that do not hold, and of moments that have less than a line's worth to say, this many
#: lines are printed.
_LINES = 20


def print_failing(result: Mapping[str, Any], model: str) -> None:
    """The ranges of ``model`` that do not hold, the one furthest off first, and how many were judged."""
    verdicts = [
        row[name]
        for part in ("rows", "by_segment")
        for row in result[part]
        if row["model"] == model
        for name in row
        if name.startswith("holds_") and row[name] is not None
    ]
    failing = [entry for entry in result["failing"] if entry["model"] == model]
    out.print(
        f"\n[bold]Ranges of {model} that do not hold[/]: {len(failing):,} of {len(verdicts):,} judged; all parcels, also those that have not arrived"
    )
    if not failing:
        return
    table = Table("moment", "segment", "value", "n", "range", "covers", "interval", "")
    for entry in failing[:_LINES]:
        name = (
            f"{100 * entry['level']:.0f} %{', dates' if entry['range'].startswith('dates') else ''}"
        )
        segment = (
            ("all parcels", "")
            if entry["segment"] == ALL
            else (entry["segment"], escape(entry["value"]))
        )
        which = (entry["moment"], *segment, f"{entry['n'] + entry['n_censored']:,}", name)
        table.add_row(
            *which,
            f"{entry['coverage']:.1%}",
            f"{entry['low']:.1%} to {entry['high']:.1%}",
            "too narrow" if entry["coverage"] < entry["level"] else "too wide",
        )
    out.print(table)
    if len(failing) > _LINES:
        out.print(f"and {len(failing) - _LINES:,} more: `failing` in the file that --json names")


def print_truth(result: Mapping[str, Any], model: str) -> None:
    """How far the curves of ``model`` are from the law that one parcel's scans leave, by phase."""
    rows = [
        row
        for row in result["truth"] or []
        if row["model"] == model and row["truth"] == SCAN_CONDITIONAL
    ]
    if not rows:
        return
    out.print(
        f"\n[bold]{model} against the true law given the parcel's scans[/]: 0 is the best, and what is left cannot be luck; days"
    )
    table = Table(
        "phase",
        "moments",
        "CRPS lost",
        "+-",
        "median late by",
        "P(late) said",
        "P(late) true",
        "Brier lost",
    )
    metrics = (
        "crps_regret_days",
        "crps_regret_se_days",
        "median_bias_days",
        "late_predicted",
        "late_true",
        "late_brier_regret",
    )
    for row in rows:
        table.add_row(row["phase"], f"{row['n']:,}", *(figure(row[metric]) for metric in metrics))
    out.print(table)


#: Groups whose level differs most from that of all are printed, so many.
_GROUPS = 5


def print_drift(drift: Drift) -> None:
    """How much faster parcels arrive than was learned, by how long they have been open, and where it differs most."""
    table = Table("parcels", *(age.replace("_", " ") for age in AGE_CLASSES))
    table.add_row("all", *map(_faster, drift.log_rate_ratio))
    groups = [
        (column, name, values)
        for column, values_of_group in drift.groups.items()
        for name, values in values_of_group.items()
    ]
    for column, name, values in sorted(groups, key=lambda entry: -np.abs(entry[2]).max())[:_GROUPS]:
        table.add_row(f"{column} {escape(name)}", *map(_faster, drift.log_rate_ratio + values))
    out.print("arrivals an hour, against what was learned")
    out.print(table)


def _faster(log_rate_ratio: float) -> str:
    return f"{np.expm1(np.clip(log_rate_ratio, -MAX_LOG_RATE_RATIO, MAX_LOG_RATE_RATIO)):+.0%}"


def print_check(manifest: Mapping[str, Any]) -> None:
    """How a version did against earlier days."""
    if manifest["check"] is None:
        out.print("not checked: there are no earlier days to judge")
        return
    through = (
        manifest["updated"]["fitted_through"]
        if "updated" in manifest
        else manifest["data"]["through"]
    )
    out.print(
        f"checked on {manifest['check']['from']} to {manifest['check']['to']}, with what was known by {through}"
    )
    print_rows(
        [{"late_auc_month_mean": None, **row} for row in manifest["check"]["rows"]],
        manifest["check"]["differences"],
    )


def print_scored(scored: ScoreTables) -> None:
    """How many parcels carry which flag."""
    table = Table("delay state", "parcels", "median P(late)")
    for state, part in scored.in_flight.groupby("delay_state", sort=True):
        table.add_row(
            str(state), f"{len(part):,}", figure(float(part["delay_probability"].median()))
        )
    out.print(table)
    out.print(
        f"{len(scored.in_flight):,} parcels in flight; {len(scored.expired):,} open for more than 60 days are expired and listed apart"
    )


def print_demo(demo: Demo) -> None:
    """The comparison, then one parcel in flight for every flag there is, with its curve."""
    moments = ("purchase", "in_flight")
    out.print(
        f"[bold]Simulated parcels[/], replayed {demo.backtest['from']} to {demo.backtest['to']}; days, lower is better; the oracle knows all that is hidden"
    )
    print_rows(
        [row for row in demo.backtest["rows"] if row["moment"] in moments],
        demo.backtest["differences"],
    )
    out.print(f"\n[bold]In flight[/] on {demo.as_of:%Y-%m-%d}:")
    print_scored(ScoreTables(demo.in_flight, demo.expired))
    for parcel, probabilities in demo.examples:
        out.print(
            f"\n[bold]{parcel['shipment_id']}[/] {parcel['carrier']} {parcel['service_level']} to {parcel['destination_region']}, {parcel['status']}"
        )
        promise = (
            f"promised {parcel['promised_on']}, on time {_percent(parcel['on_time_probability'])}"
        )
        out.print(
            f"  arrives {_days(parcel['window_from'], parcel['window_to'])} with 80 %; {promise}"
        )
        out.print(f"  {parcel['delay_state']}{_why(parcel)}")
        out.print(f"  {sparkline(probabilities)}  chance of each day from {demo.as_of:%a %d %b} on")


def sparkline(probabilities: NDArray[np.float64]) -> str:
    """Chances, (D,), as a row of blocks, the highest a full one."""
    blocks = " ▁▂▃▄▅▆▇█"
    heights = np.ceil(probabilities / max(probabilities.max(), 1e-9) * (len(blocks) - 1)).astype(
        int
    )
    return "".join(blocks[height] for height in np.where(probabilities < 0.005, 0, heights))


def _days(first: date | None, last: date | None) -> str:
    if pd.isna(first):
        return "some day, or never,"
    return (
        f"{first} or later"
        if pd.isna(last)
        else f"on {first}"
        if first == last
        else f"{first} to {last}"
    )


def _why(parcel: pd.Series) -> str:
    if pd.isna(parcel["delay_reason"]):
        return ""
    if pd.isna(parcel["evidence_kind"]):
        return f": {parcel['delay_reason']}"
    typical_hours = parcel["evidence_expected_upper_hours"]
    limit = "" if pd.isna(typical_hours) else f", nearly all within {typical_hours:.0f} h"
    return f": {parcel['delay_reason']} ({parcel['delay_party']}), {parcel['evidence_kind']} of {parcel['evidence_observed_hours']:.0f} h{limit}"


def _percent(share: float) -> str:
    return "-" if pd.isna(share) else f"{share:.0%}"


def checked_metric(manifest: Mapping[str, Any], metric: str) -> float | None:
    """A figure of the version's own check, at purchase."""
    rows = manifest["check"]["rows"] if manifest["check"] else []
    return next(
        (row[metric] for row in rows if row["model"] == "eta" and row["moment"] == "purchase"), None
    )


def figure(value: float | None) -> str:
    """A figure as text; "-" where there is none."""
    if value is None or value != value:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
