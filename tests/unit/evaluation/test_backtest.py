"""A replay uses only events received by then, and its figures match direct computations."""

from dataclasses import fields
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.domain.errors import NoTrainingData
from eta.evaluation import coverage
from eta.evaluation.backtest import Refit, Replay, replay
from eta.evaluation.metrics import error_days
from eta.evaluation.outcomes import SAMPLES_PER_STRATUM
from eta.evaluation.summary import summarise
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines.simple import HistoryBaseline, PromiseBaseline, SurvivalBaseline
from eta.forecast.hazard.model import HazardModel
from eta.forecast.hazard.recalibration import CumulativeHazardInterval, Recalibration
from eta.journey.timelines import Timelines
from support.journeys import START, parcels

MODELS = {
    "B0": PromiseBaseline,
    "B1": HistoryBaseline,
    "B4": lambda: SurvivalBaseline(at_least=10),
    "eta": lambda: HazardModel(trees=20, leaves=8, leaf_rows=40, leaf_rate=0.2, smoothing_bins=0.0),
}
JUDGED_FROM = datetime(2026, 6, 1, tzinfo=START.tzinfo)
FORECASTS = ("late_probability", "promise_days")
#: That of ``parcels``.
MERCHANT_RATE = 0.835
summarised = lru_cache(summarise)


def run(
    known_through_days: int | None = None, *, days: int = 14, names: tuple[str, ...] = tuple(MODELS)
) -> Replay:
    timelines = Timelines.from_frames(
        *parcels(1500, days=130, known_through_days=known_through_days)
    )
    models: dict[str, type[ArrivalModel]] = {name: MODELS[name] for name in names}  # type: ignore[misc]  # classes and lambdas alike
    return replay(
        timelines,
        models,
        start=JUDGED_FROM,
        end=JUDGED_FROM + timedelta(days=days),
        refit=Refit.WEEK,
        promise=MERCHANT_RATE,
    )


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
        pd.testing.assert_series_equal(
            then[name], since[name].reindex(then.index), check_exact=True
        )


def test_moments_are_within_the_replayed_days(whole: Replay) -> None:
    days = pd.to_datetime(whole.judged["as_of_on"])
    assert days.min() >= pd.Timestamp(JUDGED_FROM.date())
    # A moment just before midnight in UTC is the next day in Vienna.
    assert days.max() <= pd.Timestamp((JUDGED_FROM + timedelta(days=14)).date())
    assert set(whole.judged["moment"]) == {
        "purchase",
        "handover",
        "day_1",
        "day_3",
        "day_7",
        "day_14",
        "day_21",
    }


def test_days_after_the_judged_ones_only_affect_recalibration() -> None:
    timelines = Timelines.from_frames(*parcels(1500, days=130))

    def until(days: int) -> Replay:
        last = JUDGED_FROM + timedelta(days=days)
        return replay(
            timelines,
            {"eta": HazardModel},
            start=JUDGED_FROM,
            end=JUDGED_FROM + timedelta(days=7),
            refit=Refit.NEVER,
            forecast_until=last,
            warm_up_months=0,
        )

    short, long = until(7), until(21)
    pd.testing.assert_frame_equal(short.judged, long.judged)
    for name in (*FORECASTS, "crps_days"):
        pd.testing.assert_series_equal(short.forecasts["eta"][name], long.forecasts["eta"][name])
    assert len(long.judged) > 100
    slopes = [
        abs(Recalibration.fit(result.issued["eta"]).slopes - 1.0).sum() for result in (short, long)
    ]
    assert 0.0 < slopes[0] < slopes[1]


def test_the_promise_of_the_shop_saves_no_days_against_itself(whole: Replay) -> None:
    row = next(
        row
        for row in summarised(whole)["rows"]
        if row["model"] == "B0" and row["moment"] == "purchase"
    )
    bought = whole.judged[whole.judged["moment"].eq("purchase") & whole.judged["arrived"]]
    assert row["days_saved_equal_on_time"] == 0.0
    assert row["on_time_share"] == pytest.approx(1 - bought["is_late"].mean())
    assert row["promised_days_mean"] == pytest.approx(bought["promised_days"].mean())


