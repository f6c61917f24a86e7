"""Terminal output: tables, progress bars, and curves drawn as text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from math import ceil, floor, log10
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from eta.datasets.base import RowCounts
from eta.evaluation.coverage import ALL
from eta.evaluation.summary import HEADLINE_METRIC
from eta.forecast.drift.estimate import AGE_CLASSES, MAX_LOG_RATE_RATIO, Drift
from eta.report.plots import DRAWN_MOMENTS
from eta.service.analysis.backtest import SCAN_CONDITIONAL
from eta.service.analysis.demo import Demo
from eta.service.scoring.score_dataset import ScoreTables

#: Width of output that does not go to a terminal; wide enough for every table.
_FILE_WIDTH = 160

#: Most rows of ranges, and of drift groups, that a command prints.
_MAX_FAILING_ROWS = 20
_MAX_DRIFT_GROUPS = 5
#: Seconds between two lines of progress in a log.
_LINE_SECONDS = 5.0

#: Shares of a day below which a curve shows nothing.
_MIN_SHOWN_PROBABILITY = 0.005
_BLOCKS = " ▁▂▃▄▅▆▇█"

#: The headline, over all parcels, comes first; figures of delivered parcels alone stay beside it,
#: for comparison with publications.
_MODEL_METRICS = {
    HEADLINE_METRIC: "CRPS, all",
    "n": "delivered",
    "crps_days": "CRPS",
    "mae_days": "MAE",
    "coverage_80": "in 80 %",
    "coverage_censored_80": "all",
    "coverage_90": "in 90 %",
    "coverage_censored_90": "all",
    "coverage_dates_80": "in dates",
    "late_auc": "late AUC",
    "late_auc_month_mean": "by month",
}
#: Columns of differences, by metric; the last one is the headline, and has its interval.
_DIFFERENCE_COLUMNS = {
    "crps_days": "eta minus it",
    HEADLINE_METRIC: "eta minus it, all",
}
_TRUTH_METRICS = {
    "crps_regret_days": "CRPS lost",
    "crps_regret_se_days": "+-",
    "median_bias_days": "median late by",
    "late_predicted": "P(late) predicted",
    "late_true": "P(late) true",
    "late_brier_regret": "Brier lost",
}

Row = Mapping[str, Any]


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _FILE_WIDTH
    return Console(stderr=stderr, soft_wrap=True, width=width, emoji=False)


out, err = _console(stderr=False), _console(stderr=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar, as a function of what is done, how much of it, and how much in all.

    In a log it is a line whenever another tenth of all is done, and at least one every few seconds
    in which anything is reported.
    """
    if not err.is_terminal:
        yield _progress_lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda description, done, total: bar.update(
            task, description=description, completed=done, total=total
        )


def status(description: str) -> AbstractContextManager[object]:
    """Shows what a command does while it cannot say how much is left; in a log it is a line."""
    if err.is_terminal:
        return err.status(escape(description))
    err.print(description, markup=False, highlight=False, soft_wrap=True)
    return nullcontext()


def _progress_lines() -> Callable[[str, int, int], None]:
    printed_at, printed_tenths = monotonic(), -1

    def report(description: str, done: int, total: int) -> None:
        nonlocal printed_at, printed_tenths
        share = done / total if total else 1.0
        tenths = int(10 * share)
        if tenths != printed_tenths or monotonic() - printed_at >= _LINE_SECONDS:
            printed_at, printed_tenths = monotonic(), tenths
            line = f"{share:4.0%}  {description} ({done:,} of {total:,})"
            err.print(line, markup=False, highlight=False, soft_wrap=True)

    return report


def _plain_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def print_row_counts(rows: Mapping[str, RowCounts]) -> None:
    """Prints how many rows of each file were read, kept, duplicate and rejected."""
    table = _plain_table()
    table.add_column("file", no_wrap=True)
    for name in ("read", "kept", "duplicate", "rejected"):
        table.add_column(name, justify="right")
    for file, counts in rows.items():
        figures = (counts.read, counts.accepted, counts.duplicate, counts.rejected)
        table.add_row(escape(file), *(f"{figure:,}" for figure in figures))
    err.print(table)


