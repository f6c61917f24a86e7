"""Boosted baselines: valid curves, reproducible, and better than one distribution for all."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from eta import bootstrap
from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.domain.errors import NotFitted, NoTrainingData
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.evaluation.metrics import crps_days
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines.boosted import (
    QUANTILE_LEVELS,
    BoostedMedianBaseline,
    BoostedQuantilesBaseline,
)
from eta.forecast.baselines.simple import HistoryBaseline
from eta.forecast.design_matrix import Design
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import NUMBER_COLUMNS, PROMISE_COLUMN, ROUTE_COLUMNS
from eta.journey.snapshots import PURCHASE, training_snapshots
from eta.journey.timelines import Timelines

START, DAYS = datetime(2025, 1, 1, 9, tzinfo=UTC), 150
END = START + timedelta(days=DAYS)
MakeModel = Callable[[], BoostedMedianBaseline | BoostedQuantilesBaseline]
every_model = pytest.mark.parametrize(
    "make",
    [lambda: BoostedMedianBaseline(trees=40), lambda: BoostedQuantilesBaseline(trees=40)],
    ids=["B5", "B6"],
)


def synthetic(count: int = 900, seed: int = 5) -> Timelines:
    """Parcels of two carriers, with noise; one in fifty never arrives.

    They take 3 or 9 days and a day more for each 10 kg.
    """
    rng = np.random.default_rng(seed)
    shipments, scans = [], []
    for number in range(count):
        at = START + timedelta(days=DAYS * number / count)
        carrier, weight = ("swift", "slow")[rng.integers(2)], float(rng.uniform(0, 20))
        days = ({"swift": 3.0, "slow": 9.0}[carrier] + weight / 10) * rng.lognormal(0.0, 0.15)
        name, place = f"s{number}", Place(country="AT", region="9")
        shipments.append(
            Shipment(
                shipment_id=name,
                order_id=name,
                ordered_at=at,
                carrier=carrier,
                weight_kg=weight,
                promised_on=(at + timedelta(days=12)).date(),
                origin=place,
                destination=place,
            )
        )
        happened = {
            EventCode.ORDER_CREATED: 0.0,
            EventCode.ACCEPTED: days / 3,
            EventCode.DELIVERED: np.inf if rng.random() < 0.02 else days,
        }
        for code, after in happened.items():
            if np.isfinite(after):
                moment = at + timedelta(days=after)
                scans.append(
                    TrackingEvent(
                        shipment_id=name, event_code=code, occurred_at=moment, received_at=moment
                    )
                )
    return Timelines.from_records(shipments, scans)


@pytest.fixture(scope="module")
def lines() -> Timelines:
    return synthetic()


@pytest.fixture(scope="module")
def training_examples(lines: Timelines) -> Examples:
    return examples_as_of(lines, DAYS)


def examples_as_of(lines: Timelines, days: float) -> Examples:
    """Training examples so many days after the start."""
    moment = to_instant(START + timedelta(days=days))
    return examples(training_snapshots(lines, moment), Outcomes.at(lines, moment))


def event_observed(lines: Timelines, first: float, last: float) -> Examples:
    """Examples between two days, delivered by the end."""
    history = examples_as_of(lines, DAYS)
    in_period = (history.as_of >= to_instant(START + timedelta(days=first))) & (
        history.as_of < to_instant(START + timedelta(days=last))
    )
    return history.take(np.flatnonzero(in_period & history.event_observed))


def quantiles(curves: Curves) -> NDArray[np.float64]:
    return np.column_stack([curves.quantile(level) for level in QUANTILE_LEVELS])


@every_model
def test_boosted_satisfies_the_protocol_and_is_not_refitted_daily(make: MakeModel) -> None:
    assert isinstance(make(), ArrivalModel)
    assert not make().refits_daily


def test_boosted_baselines_run_only_if_named() -> None:
    assert {"B5", "B6"} <= set(bootstrap.models({}))
    assert not {"B5", "B6"} & set(bootstrap.DEFAULT_MODELS)


@every_model
def test_unfitted_boosted_raises_not_fitted(make: MakeModel, training_examples: Examples) -> None:
    with pytest.raises(NotFitted):
        make().predict_curves(training_examples.features)


@every_model
def test_boosted_fit_without_purchase_arrivals_raises_no_training_data(
    make: MakeModel, training_examples: Examples
) -> None:
    for rows in (
        ~training_examples.event_observed,
        training_examples.moment != PURCHASE,
        np.zeros(len(training_examples), dtype=bool),
    ):
        with pytest.raises(NoTrainingData):
            make().fit(training_examples.take(np.flatnonzero(rows)))


@every_model
def test_quantiles_do_not_cross_and_are_not_negative(
    make: MakeModel, training_examples: Examples
) -> None:
    hours = quantiles(make().fit(training_examples).predict_curves(training_examples.features))
    assert (np.diff(hours, axis=1) >= 0).all()
    assert (hours >= 0).all()
    assert np.isfinite(hours).all()


@every_model
def test_same_examples_give_the_same_curves_to_the_bit(
    make: MakeModel, training_examples: Examples
) -> None:
    once, again = (
        make().fit(training_examples).predict_curves(training_examples.features) for _ in range(2)
    )
    assert np.array_equal(once.hours, again.hours)
    assert np.array_equal(once.cdf, again.cdf)


@every_model
def test_row_is_the_same_alone_and_in_a_batch(make: MakeModel, training_examples: Examples) -> None:
    model = make().fit(training_examples)
    together = quantiles(model.predict_curves(training_examples.features))
    for row in (0, 7, 100):
        assert np.array_equal(
            quantiles(model.predict_curves(training_examples.features.take(np.array([row])))),
            together[[row]],
        )


@every_model
def test_fit_and_predict_use_one_thread(
    make: MakeModel, training_examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[object] = []
    train, predict = lightgbm.train, lightgbm.Booster.predict

    def counting_train(parameters: dict[str, Any], *given: Any, **named: Any) -> Any:
        threads.append(parameters["num_threads"])
        return train(parameters, *given, **named)

    def counting_predict(self: lightgbm.Booster, *given: Any, **named: Any) -> Any:
        threads.append(named["num_threads"])
        return predict(self, *given, **named)

    monkeypatch.setattr(lightgbm, "train", counting_train)
    monkeypatch.setattr(lightgbm.Booster, "predict", counting_predict)
    make().fit(training_examples).predict_curves(training_examples.features)
    assert threads
    assert set(threads) == {1}


@every_model
@pytest.mark.parametrize("moment", ["purchase", "on the way"])
def test_boosted_is_far_better_than_one_distribution_for_all(
    make: MakeModel, moment: str, lines: Timelines
) -> None:
    then, evaluated = examples_as_of(lines, 110), event_observed(lines, 110, 135)
    evaluated = evaluated.take(
        np.flatnonzero((evaluated.moment == PURCHASE) == (moment == "purchase"))
    )
    boosted, constant = (
        crps_days(
            model.fit(then).predict_curves(evaluated.features), evaluated.duration_hours
        ).mean()
        for model in (make(), HistoryBaseline())
    )
    assert boosted < 0.6 * constant


@every_model
def test_boosted_ignores_the_promise(make: MakeModel, training_examples: Examples) -> None:
    assert PROMISE_COLUMN not in NUMBER_COLUMNS
    without = training_examples.take(np.arange(len(training_examples)))
    without.features.numbers[PROMISE_COLUMN] = np.full(len(training_examples), np.nan)
    first, second = (
        quantiles(make().fit(sample).predict_curves(sample.features))
        for sample in (training_examples, without)
    )
    assert np.array_equal(first, second)


@every_model
def test_empty_batch_gives_empty_curves(make: MakeModel, training_examples: Examples) -> None:
    curves = (
        make().fit(training_examples).predict_curves(training_examples.features.take(np.arange(0)))
    )
    assert len(curves) == len(curves.quantile(0.5)) == 0


@every_model
def test_single_arrival_is_enough(make: MakeModel, training_examples: Examples) -> None:
    one = training_examples.take(
        np.flatnonzero(training_examples.event_observed & (training_examples.moment == PURCHASE))[
            :1
        ]
    )
    assert make().fit(one).predict_curves(one.features).quantile(0.5) == pytest.approx(
        one.duration_hours, rel=0.05
    )


def test_b5_errors_are_those_of_days_after_the_training_data(lines: Timelines) -> None:
    # From day 75 on everything takes three times as long. A booster fitted 75 days before the end
    # has only the first half; the distribution must show its errors on days 75 to 120, not the
    # small in-sample ones.
    training_examples = examples_as_of(lines, DAYS)
    slow = training_examples.as_of >= to_instant(
        START + timedelta(days=DAYS - BoostedMedianBaseline.JUDGED_DAYS[0])
    )
    training_examples.duration_hours[slow] *= 3.0
    model = BoostedMedianBaseline(trees=40).fit(training_examples)
    assert np.median(model.errors_[:, 100]) > 3.0


def test_b6_ends_at_the_longest_training_time(training_examples: Examples) -> None:
    curves = (
        BoostedQuantilesBaseline(trees=40)
        .fit(training_examples)
        .predict_curves(training_examples.features)
    )
    assert curves.quantile(1.0) == pytest.approx(
        training_examples.duration_hours[training_examples.event_observed].max()
    )


def test_categories_are_encoded_out_of_fold_only_in_training(
    training_examples: Examples,
) -> None:
    design, rows = Design.fit(training_examples, 20.0)
    matrix = design.rows(training_examples.features)
    numbers = len(NUMBER_COLUMNS)
    assert rows.shape == matrix.shape == (len(training_examples), numbers + len(ROUTE_COLUMNS))
    assert np.array_equal(rows[:, :numbers], matrix[:, :numbers], equal_nan=True)
    assert len(np.unique(matrix[:, numbers])) == 2
    assert len(np.unique(rows[:, numbers])) == 2 * 5
