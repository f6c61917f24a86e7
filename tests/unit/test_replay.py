"""A replay forecasts only from what was known, and its figures are the figures they say they are."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from eta.calendars.local import to_instant
from eta.domain.errors import NothingToLearn
from eta.evaluation.replay import Refit, Replay, replay
from eta.evaluation.summary import summarise, week_bootstrap
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines import HistoryBaseline, PromiseBaseline, SurvivalBaseline
from eta.forecast.hazard import HazardModel
from eta.journey.timeline import Timelines
from journeys import START, parcels

MODELS = {
    "B0": PromiseBaseline,
    "B1": HistoryBaseline,
    "B4": lambda: SurvivalBaseline(at_least=10),
    "eta": lambda: HazardModel(trees=20, leaves=8, leaf_rows=40, leaf_rate=0.2, smoothing_bins=0.0),
}
JUDGED_FROM = datetime(2026, 6, 1, tzinfo=START.tzinfo)
FORECASTS = ("late_probability", "promise_days")


def run(known_through_days: int | None = None, *, days: int = 14, names: tuple[str, ...] = tuple(MODELS)) -> Replay:
    timelines = Timelines.from_frames(*parcels(1500, days=130, known_through_days=known_through_days))
    models: dict[str, type[ArrivalModel]] = {name: MODELS[name] for name in names}  # type: ignore[misc]  # classes and lambdas alike
    return replay(timelines, models, start=JUDGED_FROM, end=JUDGED_FROM + timedelta(days=days), refit=Refit.WEEK)


@pytest.fixture(scope="module")
def whole() -> Replay:
    return run()


@pytest.mark.parametrize("model", MODELS)
def test_a_forecast_does_not_change_when_the_future_is_cut_off(whole: Replay, model: str) -> None:
    cut = JUDGED_FROM + timedelta(days=10)
    early = run((cut - START).days, days=10)
    key = ["shipment_id", "moment"]
    then = pd.concat([early.judged[key], early.forecasts[model]], axis=1).set_index(key)
    since = pd.concat([whole.judged[key], whole.forecasts[model]], axis=1).set_index(key)
    assert len(then) > 300
    for name in FORECASTS:
        pd.testing.assert_series_equal(then[name], since[name].reindex(then.index), check_exact=True)


def test_moments_are_those_of_the_days_asked_for(whole: Replay) -> None:
    days = pd.to_datetime(whole.judged["as_of_on"])
    assert days.min() >= pd.Timestamp(JUDGED_FROM.date())
    # A moment just before midnight in UTC is the next day in Vienna.
    assert days.max() <= pd.Timestamp((JUDGED_FROM + timedelta(days=14)).date())
    assert set(whole.judged["moment"]) == {"purchase", "handover", "day_1", "day_3", "day_7", "day_14", "day_21"}


def test_the_shops_own_promise_saves_no_day_and_is_kept_as_often_as_it_was(whole: Replay) -> None:
    row = next(row for row in summarise(whole)["rows"] if row["model"] == "B0" and row["moment"] == "purchase")
    bought = whole.judged[whole.judged["moment"].eq("purchase") & whole.judged["arrived"]]
    assert row["days_saved_equal_on_time"] == 0.0
    assert row["on_time_share"] == pytest.approx(1 - bought["is_late"].mean())
    assert row["promised_days_mean"] == pytest.approx(bought["promised_days"].mean())


def test_rows_judge_delivered_parcels_and_the_censored_score_all(whole: Replay) -> None:
    row = next(row for row in summarise(whole)["rows"] if row["model"] == "eta" and row["moment"] == "handover")
    table = pd.concat([whole.judged, whole.forecasts["eta"]], axis=1)[whole.judged["moment"].eq("handover")]
    delivered = table[table["arrived"]]
    assert (row["n"], row["n_censored"]) == (len(delivered), len(table) - len(delivered))
    assert row["mae_days"] == pytest.approx(delivered["error_days"].abs().mean())
    assert row["crps_days"] == pytest.approx(delivered["crps_days"].mean())
    assert row["crps_censored_days"] == pytest.approx(table["crps_censored_days"].mean())
    assert row["coverage_80"] == pytest.approx(delivered["covered_80"].mean())


def test_dates_shown_cover_no_less_than_the_range_they_come_from(whole: Replay) -> None:
    eta = whole.forecasts["eta"][whole.judged["arrived"]]
    assert (eta["dates_covered_80"] >= eta["covered_80"]).all()


def test_eta_beats_what_knows_no_lane_and_the_difference_says_so(whole: Replay) -> None:
    summary = summarise(whole, reference="eta")
    gap = next(row for row in summary["differences"] if (row["against"], row["moment"], row["metric"]) == ("B1", "handover", "crps_days"))
    score = {row["model"]: row["crps_days"] for row in summary["rows"] if row["moment"] == "handover"}
    assert gap["mean"] == pytest.approx(score["eta"] - score["B1"])
    assert gap["mean"] < 0
    assert gap["low"] <= gap["mean"] <= gap["high"]


def test_months_add_up_to_the_whole(whole: Replay) -> None:
    summary = summarise(whole)
    for row in summary["rows"]:
        months = [part for part in summary["by_month"] if (part["model"], part["moment"]) == (row["model"], row["moment"])]
        assert sum(part["n"] for part in months) == row["n"]


def test_segments_carry_their_band(whole: Replay) -> None:
    regions = [row for row in summarise(whole)["by_segment"] if (row["segment"], row["model"], row["moment"]) == ("destination_region", "eta", "purchase")]
    assert {row["value"] for row in regions} == {"1", "8"}
    for row in regions:
        assert row["low_80"] <= row["coverage_80"] <= row["high_80"]


def test_weeks_are_what_is_drawn() -> None:
    # Two weeks, one all hits and one all misses: drawing weeks gives 0, 1/2 or 1, drawing orders never would.
    low, high = week_bootstrap(np.array([50.0, 0.0]), np.array([50.0, 50.0]), seed=0)
    assert (low, high) == (0.0, 1.0)
    assert week_bootstrap(np.array([5.0]), np.array([9.0]), seed=0) == (None, None)


@pytest.mark.parametrize(("start", "days"), [(START, 5), (START + timedelta(days=400), 5)])
def test_days_without_anything_to_learn_or_judge_are_refused(start: datetime, days: int) -> None:
    timelines = Timelines.from_frames(*parcels(50))
    with pytest.raises(NothingToLearn):
        replay(timelines, {"B1": HistoryBaseline}, start=start, end=start + timedelta(days=days), refit=Refit.NEVER)


def test_outcomes_may_be_those_of_an_earlier_day() -> None:
    timelines = Timelines.from_frames(*parcels(800, days=130))
    through = to_instant(JUDGED_FROM + timedelta(days=3))
    start, end = JUDGED_FROM - timedelta(days=5), JUDGED_FROM
    known = replay(timelines, {"B1": HistoryBaseline}, start=start, end=end, refit=Refit.NEVER, known_through=through, warm_up_months=0).judged
    ever = replay(timelines, {"B1": HistoryBaseline}, start=start, end=end, refit=Refit.NEVER, warm_up_months=0).judged
    assert 0 < known["arrived"].sum() < ever["arrived"].sum()