def print_rows(rows: Sequence[Row], differences: Sequence[Row]) -> None:
    """Prints models by moment, and the CRPS of ``eta`` minus that of each.

    A moment without parcels is left out.
    """
    rows = [row for row in rows if row["n"] or row[HEADLINE_METRIC] is not None]
    table = _plain_table()
    for name in ("moment", "model"):
        table.add_column(name, no_wrap=True)
    for name in (*_MODEL_METRICS.values(), *_DIFFERENCE_COLUMNS.values()):
        table.add_column(name, justify="right", no_wrap=name in _DIFFERENCE_COLUMNS.values())
    gaps = {(row["moment"], row["against"], row["metric"]): row for row in differences}
    for moment in dict.fromkeys(row["moment"] for row in rows):
        for row in rows:
            if row["moment"] == moment:
                model = row["model"]
                found = [gaps.get((moment, model, metric)) for metric in _DIFFERENCE_COLUMNS]
                cells = [_mean(found[0]), _mean_and_interval(found[1])]
                table.add_row(moment, model, *_figures(row, _MODEL_METRICS), *cells)
        table.add_section()
    out.print(table)
    out.print(
        "CRPS in days, lower is better. The headline is that of all parcels; the other figures"
        " leave out those not delivered, unless marked all. Below 0 eta is better."
    )
    for moment in dict.fromkeys(row["moment"] for row in rows if row["n"] == 0):
        out.print(
            f"{moment}: no parcel was delivered by the end of the data, so only the figures of"
            " all parcels are known."
        )


def _mean(gap: Row | None) -> str:
    """A mean difference; empty without one."""
    return "" if gap is None or gap["mean"] is None else f"{gap['mean']:+.2f}"


def _mean_and_interval(gap: Row | None) -> str:
    """A mean difference with its interval; empty without one."""
    if gap is None or gap["low"] is None:
        return ""
    return escape(f"{gap['mean']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]")


def _figures(row: Row, metrics: Iterable[str]) -> list[str]:
    return [figure(row.get(metric)) for metric in metrics]


