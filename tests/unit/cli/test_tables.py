"""Comparisons of models on the screen: the headline counts all parcels."""

from __future__ import annotations

import re
from typing import Any

import pytest

from eta.cli import tables
from eta.evaluation.summary import DIFFERENCE_METRICS, HEADLINE_METRIC


def row(model: str, *, delivered: float, everyone: float) -> dict[str, Any]:
    return {
        "model": model,
        "moment": "purchase",
        "n": 970,
        "mae_days": 1.0,
        "crps_days": delivered,
        HEADLINE_METRIC: everyone,
    }


def difference(metric: str, mean: float | None) -> dict[str, Any]:
    bounds = {"low": mean and mean - 0.1, "high": mean and mean + 0.1}
    key = {"model": "eta", "against": "peer", "moment": "purchase", "metric": metric}
    return {**key, "mean": mean, **bounds}


#: Of the parcels 3 % never arrive. The peer ignores them: it wins over the delivered ones alone.
ROWS = [row("eta", delivered=1.2, everyone=1.5), row("peer", delivered=1.0, everyone=2.0)]


def printed(capsys: pytest.CaptureFixture[str], differences: list[dict[str, Any]]) -> list[str]:
    """The lines of the printed comparison, without its empty ones."""
    tables.print_rows(ROWS, differences)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_the_last_column_is_eta_minus_the_other_over_all_parcels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gaps = [difference("crps_days", 0.2), difference(HEADLINE_METRIC, -0.5)]
    heading, _, eta, peer, *_ = printed(capsys, gaps)
    columns = re.split(r"\s{2,}", heading.strip())
    assert columns[-2:] == ["eta minus it", "eta minus it, all"]
    assert peer.endswith("-0.50 [-0.60, -0.40]")
    assert peer.split()[-4] == "+0.20"
    assert "[" not in eta


def test_the_first_figure_is_the_headline(capsys: pytest.CaptureFixture[str]) -> None:
    heading, _, eta, peer, *rest = printed(capsys, [])
    assert heading.split()[2:5] == ["CRPS,", "all", "delivered"]
    assert (eta.split()[2], peer.split()[2]) == ("1.500", "2.000")
    assert "all parcels" in "".join(rest)


def test_each_model_of_a_wide_comparison_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    figures = dict.fromkeys(tables._MODEL_METRICS, 0.123)  # noqa: SLF001  # all columns filled
    keys = [("purchase", "B1-lane"), ("in_flight", "eta+promise")]
    rows = [{**figures, "moment": moment, "model": model, "n": 123_456} for moment, model in keys]
    gaps = [
        {**difference(metric, -10.123), "moment": moment, "against": model}
        for metric in DIFFERENCE_METRICS
        for moment, model in keys
    ]
    tables.print_rows(rows, gaps)
    lines = capsys.readouterr().out.splitlines()
    for moment, model in keys:
        [line] = [line for line in lines if model in line]
        assert moment in line
        assert line.rstrip().endswith("-10.12 [-10.22, -10.02]")
    assert max(map(len, lines)) <= 160


def test_a_difference_without_an_interval_is_left_empty(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys, [difference(HEADLINE_METRIC, None)])
    assert "[" not in "".join(lines)


@pytest.mark.parametrize(
    ("mean", "metric", "is_better"),
    [
        (0.13, HEADLINE_METRIC, True),
        (0.05, HEADLINE_METRIC, False),
        (-0.5, HEADLINE_METRIC, False),
        (None, HEADLINE_METRIC, False),
        (0.5, "crps_days", False),
    ],
)
@pytest.mark.parametrize(
    ("moment", "words"), [("purchase", "at purchase"), ("in_flight", "in flight")]
)
def test_a_check_says_which_baseline_is_surely_better(
    capsys: pytest.CaptureFixture[str],
    mean: float | None,
    metric: str,
    is_better: bool,
    moment: str,
    words: str,
) -> None:
    gaps = [{**difference(metric, mean), "moment": moment}]
    check = {"from": "2025-10-01", "to": "2025-10-28", "rows": ROWS, "differences": gaps}
    tables.print_check({"check": check, "data": {"through": "2025-11-30"}})
    text = capsys.readouterr().out
    assert ("do not promote this version without a reason" in text) == is_better
    assert (f"peer is better than eta {words} by 0.13 days [0.03, 0.23]:" in text) == is_better


def test_a_moment_without_parcels_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    empty = {**row("eta", delivered=1.0, everyone=1.0), "moment": "in_flight", "n": 0}
    tables.print_rows([*ROWS, {**empty, "crps_days": None, HEADLINE_METRIC: None}], [])
    assert "in_flight" not in capsys.readouterr().out
    tables.print_rows([*ROWS, {**empty, "crps_days": None}], [])
    assert "in_flight: no parcel was delivered by the end of the data" in capsys.readouterr().out


def test_differences_hold_the_headline_and_the_figures_of_publications() -> None:
    assert {"crps_days", "crps_censored_days", "mae_days"} == set(DIFFERENCE_METRICS)
    assert HEADLINE_METRIC == "crps_censored_days"