def test_model_promises_reach_the_on_time_rate_of_the_shop(
    whole: Replay,
) -> None:
    rows = {row["model"]: row for row in summarised(whole)["rows"] if row["moment"] == "purchase"}
    # Two and a half standard errors of so few orders.
    assert rows["eta"]["on_time_share"] == pytest.approx(MERCHANT_RATE, abs=0.07)
    bought = whole.judged["moment"].eq("purchase")
    # No model was fitted before the first day, so that day has no forecasts of earlier orders.
    is_later = whole.judged["as_of"] >= pd.Timestamp(JUDGED_FROM + timedelta(days=1)).tz_convert(
        None
    )
    assert (whole.forecasts["eta"].loc[bought, "promise_days"].notna() == is_later[bought]).all()
    assert whole.forecasts["eta"].loc[~bought, "promise_days"].isna().all()
    assert whole.policies["eta"] is not None


def test_rows_judge_delivered_parcels_and_the_censored_score_all(whole: Replay) -> None:
    row = next(
        row
        for row in summarised(whole)["rows"]
        if row["model"] == "eta" and row["moment"] == "handover"
    )
    table = pd.concat([whole.judged, whole.forecasts["eta"]], axis=1)[
        whole.judged["moment"].eq("handover")
    ]
    delivered = table[table["arrived"]]
    assert (row["n"], row["n_censored"]) == (len(delivered), len(table) - len(delivered))
    assert row["mae_days"] == pytest.approx(delivered["error_days"].abs().mean())
    assert row["crps_days"] == pytest.approx(delivered["crps_days"].mean())
    assert row["crps_censored_days"] == pytest.approx(table["crps_censored_days"].mean())
    assert row["coverage_80"] == pytest.approx(delivered["covered_80"].mean())


def test_dates_shown_cover_no_less_than_the_range_they_come_from(whole: Replay) -> None:
    eta = whole.forecasts["eta"][whole.judged["arrived"]]
    assert (eta["dates_covered_80"] >= eta["covered_80"]).all()


@pytest.mark.parametrize("metric", ["mae_days", "crps_days", "crps_censored_days"])
def test_eta_beats_a_baseline_without_lanes_and_the_difference_shows_it(
    whole: Replay, metric: str
) -> None:
    summary = summarised(whole, reference="eta")
    gap = next(
        row
        for row in summary["differences"]
        if (row["against"], row["moment"], row["metric"]) == ("B1", "handover", metric)
    )
    score = {row["model"]: row[metric] for row in summary["rows"] if row["moment"] == "handover"}
    assert gap["mean"] == pytest.approx(score["eta"] - score["B1"])
    assert gap["mean"] < 0
    assert gap["low"] <= gap["mean"] <= gap["high"]


def test_months_add_up_to_the_whole(whole: Replay) -> None:
    summary = summarised(whole)
    for row in summary["rows"]:
        months = [
            part
            for part in summary["by_month"]
            if (part["model"], part["moment"]) == (row["model"], row["moment"])
        ]
        assert sum(part["n"] for part in months) == row["n"]


@pytest.mark.parametrize("is_simulated", [False, True])
def test_rows_and_segments_carry_the_intervals_of_their_ranges(
    whole: Replay, is_simulated: bool
) -> None:
    summary = summarise(whole, is_simulated=is_simulated)
    regions = [
        row
        for row in summary["by_segment"]
        if (row["segment"], row["model"], row["moment"])
        == ("destination_region", "eta", "purchase")
    ]
    assert {row["value"] for row in regions} == {"AT-1", "AT-8"}
    for row in [
        *regions,
        next(
            row for row in summary["rows"] if (row["model"], row["moment"]) == ("eta", "purchase")
        ),
    ]:
        for name in ("80", "90", "dates_80"):
            assert (
                0.0
                < row[f"low_{name}"]
                <= row[f"coverage_censored_{name}"]
                <= row[f"high_{name}"]
                <= 1.0
            )
        assert row["coverage_censored_80"] < row["coverage_censored_90"]


