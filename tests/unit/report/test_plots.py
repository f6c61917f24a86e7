"""Plots can be drawn of incomplete figures, and show what the figures contain."""

from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eta.report import plots as picture
from eta.report.plots import draw_coverage, draw_pit

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
