"""Plots can be drawn of incomplete figures, and show what the figures contain."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eta.report import plots as picture
from eta.report.plots import (
    draw_coverage,
    draw_forecasts,
    draw_pit,
    draw_promises,
    expected_by_chance,
)

DECILES = [0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.15]


def row(
    model: str, moment: str, *, share: float | None = 0.82, holds: bool | None = True, **more: Any
) -> dict[str, Any]:
    of_ranges: dict[str, Any] = {}
    for name in ("80", "90"):
        of_ranges |= {
            f"coverage_censored_{name}": share,
            f"low_{name}": share and share - 0.03,
            f"high_{name}": share and share + 0.03,
            f"holds_{name}": holds,
        }
    deciles = {
        "pit_deciles": DECILES,
        "pit_deciles_low": [0.04] * 10,
        "pit_deciles_high": [0.16] * 10,
    }
    return {
        "model": model,
        "moment": moment,
        "n": 1200,
        "n_censored": 7,
        **of_ranges,
        **deciles,
        **more,
    }


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn, before they become bytes."""
    figures: list[Figure] = []
    to_bytes = picture._to_bytes  # noqa: SLF001  # what a picture shows cannot be read off its bytes

    def record(figure: Figure, kind: str) -> bytes:
        figures.append(figure)
        return to_bytes(figure, kind)

    monkeypatch.setattr(picture, "_to_bytes", record)
    return figures


def test_the_bars_of_a_pit_plot_are_the_deciles(drawn: list[Figure]) -> None:
    rows = [row(model, moment) for model in ("eta", "B4") for moment in ("purchase", "in_flight")]
    assert draw_pit(rows, ["eta", "B4"], is_simulated=True).startswith(b"\x89PNG")
    assert len(drawn[0].axes) == 4
    for axes in drawn[0].axes:
        assert [
            bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)
        ] == pytest.approx([100 * share for share in DECILES])
    assert [axes.get_title("left") for axes in drawn[0].axes] == [
        "eta, at purchase",
        "eta, in flight",
        "B4, at purchase",
        "B4, in flight",
    ]
    assert drawn[0].axes[0].get_title("right") == "1,200 parcels, and 7 not arrived"


def test_a_moment_without_figures_is_an_empty_frame(drawn: list[Figure]) -> None:
    rows = [
        row("eta", "purchase"),
        row("eta", "in_flight", pit_deciles=None),
        row("B4", "purchase", pit_deciles_low=None),
    ]
    draw_pit(rows, ["eta", "B4"], is_simulated=False)
    assert [len(axes.patches) for axes in drawn[0].axes] == [10, 0, 10, 0]


def test_segments_are_in_their_natural_order_under_their_names(drawn: list[Figure]) -> None:
    segments = {
        "elapsed_band": ["14-21 d", "3-7 d", "<1 d", ">=30 d"],
        "phase": ["last_mile", "first_mile"],
        "week": ["2025-09-01"],
        "carrier": [f"carrier {number:02d}" for number in range(20)],
    }
    parts = [
        {
            **row("eta", "in_flight", segment=segment, value=value),
            "n": 500 + int(value[-2:]) if segment == "carrier" else 900,
        }
        for segment, values in segments.items()
        for value in values
    ]
    draw_coverage(
        [row("eta", "in_flight"), row("B4", "in_flight")],
        [*parts, row("B4", "in_flight", segment="phase", value="linehaul")],
        "eta",
        is_simulated=True,
    )
    labels = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    largest = [f"carrier {number:02d}" for number in range(8, 20)]
    assert labels == [
        "all parcels",
        "<1 d",
        "3-7 d",
        "14-21 d",
        ">=30 d",
        "first_mile",
        "last_mile",
        *largest,
    ]
    assert {text.get_text() for text in drawn[0].axes[0].texts} == {
        "elapsed band",
        "phase",
        "carrier",
    }


def test_a_range_that_does_not_hold_has_another_colour(drawn: list[Figure]) -> None:
    colours = []
    for holds in (True, False, None):
        draw_coverage([row("eta", "purchase", holds=holds)], [], "eta", is_simulated=False)
        # After the line of the level.
        colours.append(drawn[-1].axes[0].lines[1].get_color())
    assert len(set(colours)) == 3


