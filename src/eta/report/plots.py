"""Plots of forecasts and of what came true."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from eta.domain.vocabulary import Phase
from eta.evaluation.coverage import ALL, MIN_WEEKS, RANGES, WEEK, Row
from eta.journey.state import PHASES

#: A segment and one of its values.
Place = tuple[str, str]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: The least spans of axes, in percentage points and days: what differs less looks alike.
_MIN_PERCENT, _MIN_DAYS = 5.0, 1.0
#: By how many points an axis of percentages may go beyond 0 and 100.
_BEYOND_PERCENT = 0.5

#: Moments that are drawn, with their names in the plots.
DRAWN_MOMENTS: Mapping[str, str] = {"purchase": "at purchase", "in_flight": "in flight"}

#: If a segment has more values, only the largest are drawn.
MAX_VALUES = 12
_PALE, _BLUE, _GREEN, _RED, _GREY = "#9ecae1", "#2171b5", "#238b45", "#cb181d", "#8c8c8c"


class _Look(NamedTuple):
    """How a range is drawn: by its shape as well as by its colour."""

    colour: str
    fill: Literal["full", "none", "left"]
    line: Literal["-", "--", ":"]
    name: str


#: Ranges that hold, that do not, and that are not judged.
_VERDICTS: Mapping[bool | None, _Look] = {
    True: _Look(_BLUE, "full", "-", "holds (filled)"),
    False: _Look(_RED, "none", "--", "does not hold (hollow)"),
    None: _Look(_GREY, "left", ":", "not judged (half): too few parcels, or all of them"),
}

#: The verdicts of a row.
_HOLDS = tuple(f"holds_{nominal.name}" for nominal in RANGES)

#: The probability of the ranges of ``draw_forecasts``, and of the range expected by chance.
_RANGE_LEVEL, _CHANCE_LEVEL = 0.8, 0.95


def draw_forecasts(forecasts: pd.DataFrame, kind: str) -> bytes:
    """A plot (``png`` or ``svg``) of ranges and of what came true, in days from the order.

    ``forecasts`` has the columns ``low``, ``median``, ``high`` (the 80 % range) and ``came_true``,
    one row a parcel. Says how many are within their range, and how many would be by chance.
    """
    figure = _figure(9.6, 4.8)
    axes = figure.subplots()
    ranked = forecasts.sort_values(["median", "high"], kind="stable").reset_index(drop=True)
    ends = ranked[["low", "high", "came_true"]].to_numpy(dtype=float)
    top = float(np.nanmax(np.where(np.isfinite(ends), ends, 0.0), initial=1.0)) * 1.05
    _ranges(axes, ranked, top)
    is_inside = ranked["came_true"].between(ranked["low"], ranked["high"])
    inside, outside = (ranked.loc[chosen, "came_true"] for chosen in (is_inside, ~is_inside))
    _points(axes, inside, _GREEN, "o", "came true within the range")
    _points(axes, outside, _RED, "X", "came true outside")
    axes.set(
        xlabel=f"{len(ranked)} simulated parcels, by median",
        ylabel="days from order to first attempt",
        ylim=(0, top),
        xlim=(-1.0, len(ranked)),
    )
    axes.set_title(_chance(len(inside), len(ranked)), loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return _to_bytes(figure, kind)


def _ranges(axes: Axes, ranked: pd.DataFrame, top: float) -> None:
    """The ranges and medians; a range that goes on beyond the picture has an arrow."""
    parcel, is_open = ranked.index, ~np.isfinite(ranked["high"])
    high = ranked["high"].where(~is_open, top)
    label = "80 % range, forecast at purchase"
    axes.vlines(parcel, ranked["low"], high, color=_PALE, linewidth=3.2, label=label)
    axes.plot(parcel, ranked["median"], color=_BLUE, linewidth=1.6, label="median")
    if is_open.any():
        beyond: dict[str, Any] = {"marker": "^", "color": _BLUE, "clip_on": False, "zorder": 3}
        label = f"range goes on beyond the horizon ({is_open.sum()})"
        axes.scatter(parcel[is_open], np.full(is_open.sum(), top), s=18, label=label, **beyond)


def _points(axes: Axes, values: pd.Series, colour: str, marker: str, name: str) -> None:
    look: dict[str, Any] = {"color": colour, "marker": marker, "linewidth": 0.0}
    label = f"{name} ({len(values)})"
    axes.scatter(values.index, values, s=18, zorder=3, clip_on=False, label=label, **look)


def _chance(inside: int, count: int) -> str:
    """How many ranges hold, and between which numbers that would lie by chance."""
    low, high = expected_by_chance(count)
    return (
        f"Forecasts at purchase, and what came true: {inside} of {count} within the 80 % range\n"
        f"If the ranges are right, {low} to {high} are expected by chance (exact binomial, 95 %)"
    )


def expected_by_chance(count: int) -> tuple[int, int]:
    """The central 95 % range of how many of ``count`` right 80 % ranges hold."""
    from scipy.stats import binom  # slow to import, and of no use to any other command

    low, high = binom.interval(_CHANCE_LEVEL, count, _RANGE_LEVEL)
    return int(low), int(high)


def draw_pit(
    rows: Sequence[Row], models: Sequence[str], *, is_simulated: bool, kind: str = "png"
) -> bytes:
    """A plot of the ``pit_deciles`` of ``models``, a row a model, at purchase and in flight."""
    figure = _figure(9.6, 1.4 + 2.6 * len(models))
    grid = figure.subplots(len(models), len(DRAWN_MOMENTS), squeeze=False, sharey=True)
    rows_by_key = {
        (row["model"], row["moment"]): row for row in rows if row["pit_deciles"] is not None
    }
    for model, line in zip(models, grid, strict=True):
        for moment, axes in zip(DRAWN_MOMENTS, line, strict=True):
            _histogram(axes, rows_by_key.get((model, moment)), f"{model}, {DRAWN_MOMENTS[moment]}")
    for axes in grid[-1]:
        axes.set_xlabel("probability that the forecast gave to arriving by then")
    for axes in grid[:, 0]:
        axes.set_ylabel("% of parcels")
    _headline(
        figure,
        "Where in its forecast each parcel arrived: a flat histogram means calibrated forecasts\n"
        "High at both ends: too narrow. High in the middle: too wide. "
        f"High on the right: arrivals are later than forecast.{_about(is_simulated)}",
    )
    return _to_bytes(figure, kind)


def _histogram(axes: Axes, row: Row | None, name: str) -> None:
    axes.set_title(name, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlim=(0, 1), xticks=np.arange(0, 1.01, 0.2))
    axes.axhline(10.0, color=_RED, linewidth=1.2, zorder=2)
    if row is None:
        return
    middle = np.arange(10) / 10.0 + 0.05
    shares = 100.0 * np.array(row["pit_deciles"])
    axes.bar(middle, shares, width=0.092, color=_PALE, zorder=1)
    if row["pit_deciles_low"] is not None:
        low, high = (100.0 * np.array(row[f"pit_deciles_{end}"]) for end in ("low", "high"))
        axes.vlines(middle, low, high, color=_BLUE, linewidth=1.8, zorder=3)
    axes.set_title(
        f"{row['n']:,} parcels, and {row['n_censored']:,} not arrived",
        loc="right",
        fontsize=8,
        color=_GREY,
    )


def draw_coverage(
    rows: Sequence[Row],
    by_segment: Sequence[Row],
    model: str,
    *,
    is_simulated: bool,
    kind: str = "png",
) -> bytes:
    """A plot of how often the 80 % and 90 % ranges of ``model`` hold, by segment.

    One column is at purchase, the other in flight.
    """
    whole_rows = [{**row, "segment": ALL, "value": ALL} for row in rows]
    segment_rows = [row for row in by_segment if row["segment"] != WEEK]
    drawn = [
        row
        for row in [*whole_rows, *segment_rows]
        if row["model"] == model and row["moment"] in DRAWN_MOMENTS
    ]
    weeks = len({row["value"] for row in by_segment if row["segment"] == WEEK})
    too_short = ""
    if 0 < weeks < MIN_WEEKS:
        drawn = [row | dict.fromkeys(_HOLDS) for row in drawn]
        too_short = f"\nToo short to judge: it takes {MIN_WEEKS} weeks, and these are {weeks}."
    places = list(_places(drawn))
    height = {place: -number for number, place in enumerate(places) if place is not None}
    figure = _figure(9.6, 1.9 + 0.19 * len(places))
    columns = figure.subplots(1, len(DRAWN_MOMENTS), sharex=True, sharey=True)
    for axes, moment in zip(columns, DRAWN_MOMENTS, strict=True):
        _coverage_column(axes, [row for row in drawn if row["moment"] == moment], height)
        axes.set_title(DRAWN_MOMENTS[moment], loc="left", fontsize=10)
        axes.set_ylim(-len(places) + 0.2, 0.8)
    _mark_start(columns, "% of parcels within the range")
    _segment_names(figure.axes[0], height)
    _legend(figure)
    _headline(
        figure,
        f"Do the ranges of {model} hold? "
        "Share of parcels within the 80 % range (dots) and the 90 % range (squares)\n"
        f"by segment; segments with more than {MAX_VALUES} values by their largest."
        f"{_about(is_simulated, together=True)}{too_short}",
    )
    return _to_bytes(figure, kind)


def _coverage_column(axes: Axes, rows: Sequence[Row], height: Mapping[Place, int]) -> None:
    """The coverage of each segment and value at one moment."""
    placed = [row for row in rows if (row["segment"], row["value"]) in height]
    for name, marker, lift in (("80", "o", 0.14), ("90", "s", -0.14)):
        axes.axvline(float(name), color="black", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        for row in placed:
            _range(axes, row, name, marker, height[row["segment"], row["value"]] + lift)
    labels = ["all parcels" if segment == ALL else value for segment, value in height]
    axes.set_yticks(list(height.values()), labels, fontsize=7.5)
    axes.yaxis.grid(visible=True, color="#eeeeee", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _range(axes: Axes, row: Row, name: str, marker: str, at: float) -> None:
    """The coverage of a range, and its interval as a line."""
    coverage = row[f"coverage_censored_{name}"]
    if coverage is None:
        return
    look = _VERDICTS[row[f"holds_{name}"]]
    low, high = row[f"low_{name}"], row[f"high_{name}"]
    if low is not None:
        line: dict[str, Any] = {"color": look.colour, "linewidth": 1.1, "linestyle": look.line}
        axes.hlines(at, 100.0 * low, 100.0 * high, zorder=2, **line)
    dot: dict[str, Any] = {"marker": marker, "markersize": 4.2, "color": look.colour}
    axes.plot(100.0 * coverage, at, fillstyle=look.fill, zorder=3, **dot)


def _mark_start(columns: Sequence[Axes], name: str) -> None:
    """Names the horizontal axis of percentages; one that does not start at 0 is marked."""
    columns[0].set_xlim(*_percent_limits(*columns[0].get_xlim()))
    start = columns[0].get_xlim()[0]
    is_broken = start > 0.0
    for axes in columns:
        axes.set_xlabel(f"{name}; the axis starts at {start:.0f}" if is_broken else name)
        if is_broken:
            _break(axes, "bottom")


def _break(axes: Axes, side: Literal["bottom", "left"]) -> None:
    """Two strokes across the start of an axis that does not start at 0."""
    for shift in (0.012, 0.024):
        at = (shift, 0.0) if side == "bottom" else (0.0, shift * 2.5)
        stroke: dict[str, Any] = {"marker": (2, 0, -25), "color": "black", "s": 80, "zorder": 4}
        axes.scatter(*at, transform=axes.transAxes, clip_on=False, **stroke)


def _segment_names(axes: Axes, height: Mapping[Place, int]) -> None:
    """The name of each segment, above its values."""
    top: dict[str, int] = {}
    for (segment, _), at in height.items():
        top[segment] = max(at, top.get(segment, at))
    top.pop(ALL, None)
    for segment, at in top.items():
        axes.annotate(
            segment.replace("_", " "),
            (0.0, at + 0.85),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7.5,
            fontweight="bold",
        )


def draw_promises(
    months: Sequence[Row], regions: Sequence[Row], policy: str, kind: str = "png"
) -> bytes:
    """A plot of ours and the shop's promises: days and on-time shares by month, days by region.

    Rows are those of ``figures_of_promises``.
    """
    figure = _figure(9.6, 2.6 + 0.2 * max(len(regions), 8))
    grid = figure.add_gridspec(2, 2)
    days, shares = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    _by_month(days, months, "promised_days_mean", factor=1.0)
    days.set_title("mean days promised", loc="left", fontsize=10)
    days.set_ylim(0.0, max(1.15 * days.dataLim.y1, _MIN_DAYS) if months else _MIN_DAYS)
    days.legend(frameon=False, fontsize=8)
    _on_time(shares, months)
    _days_saved(figure.add_subplot(grid[:, 1]), regions)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    _headline(figure, f"What {policy} would have promised, beside what was promised")
    return _to_bytes(figure, kind)


def _on_time(axes: Axes, months: Sequence[Row]) -> None:
    """The shares of promises met; an axis that does not start at 0 is marked."""
    _by_month(axes, months, "on_time_share", factor=100.0)
    axes.set_ylim(*_percent_limits(*axes.get_ylim()))
    axes.locator_params(axis="y", integer=True)
    start = axes.get_ylim()[0]
    note = f"; the axis starts at {start:.0f}" if start > 0.0 else ""
    axes.set_title(f"% on time{note}", loc="left", fontsize=10)
    if note:
        _break(axes, "left")


def _widened(low: float, high: float, least: float) -> tuple[float, float]:
    """Limits of an axis at least so far apart, around the same middle."""
    missing = max(least - (high - low), 0.0) / 2.0
    return low - missing, high + missing


def _percent_limits(low: float, high: float) -> tuple[float, float]:
    """Limits of an axis of percentages, so far apart that a small difference looks small.

    Both are whole numbers, and end little beyond 0 and 100 so that no marker there is cut.
    """
    bottom, top = -_BEYOND_PERCENT, 100.0 + _BEYOND_PERCENT
    low, high = _widened(max(low, bottom), min(high, top), _MIN_PERCENT)
    shift = min(top - high, 0.0) + max(bottom - low, 0.0)
    return max(math.floor(low + shift), bottom), min(math.ceil(high + shift), top)


def _by_month(axes: Axes, months: Sequence[Row], column: str, *, factor: float) -> None:
    """A figure of the shop's promises and of the policy's."""
    at = np.arange(len(months))
    shop = [factor * row[f"shop_{column}"] for row in months]
    ours = [factor * row[column] for row in months]
    axes.plot(at, shop, color=_GREY, marker="s", linestyle="--", label="the shop's promise")
    axes.plot(at, ours, color=_BLUE, marker="o", label="the policy's")
    axes.set_xticks(at, [row["value"] for row in months], fontsize=7.5)
    axes.margins(y=0.15)


def _days_saved(axes: Axes, regions: Sequence[Row]) -> None:
    """The days saved in each region, from the fewest to the most."""
    ranked = sorted(regions, key=lambda row: row["days_saved"])
    places = np.arange(len(ranked))
    for place, row in zip(places, ranked, strict=True):
        low, high = row["days_saved_low"], row["days_saved_high"]
        if low is not None:
            axes.hlines(place, low, high, color=_PALE, linewidth=3.2)
    axes.scatter([row["days_saved"] for row in ranked], places, s=16, color=_BLUE, zorder=3)
    axes.axvline(0.0, color=_GREY, linewidth=0.8)
    axes.set_xlim(*_widened(*axes.get_xlim(), _MIN_DAYS))
    axes.ticklabel_format(axis="x", useOffset=False)
    labels = [f"{row['value']} ({row['n']:,})" for row in ranked]
    axes.set_yticks(places, labels, fontsize=7.5)
    title = "days saved by region (orders), 95 % interval over weeks"
    axes.set_title(title, loc="left", fontsize=10)
    if not ranked:
        note = "no region has enough orders"
        axes.text(0.5, 0.5, note, transform=axes.transAxes, ha="center", color=_GREY)


def _places(rows: Sequence[Row]) -> Iterator[Place | None]:
    """Segments and values from top to bottom; None for the line of a heading."""
    size: dict[Place, int] = {}
    for row in rows:
        place = row["segment"], row["value"]
        size[place] = max(size.get(place, 0), row["n"])
    for segment in dict.fromkeys(row["segment"] for row in rows):
        values = sorted(
            (place for place in size if place[0] == segment), key=lambda place: _rank(place[1])
        )
        largest = set(sorted(values, key=lambda place: -size[place])[:MAX_VALUES])
        if segment != ALL:
            yield None
        yield from (place for place in values if place in largest)


def _rank(value: str) -> tuple[int, float, str]:
    """A key that sorts phases in their order, bands from the smallest, the rest by the alphabet."""
    if value in PHASES:
        return PHASES.index(Phase(value)), 0.0, value
    number = re.match(r"[<>=]*([0-9.]+)", value)
    lower_edge = float(number[1]) if number else math.inf
    return -1 if value.startswith("<") else 0, lower_edge, value


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker="o",
            markersize=4.2,
            fillstyle=look.fill,
            linewidth=1.1,
            linestyle=look.line,
            label=look.name,
        )
        for look in _VERDICTS.values()
    ]
    figure.legend(
        handles=handles, loc="outside lower right", ncols=len(handles), frameon=False, fontsize=8
    )


def _headline(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=10)


def _about(is_simulated: bool, *, together: bool = False) -> str:
    """How the intervals were computed."""
    if not is_simulated:
        return "\nLines: 95 % intervals, by weeks."
    scope = ", for all of a moment together" if together else ""
    return f"\nLines: exact 95 % intervals{scope}. Simulated parcels."


def _figure(width: float, height: float) -> Figure:
    import matplotlib as mpl  # slow to import, and of no use to any other command

    mpl.use("agg")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _to_bytes(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata: dict[str, Any] | None = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=110, metadata=metadata)
    return buffer.getvalue()
