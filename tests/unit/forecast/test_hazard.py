"""The hazard model: recovers distributions, censors open parcels, is the same for one or many."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.domain.errors import NotFitted, NoTrainingData
from eta.domain.vocabulary import EventCode
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines.simple import (
    HistoryBaseline,
    PromiseBaseline,
    PromiseRatioBaseline,
    SurvivalBaseline,
)
from eta.forecast.design_matrix import Design
from eta.forecast.hazard.active_hours import NEAR_PROMISE as NEAR_DAYS
from eta.forecast.hazard.exposure import BIN_EDGES_HOURS
from eta.forecast.hazard.model import HazardModel
from eta.forecast.hazard.non_arrival import NonArrival
from eta.forecast.hazard.recalibration import Recalibration
from eta.forecast.hazard.trees import Forest
from eta.forecast.support import MIN_PARCELS, Support
from eta.journey.categories import Categorical
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import (
    CATEGORICAL_COLUMNS,
    NUMBER_COLUMNS,
    PROMISE_COLUMN,
    Features,
    features,
)
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import NEAR_PROMISE, PURCHASE, Snapshots, training_snapshots
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from support.journeys import START, parcels, scan, shipment

SMALL: dict[str, Any] = {
    "smoothing_bins": 0.0,
    "trees": 80,
    "leaves": 8,
    "leaf_rows": 40,
    "leaf_rate": 0.15,
}


def examples_from(
    count: int, *, days: int, known_through_days: int | None = None, seed: int = 0
) -> tuple[Timelines, Examples]:
    timelines = Timelines.from_frames(
        *parcels(count, days=days, known_through_days=known_through_days, seed=seed)
    )
    through = to_instant(START + timedelta(days=known_through_days or days))
    return timelines, examples(
        training_snapshots(timelines, through), Outcomes.at(timelines, through)
    )


@pytest.fixture(scope="module")
def training_examples() -> Examples:
    return examples_from(3000, days=60)[1]


@pytest.fixture(scope="module")
def fitted(training_examples: Examples) -> HazardModel:
    return HazardModel(**SMALL).fit(training_examples)


def at_handover(
    timelines: Timelines,
) -> tuple[Snapshots, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    judged = training_snapshots(timelines, to_instant(START + timedelta(days=90)))
    is_handover = (judged.moment == "scan") & (judged.features.numbers["silence_days"] == 0)
    rows = np.flatnonzero(is_handover)
    return judged.take(rows), timelines.texts["destination_region"].take(
        judged.pairs.row[rows]
    ).texts() == "8"


def curve_bytes(model: ArrivalModel, query: Features) -> tuple[bytes, bytes]:
    hours, cdf = model.predict_curves(query).knots()
    return hours.tobytes(), cdf.tobytes()


def test_forest_ends_in_the_leaves_of_lightgbm() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 5)).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    rows[:, 4] = np.nan_to_num(rows[:, 4])
    target = np.nansum(rows, axis=1) + random.normal(size=len(rows))
    booster = lightgbm.train(
        {"num_leaves": 12, "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(rows, target),
        num_boost_round=7,
    )
    forest = Forest.from_lightgbm(booster.dump_model())
    rows[:50, 4] = np.nan
    ours = np.column_stack([forest.leaves(tree, rows) for tree in range(7)])
    theirs = np.asarray(booster.predict(rows, pred_leaf=True))
    for tree in range(7):
        pairs = set(zip(ours[:, tree].tolist(), theirs[:, tree].tolist(), strict=True))
        assert (
            len({ours_leaf for ours_leaf, _ in pairs})
            == len({theirs_leaf for _, theirs_leaf in pairs})
            == len(pairs)
        )


def test_model_recovers_the_distribution_of_each_lane(fitted: HazardModel) -> None:
    judged, is_far = at_handover(examples_from(2000, days=60, seed=1)[0])
    curves = fitted.predict_curves(judged.features)
    for daily_probability, rows in ((1 / 2, ~is_far), (1 / 6, is_far)):
        for days in (1, 2, 4, 8):
            # Handed over at noon; every day's arrivals are in by 6 in the evening.
            truth = 1 - 0.02 - 0.98 * (1 - daily_probability) ** days
            assert curves.cdf_at(days * 24.0 + 8.0)[rows].mean() == pytest.approx(truth, abs=0.05)


def test_censoring_does_not_make_the_network_look_faster() -> None:
    # Half of the far parcels are still on their way when learning stops.
    training_examples = examples_from(2500, days=14, known_through_days=14)[1]
    judged, is_far = at_handover(examples_from(1000, days=60, seed=1)[0])
    truth = 1 - 0.02 - 0.98 * (5 / 6) ** 6
    with_censored, without_censored = (
        HazardModel(**SMALL, includes_censored=includes)
        .fit(training_examples)
        .predict_curves(judged.features)
        .cdf_at(6 * 24.0 + 8.0)[is_far]
        .mean()
        for includes in (True, False)
    )
    assert with_censored == pytest.approx(truth, abs=0.06)
    assert without_censored > truth + 0.08


def test_no_arrivals_are_expected_at_night(fitted: HazardModel) -> None:
    judged, _ = at_handover(examples_from(200, days=60, seed=1)[0])
    curves = fitted.predict_curves(judged.features.take(np.arange(20)))
    # Handed over at noon in UTC, 1 or 2 in the afternoon in Vienna: 12 to 24 hours later is night
    # and morning.
    night, afternoon = (
        curves.cdf_at(24.0) - curves.cdf_at(12.0),
        curves.cdf_at(32.0) - curves.cdf_at(24.0),
    )
    assert (night < 0.1 * afternoon).all()


@pytest.mark.parametrize(("late_hours", "expected"), [(0, 0.0), (60, 0.5)])
def test_unreported_arrivals_are_in_the_curve_from_the_start(
    late_hours: int, expected: float
) -> None:
    shipments, events = parcels(2000, days=60)
    is_delivery = events["event_code"] == "delivered"
    events["received_at"] = events["occurred_at"] + pd.to_timedelta(
        np.where(is_delivery, late_hours, 0), unit="h"
    )
    timelines = Timelines.from_frames(shipments, events)
    through = to_instant(START + timedelta(days=90))
    history = examples(training_snapshots(timelines, through), Outcomes.at(timelines, through))
    waiting = history.take(np.flatnonzero(history.features.numbers["handover_elapsed_days"] > 1.0))
    truth = (waiting.event_observed & (waiting.duration_hours <= 0)).mean()
    assert truth == pytest.approx(expected, abs=0.2)
    curves = HazardModel(**SMALL).fit(history).predict_curves(waiting.features)
    assert curves.cdf_at(0.0).mean() == pytest.approx(truth, abs=0.03)


def test_in_sample_recalibration_restores_the_shape_of_days(training_examples: Examples) -> None:
    model = HazardModel(**{**SMALL, "smoothing_bins": 4.0, "trees": 20}).fit(training_examples)
    long_ago = training_examples.as_of < training_examples.known_through - np.timedelta64(10, "D")
    bought = training_examples.take(
        np.flatnonzero((training_examples.moment == PURCHASE) & long_ago)
    )
    midnights = 24.0 * np.arange(1, 8) - bought.features.numbers["local_hour"][:, None]

    def largest_error() -> float:
        stated = model.predict_curves(bought.features).cdf_table(midnights)
        return float(
            abs(
                stated.mean(axis=0)
                - (
                    bought.event_observed[:, None] & (bought.duration_hours[:, None] < midnights)
                ).mean(axis=0)
            ).max()
        )

    error, model.in_sample_recalibration_ = largest_error(), Recalibration.identity()
    assert error < largest_error() / 2.0


def test_restored_model_gives_the_same_curves(
    fitted: HazardModel, training_examples: Examples
) -> None:
    restored = HazardModel(**fitted.get_params()).restore(fitted.to_arrays())
    assert curve_bytes(restored, training_examples.features.take(np.arange(200))) == curve_bytes(
        fitted, training_examples.features.take(np.arange(200))
    )


def test_model_forecasts_with_current_holidays_and_fits_with_its_own(
    fitted: HazardModel, training_examples: Examples
) -> None:
    query = training_examples.features.take(np.arange(50))
    closed = {START.date() + timedelta(days=day): True for day in range(-30, 150) if day % 7 < 4}
    calendar = HolidayCalendar(
        "own",
        {
            (country, None): closed
            for country in sorted({name.partition("-")[0] for name in query.calendar.names})
        },
    )
    expected = curve_bytes(fitted, query)
    before, after = (HazardModel(**fitted.get_params()) for _ in range(2))
    before.with_holidays(calendar).restore(fitted.to_arrays())
    after.restore(fitted.to_arrays()).with_holidays(calendar)
    assert curve_bytes(before, query) == curve_bytes(after, query) != expected
    assert (
        after.predict_curves(query).cdf_at(48.0).mean()
        < fitted.predict_curves(query).cdf_at(48.0).mean() - 0.02
    )
    assert curve_bytes(after.with_holidays(PUBLIC_HOLIDAYS), query) == expected
    refitted = HazardModel(**{**SMALL, "trees": 2}).with_holidays(calendar).fit(training_examples)
    assert refitted.activity_.holiday_factor != fitted.activity_.holiday_factor
    assert refitted.activity_.holidays is calendar


def test_same_data_give_the_same_bytes(fitted: HazardModel, training_examples: Examples) -> None:
    again = HazardModel(**SMALL).fit(training_examples).to_arrays()
    assert {name: values.tobytes() for name, values in again.items()} == {
        name: values.tobytes() for name, values in fitted.to_arrays().items()
    }


def test_parcel_has_the_same_curve_alone_and_in_a_batch(
    fitted: HazardModel, training_examples: Examples
) -> None:
    rows = np.arange(0, len(training_examples), 97)
    batch = fitted.predict_curves(training_examples.features.take(rows))
    for place, row in enumerate(rows[::7]):
        one = fitted.predict_curves(training_examples.features.take(np.array([row])))
        assert one.knots()[1].tobytes() == batch.take(np.array([7 * place])).knots()[1].tobytes()


def test_unknown_categories_get_a_distribution(fitted: HazardModel) -> None:
    shipments, events = parcels(5)
    odd = shipments.assign(
        carrier="never heard of",
        destination_country="JP",
        destination_region=None,
        weight_kg=np.nan,
        promised_on=None,
    )
    timelines = Timelines.from_frames(
        odd[["shipment_id", "order_id", "origin_country", "destination_country", "carrier"]], events
    )
    seen = features(
        timelines,
        AsOfPairs.all_at(timelines, to_instant(START + timedelta(days=121))),
        PlaceEffects(),
    )
    tail_mass = fitted.predict_curves(seen).tail_mass
    assert ((tail_mass > 0) & (tail_mass < 1)).all()


def test_model_for_promises_ignores_the_promise(
    fitted: HazardModel, training_examples: Examples
) -> None:
    seen = training_examples.features.take(np.arange(100))
    other = Features(
        seen.categoricals,
        {**seen.numbers, PROMISE_COLUMN: seen.numbers[PROMISE_COLUMN] + 9.0},
        seen.local_as_of,
        seen.calendar,
    )
    assert curve_bytes(fitted, other) == curve_bytes(fitted, seen)
    sees = HazardModel(**SMALL, uses_promise=True).fit(training_examples)
    assert curve_bytes(sees, other) != curve_bytes(sees, seen)


@pytest.fixture(scope="module")
def sees_promise(training_examples: Examples) -> HazardModel:
    return HazardModel(**SMALL, uses_promise=True).fit(training_examples)


def test_restored_promise_model_gives_the_same_curves_one_by_one(
    sees_promise: HazardModel, training_examples: Examples
) -> None:
    rows = np.arange(0, len(training_examples), 97)
    batch = sees_promise.predict_curves(training_examples.features.take(rows)).knots()[1]
    restored = HazardModel(**sees_promise.get_params()).restore(sees_promise.to_arrays())
    assert (
        restored.predict_curves(training_examples.features.take(rows)).knots()[1].tobytes()
        == batch.tobytes()
    )
    for place, row in enumerate(rows[::7]):
        assert (
            sees_promise.predict_curves(training_examples.features.take(np.array([row])))
            .knots()[1]
            .tobytes()
            == batch[[7 * place]].tobytes()
        )


def test_non_arrival_correction_reduces_overfitting_of_lost_parcels() -> None:
    # One in fifty never does, whatever its lane.
    training_examples = examples_from(3000, days=60, known_through_days=130)[1]
    model = HazardModel(**SMALL).fit(training_examples)
    bought = training_examples.features.take(np.flatnonzero(training_examples.moment == PURCHASE))

    def never() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.asarray(1.0 - model.predict_curves(bought).knots()[1][:, -1])

    shares, model.non_arrival_ = never(), NonArrival.identity()
    assert np.log(shares).std() < 0.98 * np.log(never()).std()
    assert shares.mean() == pytest.approx(
        (~training_examples.event_observed[training_examples.moment == PURCHASE]).mean(), abs=0.005
    )


def test_promised_day_is_its_own_bin_at_every_moment(
    sees_promise: HazardModel, training_examples: Examples
) -> None:
    seen = training_examples.features.take(np.arange(0, len(training_examples), 97))
    fast = HazardModel(**sees_promise.get_params()).restore(sees_promise.to_arrays())
    plain = HazardModel(**sees_promise.get_params()).restore(sees_promise.to_arrays())
    assert len(fast.base_) == len(BIN_EDGES_HOURS) + len(NEAR_DAYS)
    fast.base_ = fast.base_ + np.float32(np.log(4.0)) * (
        np.arange(len(fast.base_)) == len(BIN_EDGES_HOURS) + NEAR_DAYS.tolist().index(0)
    )
    fast.in_sample_recalibration_ = plain.in_sample_recalibration_ = Recalibration.identity()
    fast.non_arrival_ = plain.non_arrival_ = NonArrival.identity()
    hazards = [-np.log1p(-model.predict_curves(seen).knots()[1]) for model in (fast, plain)]
    hours = fast.predict_curves(seen).knots()[0]
    steps, plain_steps = (np.diff(hazard, axis=1) for hazard in hazards)
    begins = seen.numbers[PROMISE_COLUMN][:, None] * 24.0
    # Where nearly all have arrived rounding is all that is left.
    still = hazards[0][:, 1:] < 10.0
    inside = still & (hours[:, :-1] >= begins) & (hours[:, 1:] <= begins + 24.0)
    outside = still & ((hours[:, 1:] <= begins) | (hours[:, :-1] >= begins + 24.0))
    assert inside.sum() > 20
    # Log-hazards are float32: the log of 4 is added to them within that.
    assert steps[inside] == pytest.approx(4 * plain_steps[inside], rel=1e-5)
    assert steps[outside] == pytest.approx(plain_steps[outside], rel=1e-6)


def test_punctual_lane_peaks_on_the_promised_day_at_purchase() -> None:
    """Parcels of one lane arrive on the promised day, those of the other on a day around it."""
    shipments, events = parcels(3000, days=60)
    arrived_on = shipments["shipment_id"].map(
        events[events["event_code"].eq("delivered")]
        .set_index("shipment_id")["occurred_at"]
        .dt.tz_localize(None)
        .dt.normalize()
    )
    off = np.where(shipments["destination_region"].eq("1"), 0, np.arange(len(shipments)) % 7 - 3)
    timelines = Timelines.from_frames(
        shipments.assign(promised_on=arrived_on + pd.to_timedelta(off, unit="D")), events
    )
    until = to_instant(START + timedelta(days=60))
    training_examples = examples(
        training_snapshots(timelines, until), Outcomes.at(timelines, until)
    )
    model = HazardModel(**SMALL, uses_promise=True).fit(training_examples)
    promised = ~np.isnan(training_examples.features.numbers[PROMISE_COLUMN])
    bought = training_examples.features.take(
        np.flatnonzero((training_examples.moment == PURCHASE) & promised)
    )
    begins = bought.numbers[PROMISE_COLUMN][:, None] * 24.0
    there = np.diff(
        model.predict_curves(bought).cdf_table(np.maximum(begins + np.array([0.0, 24.0]), 0.0)),
        axis=1,
    )[:, 0]
    is_exact = np.array(
        [str(lane).endswith("AT-1") for lane in bought.categoricals["lane"].texts()]
    )
    assert there[is_exact].mean() > 0.75
    assert there[~is_exact].mean() < 0.3


def test_promise_model_encodes_categories_against_the_promise(training_examples: Examples) -> None:
    training_examples = training_examples.take(np.flatnonzero(training_examples.event_observed))
    design, rows = Design.fit(training_examples, 20.0, columns=(*NUMBER_COLUMNS, PROMISE_COLUMN))
    past_promise = np.arcsinh(
        training_examples.duration_hours / 24.0
        - training_examples.features.numbers[PROMISE_COLUMN]
        - 1.0
    )
    lane = training_examples.features.categoricals["lane"]
    assert design.against_promise is not None
    place = len(CATEGORICAL_COLUMNS) + CATEGORICAL_COLUMNS.index("lane")
    for code in np.unique(lane.codes):
        in_lane = lane.codes == code
        # A lane with thousands of moments is worth nearly their mean, drawn to that of all by 20 of
        # them.
        expected = (past_promise[in_lane].sum() + 20.0 * past_promise.mean()) / (
            in_lane.sum() + 20.0
        )
        assert design.encode_labels(training_examples.features)[in_lane, place] == pytest.approx(
            expected
        )
    plain = Design.fit(training_examples, 20.0)[1]
    assert rows.shape[1] > plain.shape[1] + 1


def test_promise_model_works_without_promises(training_examples: Examples) -> None:
    seen = training_examples.features
    none = replace(
        training_examples,
        features=replace(
            seen, numbers={**seen.numbers, PROMISE_COLUMN: np.full(len(seen), np.nan)}
        ),
    )
    curves = (
        HazardModel(**SMALL, uses_promise=True)
        .fit(none)
        .predict_curves(none.features.take(np.arange(50)))
    )
    assert np.isfinite(curves.knots()[1]).all()


def test_orders_far_ahead_have_examples_near_the_promised_day() -> None:
    ordered_at = START - timedelta(days=100)
    shipments = [
        shipment(0, ordered_at=ordered_at, promised_on=START.date()),
        shipment(1, ordered_at=ordered_at, promised_on=(START - timedelta(days=50)).date()),
    ]
    scans = [scan(number, EventCode.ORDER_CREATED, -2400.0) for number in (0, 1)] + [
        scan(0, EventCode.DELIVERED, -5 * 24.0)
    ]
    timelines = Timelines.from_records(shipments, scans)
    standard, more = (
        training_snapshots(timelines, to_instant(START), near_promise=near)
        for near in (False, True)
    )
    assert NEAR_PROMISE not in standard.moment
    near = more.moment == NEAR_PROMISE
    # Expired on day 60; the second parcel's promise was before that, and the first had arrived five
    # days before its own.
    assert more.pairs.row[near].tolist() == [0, 0, 0]
    assert np.rint(more.features.numbers[PROMISE_COLUMN][near]).tolist() == [30, 14, 7]
    assert more.pairs.as_of[~near].tolist() == standard.pairs.as_of.tolist()


MODELS = (HazardModel, PromiseBaseline, HistoryBaseline, PromiseRatioBaseline, SurvivalBaseline)


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_works_with_scikit_learn(
    kind: type[ArrivalModel], training_examples: Examples
) -> None:
    model = kind()
    assert isinstance(model, ArrivalModel)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFitted):
        model.predict_curves(training_examples.features)
    with pytest.raises(NoTrainingData):
        model.fit(training_examples.take(np.flatnonzero(~training_examples.event_observed)))


@pytest.mark.parametrize("kind", MODELS)
def test_quantiles_of_models_do_not_cross(
    kind: type[ArrivalModel], training_examples: Examples
) -> None:
    curves = (
        kind()
        .fit(training_examples)
        .predict_curves(training_examples.features.take(np.arange(0, len(training_examples), 50)))
    )
    assert isinstance(curves, Curves)
    quantiles = np.array([curves.quantile(level) for level in np.linspace(0.01, 0.9, 30)])
    assert (quantiles >= 0).all()
    assert (quantiles[1:] >= quantiles[:-1]).all()


def test_support_is_the_narrowest_level_with_enough_parcels(
    training_examples: Examples,
) -> None:
    support = Support.fit(training_examples)
    seen = training_examples.take(np.flatnonzero(training_examples.moment == PURCHASE)).features
    level, count = support.lookup(seen)
    assert set(level) <= {"service+lane+weight", "service+lane"}
    assert (count >= MIN_PARCELS).all()
    strangers = {
        "carrier": Categorical.from_texts([None] * len(seen)),
        "service": Categorical.from_texts(["?|?"] * len(seen)),
    }
    nobody = Features(
        {**seen.categoricals, **strangers}, seen.numbers, seen.local_as_of, seen.calendar
    )
    level, count = support.lookup(nobody)
    assert set(level) == {"calendar_only"}
    assert (
        count == training_examples.event_observed[training_examples.moment == PURCHASE].sum()
    ).all()
    abroad = replace(
        seen,
        categoricals={
            **seen.categoricals,
            "lane": Categorical.from_texts(["AT-9>BR-AM"] * len(seen)),
            "destination": Categorical.from_texts(["BR-AM"] * len(seen)),
        },
    )
    assert (support.lookup(abroad)[1] == 0).all()
    unknown = Categorical.from_texts([None] * len(seen))
    from_any_origin = replace(
        seen, categoricals={**seen.categoricals, **strangers, "lane": unknown, "origin": unknown}
    )
    assert (
        support.lookup(from_any_origin)[1]
        == training_examples.event_observed[training_examples.moment == PURCHASE].sum()
    ).all()