def test_a_segment_without_coverage_is_left_empty(drawn: list[Figure]) -> None:
    draw_coverage([row("eta", "purchase", share=None, holds=None)], [], "eta", is_simulated=False)
    assert len(drawn[0].axes[0].lines) == 2


def binomial_quantile(level: float, count: int) -> int:
    """The fewest hits that are reached with at least this probability, at 80 % each."""
    total, hits = 0.0, -1
    while total < level:
        hits += 1
        total += math.comb(count, hits) * 0.8**hits * 0.2 ** (count - hits)
    return hits


@pytest.mark.parametrize("count", [1, 10, 20, 100, 120])
def test_the_range_expected_by_chance_is_the_exact_binomial(count: int) -> None:
    expected = binomial_quantile(0.025, count), binomial_quantile(0.975, count)
    assert expected_by_chance(count) == expected


def parcels(count: int, came_true: float = 5.0) -> pd.DataFrame:
    """Forecasts of 3 to 8 days."""
    days = {"low": 3.0, "median": 5.0, "high": 8.0, "came_true": came_true}
    return pd.DataFrame([days] * count)


def test_the_forecasts_say_how_many_ranges_hold_and_would_by_chance(drawn: list[Figure]) -> None:
    draw_forecasts(pd.concat([parcels(90), parcels(30, 9.0)]), "png")
    title = drawn[0].axes[0].get_title("left")
    assert "90 of 120 within the 80 % range" in title
    assert "87 to 104 are expected by chance" in title


def test_hits_and_misses_differ_in_shape(drawn: list[Figure]) -> None:
    draw_forecasts(pd.concat([parcels(3), parcels(2, 9.0)]), "png")
    points = [each for each in drawn[0].axes[0].collections if isinstance(each, PathCollection)]
    shapes = {np.shape(each.get_paths()[0].vertices) for each in points}
    assert len(points) == len(shapes) == 2


def test_a_range_without_an_end_is_marked_and_not_cut(drawn: list[Figure]) -> None:
    endless = parcels(1).assign(high=np.inf)
    draw_forecasts(pd.concat([parcels(4), endless, endless.assign(median=np.inf)]), "png")
    axes = drawn[0].axes[0]
    bottom, top = axes.get_ylim()
    assert bottom == 0.0
    assert top == pytest.approx(8.0 * 1.05)
    names = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert "range goes on beyond the horizon (2)" in names
    [lines] = [each for each in axes.collections if isinstance(each, LineCollection)]
    ends = np.array([segment[:, 1] for segment in lines.get_segments()])
    assert ends.max() == top
    assert ends.min() >= bottom


def weeks(count: int) -> list[dict[str, Any]]:
    return [
        row("eta", "purchase", holds=None, segment="week", value=f"week {number}")
        for number in range(count)
    ]


@pytest.mark.parametrize(("count", "is_judged"), [(1, False), (7, False), (8, True), (20, True)])
@pytest.mark.parametrize("is_simulated", [True, False])
def test_coverage_is_judged_from_eight_weeks_on(
    drawn: list[Figure], count: int, is_judged: bool, is_simulated: bool
) -> None:
    whole = row("eta", "purchase", holds=False)
    draw_coverage([whole], weeks(count), "eta", is_simulated=is_simulated)
    title = drawn[0].get_suptitle()
    assert ("Too short to judge: it takes 8 weeks" in title) == (not is_judged)
    fills = {line.get_fillstyle() for line in drawn[0].axes[0].lines[1::2]}
    assert fills == {"none" if is_judged else "left"}


def test_verdicts_differ_in_shape(drawn: list[Figure]) -> None:
    fills = []
    for holds in (True, False, None):
        draw_coverage([row("eta", "purchase", holds=holds)], [], "eta", is_simulated=False)
        fills.append(drawn[-1].axes[0].lines[1].get_fillstyle())
    assert len(set(fills)) == 3