def test_segments_hold_every_parcel_of_the_moment(whole: Replay) -> None:
    summary = summarised(whole)
    assert {row["segment"] for row in summary["by_segment"]} >= {
        "phase",
        "elapsed_band",
        "destination_region",
        "carrier",
        "weight_band",
        "week",
    }
    bought = next(
        row for row in summary["rows"] if (row["model"], row["moment"]) == ("eta", "purchase")
    )
    for segment in ("phase", "carrier", "destination_region"):
        parts = [
            row
            for row in summary["by_segment"]
            if (row["segment"], row["model"], row["moment"]) == (segment, "eta", "purchase")
        ]
        assert sum(row["n"] for row in parts) == bought["n"]
    in_flight = {
        row["value"]
        for row in summary["by_segment"]
        if (row["segment"], row["moment"]) == ("elapsed_band", "in_flight")
    }
    # Handed over the day after the order, and then looked at again and again.
    assert {"1-3 d", "3-7 d"} <= in_flight


def test_the_shares_of_the_tenths_are_the_coverage_of_all_parcels(whole: Replay) -> None:
    for row in summarised(whole)["rows"]:
        assert sum(row["pit_deciles"]) == pytest.approx(1.0)
        if (row["model"], row["moment"]) in (("eta", "purchase"), ("eta", "in_flight")):
            assert sum(row["pit_deciles"][1:9]) == pytest.approx(row["coverage_censored_80"])
            assert all(
                low <= share <= high
                for low, share, high in zip(
                    row["pit_deciles_low"], row["pit_deciles"], row["pit_deciles_high"], strict=True
                )
            )


def test_an_open_parcel_counts_in_coverage_by_its_forecast(
    whole: Replay,
) -> None:
    row = next(
        row
        for row in summarised(whole)["rows"]
        if (row["model"], row["moment"]) == ("eta", "day_7")
    )
    table = pd.concat([whole.judged, whole.forecasts["eta"]], axis=1)[
        whole.judged["moment"].eq("day_7")
    ]
    still_open = table[~table["arrived"]]
    assert len(still_open) > 0
    assert (still_open["pit_to"] == 1.0).all()
    within = np.clip(0.9 - still_open["pit_from"].clip(lower=0.1), 0.0, None) / (
        1.0 - still_open["pit_from"]
    )
    expected = (table["covered_80"][table["arrived"]].sum() + within.sum()) / len(table)
    assert row["coverage_censored_80"] == pytest.approx(expected)
    assert row["coverage_80"] == pytest.approx(table["covered_80"][table["arrived"]].mean())


def test_failing_ranges_are_those_that_do_not_hold_in_rows_and_segments(
    whole: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "MIN_INDEPENDENT_PARCELS", 50)
    summary = summarise(whole, is_simulated=True)
    expected = [
        (row["model"], row["moment"], row.get("segment", "all"), row.get("value", "all"), name)
        for row in (*summary["rows"], *summary["by_segment"])
        for name in ("80", "90", "dates_80")
        if row[f"holds_{name}"] is False
    ]
    listed = [
        (entry["model"], entry["moment"], entry["segment"], entry["value"], entry["range"])
        for entry in summary["failing"]
    ]
    # The shop's promise is no range at all.
    assert ("B0", "in_flight", "all", "all", "80") in listed
    assert sorted(listed) == sorted(expected)


def test_half_of_the_absolute_error_is_the_pinball_loss_of_the_median(whole: Replay) -> None:
    for row in summarised(whole)["rows"]:
        assert row["pinball_50_days"] == pytest.approx(row["mae_days"] / 2)