def print_promises(result: Row) -> None:
    """Prints the promises of a policy beside the shop's, in all and by segment.

    If the policy was chosen by the shop's on-time rate, prints how to write it as a file.
    """
    table = _plain_table()
    table.add_column("orders", no_wrap=True)
    for name in ("n", "days promised", "the shop's", "on time", "the shop's"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("days saved", no_wrap=True)
    total = {"segment": "all", "value": "orders", **result["total"]}
    for row in (total, *result["by_segment"]):
        table.add_row(*_promise_cells(row))
    out.print(table)
    if result["late_costs_days"]:
        # Three digits, rounded up so that the on-time rate is still reached.
        step = 10.0 ** (floor(log10(result["late_costs_days"])) - 2)
        late = f"{ceil(result['late_costs_days'] / step) * step:g}"
        out.print(
            escape(
                f"On the last day a late parcel cost as much as {late} days;"
                f" to promise like that: [costs] with late = {late} in the policy file."
            )
        )


def _promise_cells(row: Row) -> tuple[str, ...]:
    saved, low, high = row["days_saved"], row["days_saved_low"], row["days_saved_high"]
    interval = "" if low is None else f" [{low:+.2f}, {high:+.2f}]"
    return (
        escape(f"{row['segment']} {row['value']}"),
        f"{row['n']:,}",
        f"{row['promised_days_mean']:.2f}",
        f"{row['shop_promised_days_mean']:.2f}",
        f"{row['on_time_share']:.1%}",
        f"{row['shop_on_time_share']:.1%}",
        f"{saved:+.2f}{escape(interval)}",
    )


def print_failing(result: Row, model: str) -> None:
    """Prints the ranges of ``model`` that do not hold, the furthest off first."""
    failing = [entry for entry in result["failing"] if entry["model"] == model]
    # How many ranges of ``model`` had enough parcels to be judged.
    count = 0
    for row in (*result["rows"], *result["by_segment"]):
        if row["model"] == model:
            verdicts = [value for name, value in row.items() if name.startswith("holds_")]
            count += sum(verdict is not None for verdict in verdicts)
    count_judged = count
    out.print(
        f"\n[bold]Ranges of {model} that do not hold[/]: {len(failing):,}"
        f" of {count_judged:,} judged;"
        " all parcels, also those that have not arrived"
    )
    if not failing:
        return
    table = Table("moment", "segment", "value", "n", "range", "covers", "interval", "")
    for entry in failing[:_MAX_FAILING_ROWS]:
        table.add_row(*_failing_cells(entry))
    out.print(table)
    more = len(failing) - _MAX_FAILING_ROWS
    if more > 0:
        out.print(f"and {more:,} more: `failing` in the file that --json names")


def _failing_cells(entry: Row) -> tuple[str, ...]:
    level, coverage = entry["level"], entry["coverage"]
    segment, value = entry["segment"], escape(entry["value"])
    if segment == ALL:
        segment, value = "all parcels", ""
    kind = ", dates" if entry["range"].startswith("dates") else ""
    return (
        entry["moment"],
        segment,
        value,
        f"{entry['n'] + entry['n_censored']:,}",
        f"{100 * level:.0f} %{kind}",
        f"{coverage:.1%}",
        f"{entry['low']:.1%} to {entry['high']:.1%}",
        "too narrow" if coverage < level else "too wide",
    )


def print_truth(result: Row, model: str) -> None:
    """Prints how far ``model`` is from the truth that a parcel's scans leave open, by phase."""
    key = (model, SCAN_CONDITIONAL)
    rows = [row for row in result["truth"] or [] if (row["model"], row["truth"]) == key]
    if not rows:
        return
    out.print(
        f"\n[bold]{model} against the true distribution given the parcel's scans[/], in days;"
        " 0 is the best possible, and luck cannot explain the rest"
    )
    table = Table("phase", "moments", *_TRUTH_METRICS.values())
    for row in rows:
        table.add_row(row["phase"], f"{row['n']:,}", *_figures(row, _TRUTH_METRICS))
    out.print(table)


def print_drift(drift: Drift) -> None:
    """Prints how much faster parcels arrive than in training, by age, and which groups differ."""
    table = Table("parcels", *(age.replace("_", " ") for age in AGE_CLASSES))
    table.add_row("all", *map(_faster, drift.log_rate_ratio))
    groups = [
        (column, name, values)
        for column, values_by_name in drift.groups.items()
        for name, values in values_by_name.items()
    ]
    groups.sort(key=lambda group: -np.abs(group[2]).max())
    for column, name, values in groups[:_MAX_DRIFT_GROUPS]:
        table.add_row(f"{column} {escape(name)}", *map(_faster, drift.log_rate_ratio + values))
    out.print("arrivals per hour, compared with training")
    out.print(table)


def _faster(log_rate_ratio: float) -> str:
    bounded = np.clip(log_rate_ratio, -MAX_LOG_RATE_RATIO, MAX_LOG_RATE_RATIO)
    return f"{np.expm1(bounded):+.0%}"


def print_check(manifest: Row) -> None:
    """Prints the check of a version against earlier days."""
    check = manifest.get("check")
    if check is None:
        out.print("not checked: there are no earlier days to evaluate")
        return
    through = manifest["data"]["through"]
    if manifest.get("updated"):
        through = manifest["updated"]["fitted_through"]
    out.print(f"checked on {check['from']} to {check['to']}, with the data received by {through}")
    rows = [{"late_auc_month_mean": None, **row} for row in check["rows"]]
    print_rows(rows, check["differences"])
    if better := "; ".join(_better_baselines(check["differences"])):
        out.print(
            f"{better}: do not promote this version without a reason; more history, or a longer"
            " one, usually helps",
            highlight=False,
        )


def _better_baselines(differences: Sequence[Row]) -> Iterator[str]:
    """Each baseline whose headline is surely better than that of eta, and by how much."""
    for gap in differences:
        if gap["metric"] == HEADLINE_METRIC and gap["low"] is not None and gap["low"] > 0.0:
            moment = DRAWN_MOMENTS.get(gap["moment"], gap["moment"])
            figures = f"{gap['mean']:.2f} days [{gap['low']:.2f}, {gap['high']:.2f}]"
            yield escape(f"{gap['against']} is better than eta {moment} by {figures}")


def print_scored(scored: ScoreTables) -> None:
    """Prints how many parcels have which delay state, and how many of them a raised flag."""
    table = Table("delay state", "parcels", "flag raised", "median P(late)")
    for state, part in scored.in_flight.groupby("delay_state", sort=True):
        median = float(part["delay_probability"].median())
        flagged = int(part["flag_raised"].sum())
        table.add_row(str(state), f"{len(part):,}", f"{flagged:,}", figure(median))
    out.print(table)
    out.print(
        f"{len(scored.in_flight):,} parcels in flight; {len(scored.undelivered):,} more after an"
        f" attempt or ready for pick-up, without a forecast; {len(scored.expired):,} open for more"
        " than 60 days are expired and listed separately"
    )


def print_demo(demo: Demo) -> None:
    """Prints the backtest of the demo, then one parcel in flight for each flag, with its curve."""
    backtest = demo.backtest
    out.print(
        f"[bold]Simulated parcels[/], backtest of {backtest['from']} to {backtest['to']}; days,"
        " lower is better; the oracle sees everything that is hidden"
    )
    rows = [row for row in backtest["rows"] if row["moment"] in ("purchase", "in_flight")]
    print_rows(rows, backtest["differences"])
    out.print(f"\n[bold]In flight[/] on {demo.as_of:%Y-%m-%d}:")
    print_scored(demo.scored)
    for parcel, probabilities in demo.examples:
        service = f"{parcel['carrier']} {parcel['service_level']}"
        destination, status = parcel["destination_region"], parcel["status"]
        out.print(f"\n[bold]{parcel['shipment_id']}[/] {service} to {destination}, {status}")
        window = _days(parcel["earliest_on"], parcel["latest_on"])
        share = parcel["on_time_probability"]
        on_time = "-" if pd.isna(share) else f"{share:.0%}"
        out.print(
            f"  arrives {window} with 80 %; promised {parcel['promised_on']}, on time {on_time}"
        )
        flag = "flag raised" if parcel["flag_raised"] else "no flag"
        out.print(f"  {parcel['delay_state']}, {flag}{_reason(parcel)}")
        curve = sparkline(probabilities)
        out.print(f"  {curve}  chance of each day from {demo.as_of:%a %d %b} on")


def sparkline(probabilities: NDArray[np.float64]) -> str:
    """Probabilities, (D,), as a row of blocks; the highest probability is a full block."""
    share = probabilities / max(probabilities.max(), 1e-9)
    heights = np.ceil(share * (len(_BLOCKS) - 1)).astype(int)
    heights[probabilities < _MIN_SHOWN_PROBABILITY] = 0
    return "".join(_BLOCKS[height] for height in heights)


def _days(first: date | None, last: date | None) -> str:
    if pd.isna(first):
        return "some day, or never,"
    if pd.isna(last):
        return f"{first} or later"
    return f"on {first}" if first == last else f"{first} to {last}"


def _reason(parcel: pd.Series) -> str:
    """The reason of a delay flag and its evidence, if there is one."""
    reason, kind = parcel["delay_reason"], parcel["evidence_kind"]
    if pd.isna(reason):
        return ""
    if pd.isna(kind):
        return f": {reason}"
    observed, upper = parcel["evidence_observed_hours"], parcel["evidence_expected_upper_hours"]
    limit = "" if pd.isna(upper) else f", nearly all within {upper:.0f} h"
    return f": {reason} ({parcel['delay_party']}), {kind} of {observed:.0f} h{limit}"


def checked_metric(manifest: Row, metric: str) -> float | None:
    """A figure of the version's check at purchase; None without a check."""
    check = manifest.get("check")
    rows = check["rows"] if check else []
    for row in rows:
        value = row.get(metric)
        if (row["model"], row["moment"]) == ("eta", "purchase"):
            return value if isinstance(value, int | float) else None
    return None


def figure(value: float | None) -> str:
    """A figure as text; "-" if there is none."""
    if value is None or value != value:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
