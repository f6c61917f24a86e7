"""Pictures of forecasts and of what came true."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eta.domain.vocabulary import Phase
from eta.evaluation.coverage import ALL, WEEK, Row
from eta.journey.state import PHASES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Moments that are drawn, by how the picture calls them.
DRAWN_MOMENTS: Mapping[str, str] = {"purchase": "at purchase", "in_flight": "in flight"}

#: Of a segment with more values than this only the largest are drawn.
MAX_VALUES = 12
_PALE, _BLUE, _GREEN, _RED, _GREY = "#9ecae1", "#2171b5", "#238b45", "#cb181d", "#8c8c8c"

#: Colours of ranges that hold, that do not, and of which it is not known.
_VERDICTS: Mapping[bool | None, tuple[str, str]] = {
    True: (_BLUE, "holds"),
    False: (_RED, "does not hold"),
    None: (_GREY, "not judged: too few parcels, or all of them"),
}


def draw_forecasts(forecasts: pd.DataFrame, kind: str) -> bytes:
    """A picture (``png`` or ``svg``) of ranges and of what came true, in days from the order.

    ``forecasts`` has the columns ``low``, ``median``, ``high`` (the 80 % range) and ``came_true``,
    one row a parcel.
    """
    figure = _figure(9.6, 4.2)
    axes = figure.subplots()
    ranked = forecasts.sort_values(["median", "high"], kind="stable").reset_index(drop=True)
    is_inside = ranked["came_true"].between(ranked["low"], ranked["high"])
    axes.vlines(
        ranked.index,
        ranked["low"],
        ranked["high"],
        color=_PALE,
        linewidth=3.2,
        label="80 % range, said at purchase",
    )
    axes.plot(ranked.index, ranked["median"], color=_BLUE, linewidth=1.6, label="median")
    for wanted, colour, name in (
        (is_inside, _GREEN, "came true within the range"),
        (~is_inside, _RED, "came true outside"),
    ):
        axes.scatter(
            ranked.index[wanted],
            ranked.loc[wanted, "came_true"],
            s=11,
            color=colour,
            zorder=3,
            label=f"{name} ({wanted.sum()})",
        )
    axes.set(
        xlabel=f"{len(ranked)} simulated parcels, by median",
        ylabel="days from order to first attempt",
        ylim=(0, ranked[["high", "came_true"]].max().max() * 1.05),
    )
    axes.set_title("What was said at purchase, and what came true", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return _to_bytes(figure, kind)


def draw_pit(
    rows: Sequence[Row], models: Sequence[str], *, is_simulated: bool, kind: str = "png"
) -> bytes:
    """A picture of the ``pit_deciles`` of ``models``, one below the other, at purchase and in flight."""
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
    figure.suptitle(
        "Where in its forecast each parcel arrived: level with the line if the forecast is right\n"
        f"High at both ends: too narrow. High in the middle: too wide. High on the right: later than said.{_about(is_simulated)}",
        x=0.01,
        ha="left",
        fontsize=10,
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
    """A picture of how often the 80 % and 90 % ranges of ``model`` hold in each segment, at purchase and in flight."""
    wanted = [
        {**row, "segment": ALL, "value": ALL}
        for row in rows
        if row["model"] == model and row["moment"] in DRAWN_MOMENTS
    ]
    wanted += [
        row
        for row in by_segment
        if row["model"] == model and row["moment"] in DRAWN_MOMENTS and row["segment"] != WEEK
    ]
    places = list(_places(wanted))
    height = {place: -number for number, place in enumerate(places) if place is not None}
    figure = _figure(9.6, 1.9 + 0.19 * len(places))
    for axes, (moment, name) in zip(
        figure.subplots(1, len(DRAWN_MOMENTS), sharex=True, sharey=True),
        DRAWN_MOMENTS.items(),
        strict=True,
    ):
        part = [
            row
            for row in wanted
            if row["moment"] == moment and (row["segment"], row["value"]) in height
        ]
        _dots(axes, part, [height[row["segment"], row["value"]] for row in part])
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_yticks(
            list(height.values()),
            ["all parcels" if place[0] == ALL else place[1] for place in height],
            fontsize=7.5,
        )
        axes.set(ylim=(-len(places) + 0.2, 0.8), xlabel="% of parcels within the range")
        axes.yaxis.grid(visible=True, color="#eeeeee", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    first = figure.axes[0]
    for segment in dict.fromkeys(place[0] for place in height):
        if segment != ALL:
            top = max(at for (name, _), at in height.items() if name == segment)
            to_the_left: dict[str, Any] = {
                "xytext": (-4, 0),
                "textcoords": "offset points",
                "ha": "right",
                "va": "center",
            }
            place = (0.0, top + 0.85)
            first.annotate(
                segment.replace("_", " "),
                place,
                xycoords=("axes fraction", "data"),
                fontsize=7.5,
                fontweight="bold",
                **to_the_left,
            )
    _legend(figure)
    figure.suptitle(
        f"Do the ranges of {model} hold? Share of parcels within the 80 % range (dots) and the 90 % range (squares)\n"
        f"by segment; segments with more than {MAX_VALUES} values by their largest.{_about(is_simulated, together=True)}",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return _to_bytes(figure, kind)


def draw_promises(
    months: Sequence[Row], regions: Sequence[Row], policy: str, kind: str = "png"
) -> bytes:
    """A picture of promises, ours beside the shop's: days and shares on time by month, and days saved by region.

    Rows are those of ``figures_of_promises``.
    """
    figure = _figure(9.6, 2.6 + 0.2 * max(len(regions), 8))
    grid = figure.add_gridspec(2, 2)
    days, shares, saved = (
        figure.add_subplot(grid[0, 0]),
        figure.add_subplot(grid[1, 0]),
        figure.add_subplot(grid[:, 1]),
    )
    at = np.arange(len(months))
    for axes, column, factor, name in (
        (days, "promised_days_mean", 1.0, "mean days promised"),
        (shares, "on_time_share", 100.0, "% on time"),
    ):
        axes.plot(
            at,
            [factor * row[f"shop_{column}"] for row in months],
            color=_GREY,
            marker="o",
            label="the shop's promise",
        )
        axes.plot(
            at,
            [factor * row[column] for row in months],
            color=_BLUE,
            marker="o",
            label="the policy's",
        )
        axes.set_xticks(at, [row["value"] for row in months], fontsize=7.5)
        axes.set_title(name, loc="left", fontsize=10)
    days.set_ylim(bottom=0)
    days.legend(frameon=False, fontsize=8)
    ranked = sorted(regions, key=lambda row: row["days_saved"])
    places = np.arange(len(ranked))
    for place, row in zip(places, ranked, strict=True):
        if row["days_saved_low"] is not None:
            saved.hlines(
                place, row["days_saved_low"], row["days_saved_high"], color=_PALE, linewidth=3.2
            )
    saved.scatter([row["days_saved"] for row in ranked], places, s=16, color=_BLUE, zorder=3)
    saved.axvline(0.0, color=_GREY, linewidth=0.8)
    saved.set_yticks(places, [f"{row['value']} ({row['n']:,})" for row in ranked], fontsize=7.5)
    saved.set_title(
        "days saved by region (orders), 95 % interval over weeks", loc="left", fontsize=10
    )
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"What {policy} would have promised, beside what was promised",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return _to_bytes(figure, kind)


def _places(rows: Sequence[Row]) -> Iterator[tuple[str, str] | None]:
    """Segments and values from top to bottom; None where a line is left for a heading."""
    size: dict[tuple[str, str], int] = {}
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
    """Phases as they follow each other, bands from the smallest, all else by the alphabet."""
    if value in PHASES:
        return PHASES.index(Phase(value)), 0.0, value
    number = re.match(r"[<>=]*([0-9.]+)", value)
    return -1 if value.startswith("<") else 0, float(number[1]) if number else math.inf, value


def _dots(axes: Axes, rows: Sequence[Row], height: Sequence[int]) -> None:
    for name, marker, lift in (("80", "o", 0.14), ("90", "s", -0.14)):
        axes.axvline(float(name), color="black", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        for row, at in zip(rows, height, strict=True):
            colour, _ = _VERDICTS[row[f"holds_{name}"]]
            if row[f"coverage_censored_{name}"] is None:
                continue
            if row[f"low_{name}"] is not None:
                axes.hlines(
                    at + lift,
                    100.0 * row[f"low_{name}"],
                    100.0 * row[f"high_{name}"],
                    color=colour,
                    linewidth=1.1,
                    zorder=2,
                )
            axes.plot(
                100.0 * row[f"coverage_censored_{name}"],
                at + lift,
                marker=marker,
                markersize=3.4,
                color=colour,
                zorder=3,
            )


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, linewidth=1.1, label=name)
        for colour, name in _VERDICTS.values()
    ]
    figure.legend(
        handles=handles, loc="outside lower right", ncols=len(handles), frameon=False, fontsize=8
    )


def _about(is_simulated: bool, *, together: bool = False) -> str:
    if not is_simulated:
        return "\nLines: 95 % intervals, by weeks."
    return f"\nLines: exact 95 % intervals{', for all of a moment together' if together else ''}. Simulated parcels."


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