@pytest.mark.parametrize(("share", "starts_at_zero"), [(0.82, False), (0.02, True)])
def test_an_axis_that_does_not_start_at_zero_says_so(
    drawn: list[Figure], share: float, starts_at_zero: bool
) -> None:
    draw_coverage([row("eta", "purchase", share=share)], [], "eta", is_simulated=False)
    for axes in drawn[0].axes:
        assert ("the axis starts at" in axes.get_xlabel()) == (not starts_at_zero)
        strokes = [each for each in axes.collections if isinstance(each, PathCollection)]
        assert len(strokes) == (0 if starts_at_zero else 2)


def test_no_line_of_a_promise_plot_is_cut(drawn: list[Figure]) -> None:
    months = [
        {
            "value": f"2025-0{month}",
            "promised_days_mean": 10.0 + month,
            "shop_promised_days_mean": 12.0,
            "on_time_share": 0.9 + month / 100,
            "shop_on_time_share": 0.92,
        }
        for month in range(1, 4)
    ]
    region = {"value": "SP", "n": 7, "days_saved": 1.0}
    draw_promises(months, [{**region, "days_saved_low": 0.5, "days_saved_high": 1.5}], "ours")
    days, shares, _ = drawn[0].axes
    assert days.get_ylim()[0] == 0.0
    assert "the axis starts at" in shares.get_title("left")
    for axes in (days, shares):
        bottom, top = axes.get_ylim()
        values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
        margin = 0.02 * (top - bottom)
        assert bottom + margin < values.min()
        assert values.max() < top - margin
        assert len({line.get_marker() for line in axes.lines}) == 2


def month(shop: float, ours: float, days: float = 6.0) -> dict[str, Any]:
    return {
        "value": "2025-11",
        "promised_days_mean": days,
        "shop_promised_days_mean": days,
        "on_time_share": ours,
        "shop_on_time_share": shop,
    }


@pytest.mark.parametrize(
    ("shop", "ours"), [(0.9139, 0.9122), (0.9, 0.9), (1.0, 0.999), (0.0, 0.0005), (0.5, 0.95)]
)
def test_a_small_difference_of_shares_is_drawn_small(
    drawn: list[Figure], shop: float, ours: float
) -> None:
    draw_promises([month(shop, ours)], [], "ours")
    shares = drawn[0].axes[1]
    bottom, top = shares.get_ylim()
    assert top - bottom >= 5.0
    assert -1.0 < bottom < 100.0 * min(shop, ours)
    assert 100.0 * max(shop, ours) < top < 101.0
    assert all(tick == int(tick) for tick in shares.get_yticks())
    if bottom > 0.0:
        assert shares.get_title("left") == f"% on time; the axis starts at {bottom:g}"


@pytest.mark.parametrize("days", [0.01, 0.3, 0.8])
def test_axes_of_days_span_a_day(drawn: list[Figure], days: float) -> None:
    saved = {"days_saved": days / 10, "days_saved_low": None, "days_saved_high": None}
    draw_promises([month(0.9, 0.9, days)], [{"value": "AT-9", "n": 40, **saved}], "ours")
    promised, _, by_region = drawn[0].axes
    assert promised.get_ylim() == (0.0, 1.0)
    low, high = by_region.get_xlim()
    assert high - low == pytest.approx(1.0)
    assert low < min(0.0, days / 10) and days / 10 < high


@pytest.mark.parametrize("share", [0.8, 0.99, 0.03])
def test_coverages_that_hardly_differ_are_drawn_close(drawn: list[Figure], share: float) -> None:
    alike: dict[str, Any] = {
        f"{end}_{name}": share for end in ("low", "high") for name in ("80", "90")
    }
    draw_coverage([row("eta", "purchase", share=share, **alike)], [], "eta", is_simulated=False)
    low, high = drawn[0].axes[0].get_xlim()
    assert high - low >= 5.0


def test_a_plot_without_regions_says_so(drawn: list[Figure]) -> None:
    draw_promises([month(0.9, 0.9)], [], "ours")
    assert [text.get_text() for text in drawn[0].axes[2].texts] == ["no region has enough orders"]
