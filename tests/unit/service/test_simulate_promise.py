"""The promises that a policy would have made, in figures that can be counted by hand."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from eta.domain.errors import NoTrainingData
from eta.evaluation.backtest import Refit
from eta.forecast.base import ArrivalModel
from eta.journey.timelines import Timelines
from eta.report.plots import draw_promises
from eta.service.analysis.simulate_promise import figures_of_promises, simulate_promise
from support.journeys import START, parcels


def orders(count: int = 40) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Orders of two weeks that take 3 days; promised: shop 5, policy 4, but 2 to every fourth."""
    number = np.arange(count)
    on = np.datetime64("2026-03-02") + number % 14
    judged = pd.DataFrame(
        {
            "moment": np.where(number % 10 == 9, "handover", "purchase"),
            "arrived": number % 20 != 18,
            "as_of_on": on.astype("datetime64[s]"),
            "arrived_on": (on + 3).astype("datetime64[s]"),
            "promised_days": np.where(number == 0, np.nan, 5.0),
            "week": np.where(number % 14 < 7, "2026-03-02", "2026-03-09"),
            "month": "2026-03",
            "destination_region": np.where(number % 2 == 0, "9", "8"),
            "weight_band": "<0.5 kg",
            "carrier": "post",
        }
    )
    return judged, pd.DataFrame({"promise_days": np.where(number % 4 == 0, 2.0, 4.0)})


def test_days_and_shares_are_those_of_delivered_orders_with_a_promise() -> None:
    judged, forecasts = orders()
    figures = figures_of_promises(judged, forecasts)
    # Of 40, 4 are no purchases, 2 never came and 1 had no promise; 8 were promised 2 days.
    total = figures["total"]
    assert total["n"] == len(figures["orders"]) == 33
    late = int((figures["orders"]["promise_days"] == 2.0).sum())
    assert total["on_time_share"] == pytest.approx(1 - late / 33)
    assert (total["shop_on_time_share"], total["shop_promised_days_mean"]) == (1.0, 5.0)
    assert total["days_saved"] == pytest.approx((33 + 2 * late) / 33)
    assert total["days_saved_share"] == pytest.approx(total["days_saved"] / 5.0)
    assert total["days_saved_low"] <= total["days_saved"] <= total["days_saved_high"]


def test_segments_add_up_to_the_whole_and_small_ones_are_left_out() -> None:
    figures = figures_of_promises(*orders(160))
    sums = {
        name: sum(row["n"] for row in figures["by_segment"] if row["segment"] == name)
        for name in ("month", "destination_region", "weight_band", "carrier")
    }
    assert set(sums.values()) == {figures["total"]["n"]}
    assert {row["segment"] for row in figures_of_promises(*orders(20))["by_segment"]} == set()


def test_without_an_order_to_judge_an_error_is_raised() -> None:
    judged, forecasts = orders()
    with pytest.raises(NoTrainingData, match="simulate other days"):
        figures_of_promises(judged, forecasts.assign(promise_days=np.nan))


def test_without_a_promise_and_a_policy_nothing_is_replayed() -> None:
    """Without a promise there is no on-time rate: the error comes before a model is made."""
    shipments, events = parcels(50, days=30)
    timelines = Timelines.from_frames(shipments.assign(promised_on=None), events)

    def make() -> ArrivalModel:
        raise AssertionError("a model was made")

    start, end = START + timedelta(days=10), START + timedelta(days=20)
    with pytest.raises(NoTrainingData, match="give a policy"):
        simulate_promise(
            timelines,
            make,
            source="tabular",
            start=start,
            end=end,
            refit=Refit.MONTH,
            policy=None,
        )


def test_the_plot_draws_the_figures() -> None:
    figures = figures_of_promises(*orders(160))
    months, regions = (
        [row for row in figures["by_segment"] if row["segment"] == name]
        for name in ("month", "destination_region")
    )
    assert draw_promises(months, regions, "a policy").startswith(b"\x89PNG")
    text = draw_promises(months, regions, "the policy 2026-11", "svg").decode()
    assert "<svg" in text


def test_the_plot_of_too_few_orders_is_empty() -> None:
    assert draw_promises([], [], "a policy").startswith(b"\x89PNG")
