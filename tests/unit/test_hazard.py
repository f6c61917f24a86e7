"""The hazard model learns a law it cannot see, keeps parcels still open, and answers the same for one as for many."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import lightgbm
import numpy as np
import pytest
from sklearn.base import clone

from eta.calendars.local import to_instant
from eta.curves import Curves
from eta.domain.errors import NotFitted, NothingToLearn
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines import HistoryBaseline, PromiseBaseline, PromiseRatioBaseline, SurvivalBaseline
from eta.forecast.hazard import HazardModel
from eta.forecast.support import ENOUGH, Support
from eta.forecast.trees import Forest
from eta.journey.columns import Labels
from eta.journey.features import PROMISE_COLUMN, Features, features
from eta.journey.snapshots import PURCHASE, Examples, Outcomes, Snapshots, examples, snapshots_to_learn
from eta.journey.state import Moments
from eta.journey.timeline import Timelines
from journeys import START, parcels

SMALL: dict[str, Any] = {"smoothing_bins": 0.0, "trees": 80, "leaves": 8, "leaf_rows": 40, "leaf_rate": 0.15}


def learn_from(count: int, *, days: int, known_through_days: int | None = None, seed: int = 0) -> tuple[Timelines, Examples]:
    timelines = Timelines.from_frames(*parcels(count, days=days, known_through_days=known_through_days, seed=seed))
    through = to_instant(START + timedelta(days=known_through_days or days))
    return timelines, examples(snapshots_to_learn(timelines, through), Outcomes.at(timelines, through))


@pytest.fixture(scope="module")
def lessons() -> Examples:
    return learn_from(3000, days=60)[1]


@pytest.fixture(scope="module")
def fitted(lessons: Examples) -> HazardModel:
    return HazardModel(**SMALL).fit(lessons)


def at_handover(timelines: Timelines) -> tuple[Snapshots, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    judged = snapshots_to_learn(timelines, to_instant(START + timedelta(days=90)))
    is_handover = (judged.kind == "scan") & (judged.features.numbers["silence_days"] == 0)
    rows = np.flatnonzero(is_handover)
    return judged.take(rows), timelines.texts["destination_region"].take(judged.moments.row[rows]).texts() == "8"


def curves_of(model: ArrivalModel, seen: Features) -> tuple[bytes, bytes]:
    hours, cdf = model.predict_curves(seen).knots()
    return hours.tobytes(), cdf.tobytes()


def test_the_forest_ends_in_the_same_leaves_as_lightgbm() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 5)).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    rows[:, 4] = np.nan_to_num(rows[:, 4])
    target = np.nansum(rows, axis=1) + random.normal(size=len(rows))
    booster = lightgbm.train({"num_leaves": 12, "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(rows, target), num_boost_round=7)
    forest = Forest.from_lightgbm(booster.dump_model())
    rows[:50, 4] = np.nan
    ours = forest.leaves(rows).T
    theirs = np.asarray(booster.predict(rows, pred_leaf=True))
    for tree in range(7):
        pairs = set(zip(ours[:, tree].tolist(), theirs[:, tree].tolist(), strict=True))
        assert len({own for own, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)


def test_the_law_of_each_lane_is_found(fitted: HazardModel) -> None:
    judged, is_far = at_handover(learn_from(2000, days=60, seed=1)[0])
    curves = fitted.predict_curves(judged.features)
    for chance, rows in ((1 / 2, ~is_far), (1 / 6, is_far)):
        for days in (1, 2, 4, 8):
            # Handed over at noon; every day's arrivals are in by 6 in the evening.
            truth = 1 - 0.02 - 0.98 * (1 - chance) ** days
            assert curves.cdf_at(days * 24.0 + 8.0)[rows].mean() == pytest.approx(truth, abs=0.05)


def test_a_network_that_is_cut_off_looks_no_faster_than_it_is() -> None:
    # Half of the far parcels are still on their way when learning stops.
    lessons = learn_from(2500, days=14, known_through_days=14)[1]
    judged, is_far = at_handover(learn_from(1000, days=60, seed=1)[0])
    truth = 1 - 0.02 - 0.98 * (5 / 6) ** 6
    kept, dropped = (
        HazardModel(**SMALL, keeps_censored=keeps).fit(lessons).predict_curves(judged.features).cdf_at(6 * 24.0 + 8.0)[is_far].mean() for keeps in (True, False)
    )
    assert kept == pytest.approx(truth, abs=0.06)
    assert dropped > truth + 0.08


def test_no_parcel_is_expected_in_the_dead_of_night(fitted: HazardModel) -> None:
    judged, _ = at_handover(learn_from(200, days=60, seed=1)[0])
    curves = fitted.predict_curves(judged.features.take(np.arange(20)))
    # Handed over at noon in UTC, 1 or 2 in the afternoon in Vienna: 12 to 24 hours later is night and morning.
    night, afternoon = curves.cdf_at(24.0) - curves.cdf_at(12.0), curves.cdf_at(32.0) - curves.cdf_at(24.0)
    assert (night < 0.1 * afternoon).all()


def test_what_was_learned_survives_as_plain_arrays(fitted: HazardModel, lessons: Examples) -> None:
    restored = HazardModel(**fitted.get_params()).restore(fitted.to_arrays())
    assert curves_of(restored, lessons.features.take(np.arange(200))) == curves_of(fitted, lessons.features.take(np.arange(200)))


def test_the_same_data_give_the_same_bytes(fitted: HazardModel, lessons: Examples) -> None:
    again = HazardModel(**SMALL).fit(lessons).to_arrays()
    assert {name: values.tobytes() for name, values in again.items()} == {name: values.tobytes() for name, values in fitted.to_arrays().items()}


def test_one_parcel_gets_the_answer_it_gets_in_a_batch(fitted: HazardModel, lessons: Examples) -> None:
    rows = np.arange(0, len(lessons), 97)
    batch = fitted.predict_curves(lessons.features.take(rows))
    for place, row in enumerate(rows[::7]):
        one = fitted.predict_curves(lessons.features.take(np.array([row])))
        assert one.knots()[1].tobytes() == batch.take(np.array([7 * place])).knots()[1].tobytes()


def test_what_nobody_has_seen_still_gets_a_law(fitted: HazardModel) -> None:
    shipments, events = parcels(5)
    odd = shipments.assign(carrier="never heard of", destination_country="JP", destination_region=None, weight_kg=np.nan, promised_on=None)
    timelines = Timelines.from_frames(odd[["shipment_id", "order_id", "origin_country", "destination_country", "carrier"]], events)
    seen = features(timelines, Moments.all_at(timelines, to_instant(START + timedelta(days=121))))
    never = fitted.predict_curves(seen).never
    assert ((never > 0) & (never < 1)).all()


def test_a_model_of_promises_does_not_see_the_promise(fitted: HazardModel, lessons: Examples) -> None:
    seen = lessons.features.take(np.arange(100))
    other = Features(seen.labels, {**seen.numbers, PROMISE_COLUMN: seen.numbers[PROMISE_COLUMN] + 9.0}, seen.local_as_of, seen.calendar)
    assert curves_of(fitted, other) == curves_of(fitted, seen)
    sees = HazardModel(**SMALL, uses_promise=True).fit(lessons)
    assert curves_of(sees, other) != curves_of(sees, seen)


MODELS = (HazardModel, PromiseBaseline, HistoryBaseline, PromiseRatioBaseline, SurvivalBaseline)


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_is_one_of_scikit_learn(kind: type[ArrivalModel], lessons: Examples) -> None:
    model = kind()
    assert isinstance(model, ArrivalModel)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFitted):
        model.predict_curves(lessons.features)
    with pytest.raises(NothingToLearn):
        model.fit(lessons.take(np.flatnonzero(~lessons.arrived)))


@pytest.mark.parametrize("kind", MODELS)
def test_no_model_lets_quantiles_cross(kind: type[ArrivalModel], lessons: Examples) -> None:
    curves = kind().fit(lessons).predict_curves(lessons.features.take(np.arange(0, len(lessons), 50)))
    assert isinstance(curves, Curves)
    quantiles = np.array([curves.quantile(level) for level in np.linspace(0.01, 0.9, 30)])
    assert (quantiles >= 0).all()
    assert (quantiles[1:] >= quantiles[:-1]).all()


def test_support_climbs_until_enough_parcels_stand_behind_an_answer(lessons: Examples) -> None:
    support = Support.learn(lessons)
    seen = lessons.take(np.flatnonzero(lessons.kind == PURCHASE)).features
    level, count = support.of(seen)
    assert set(level) <= {"service+lane+weight", "service+lane"}
    assert (count >= ENOUGH).all()
    strangers = {"carrier": Labels.of([None] * len(seen)), "service": Labels.of(["?|?"] * len(seen))}
    nobody = Features({**seen.labels, **strangers}, seen.numbers, seen.local_as_of, seen.calendar)
    level, count = support.of(nobody)
    assert set(level) == {"calendar_only"}
    assert (count == lessons.arrived[lessons.kind == PURCHASE].sum()).all()
    abroad = replace(seen, labels={**seen.labels, "lane": Labels.of(["AT-9>BR-AM"] * len(seen)), "destination": Labels.of(["BR-AM"] * len(seen))})
    assert (support.of(abroad)[1] == 0).all()
    unknown = Labels.of([None] * len(seen))
    from_anywhere = replace(seen, labels={**seen.labels, **strangers, "lane": unknown, "origin": unknown})
    assert (support.of(from_anywhere)[1] == lessons.arrived[lessons.kind == PURCHASE].sum()).all()