def test_curves_are_stored_for_a_sample_of_each_week_and_phase(whole: Replay) -> None:
    has_curve = whole.forecasts["eta"]["curve"].notna()
    assert has_curve.equals(whole.judged["is_sampled"])
    assert whole.judged[has_curve].groupby(["week", "phase"]).size().max() == SAMPLES_PER_STRATUM
    row = int(np.flatnonzero(has_curve & whole.judged["arrived"])[0])
    error = error_days(
        whole.forecasts["eta"]["curve"][row], whole.judged["hours"].to_numpy()[[row]]
    )
    assert error == pytest.approx(whole.forecasts["eta"]["error_days"][row])


@pytest.mark.parametrize(("start", "days"), [(START, 5), (START + timedelta(days=400), 5)])
def test_days_without_anything_to_learn_or_judge_are_refused(start: datetime, days: int) -> None:
    timelines = Timelines.from_frames(*parcels(50))
    with pytest.raises(NoTrainingData):
        replay(
            timelines,
            {"B1": HistoryBaseline},
            start=start,
            end=start + timedelta(days=days),
            refit=Refit.NEVER,
        )


def test_outcomes_may_be_those_of_an_earlier_day() -> None:
    timelines = Timelines.from_frames(*parcels(800, days=130))
    through = to_instant(JUDGED_FROM + timedelta(days=3))
    start, end = JUDGED_FROM - timedelta(days=5), JUDGED_FROM
    earlier = replay(
        timelines,
        {"B1": HistoryBaseline},
        start=start,
        end=end,
        refit=Refit.NEVER,
        known_through=through,
        warm_up_months=0,
    ).judged
    final = replay(
        timelines,
        {"B1": HistoryBaseline},
        start=start,
        end=end,
        refit=Refit.NEVER,
        warm_up_months=0,
    ).judged
    assert 0 < earlier["arrived"].sum() < final["arrived"].sum()


def test_two_processes_give_the_same_figures_as_one() -> None:
    timelines = Timelines.from_frames(*parcels(800, days=130))

    def with_jobs(jobs: int) -> tuple[Replay, list[tuple[str, int, int]]]:
        reports: list[tuple[str, int, int]] = []
        result = replay(
            timelines,
            MODELS,  # type: ignore[arg-type]  # classes and lambdas alike
            start=JUDGED_FROM,
            end=JUDGED_FROM + timedelta(days=14),
            refit=Refit.WEEK,
            promise=MERCHANT_RATE,
            curve_sources={"constant": lambda pairs: constant_curves(len(pairs))},
            jobs=jobs,
            progress=lambda *report: reports.append(report),
        )
        return result, reports

    (one, _), (two, reports) = with_jobs(1), with_jobs(2)
    pd.testing.assert_frame_equal(one.judged, two.judged, check_exact=True)
    assert list(one.forecasts) == list(two.forecasts) == [*MODELS, "constant"]
    for name, forecasts in one.forecasts.items():
        scores = forecasts.drop(columns="curve")
        other = two.forecasts[name].drop(columns="curve")
        pd.testing.assert_frame_equal(scores, other, check_exact=True)
        assert_same_curves(forecasts["curve"], two.forecasts[name]["curve"])
    assert one.policies == two.policies
    assert one.issued.keys() == two.issued.keys() == {"eta"}
    for part in fields(CumulativeHazardInterval):
        np.testing.assert_array_equal(
            getattr(one.issued["eta"], part.name), getattr(two.issued["eta"], part.name)
        )
    assert all(seconds > 0.0 for name, seconds in two.fit_seconds.items() if name in MODELS)
    assert reports[-1][1] == reports[-1][2]


def constant_curves(count: int) -> Curves:
    hours = np.tile([24.0, 240.0], (count, 1))
    return Curves.from_knots(hours, np.tile([0.0, 1.0], (count, 1)))


def assert_same_curves(one: pd.Series, other: pd.Series) -> None:
    assert one.notna().equals(other.notna())
    for curve, other_curve in zip(one.dropna(), other.dropna(), strict=True):
        for knots, other_knots in zip(curve.knots(), other_curve.knots(), strict=True):
            np.testing.assert_array_equal(knots, other_knots)
