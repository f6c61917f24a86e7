"""Simple baselines against their definitions, computed by hand or by numpy for a few parcels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.domain.errors import NotFitted, NoTrainingData
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.forecast.base import ArrivalModel, group_quantiles
from eta.forecast.baselines.simple import (
    HistoryBaseline,
    PromiseBaseline,
    PromiseRatioBaseline,
    SurvivalBaseline,
    promise_hours,
)
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import training_snapshots
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines

#: Midnight in Bahia, which has no daylight saving.
D = datetime(2018, 3, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)
every_model = pytest.mark.parametrize(
    "kind", [PromiseBaseline, HistoryBaseline, PromiseRatioBaseline, SurvivalBaseline]
)


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Ordered ``ordered`` days before D; arrives ``days`` later, if ever."""

    ordered: float = 20.0
    days: float | None = None
    region: str | None = "SP"
    promised_days: int | None = None
    cancelled: float | None = None
    received_late: float = 0.0
    order_received_late: float = 0.0

    def records(self, number: int) -> tuple[Shipment, list[TrackingEvent]]:
        at, name = D - self.ordered * DAY, f"s{number}"
        # The first instant of the promised day is then ``promised_days`` after an order at
        # midnight.
        promised_on: date | None = (
            None
            if self.promised_days is None
            else (at - timedelta(hours=3) + self.promised_days * DAY).date()
        )
        shipment = Shipment(
            shipment_id=name,
            order_id=name,
            ordered_at=at,
            promised_on=promised_on,
            origin=Place(country="BR", region=self.region),
            destination=Place(country="BR", region="BA"),
        )
        scans = [
            (EventCode.ORDER_CREATED, 0.0, self.order_received_late),
            (EventCode.DELIVERED, self.days, self.received_late),
            (EventCode.CANCELLED, self.cancelled, 0.0),
        ]
        return shipment, [
            TrackingEvent(
                shipment_id=name,
                event_code=code,
                occurred_at=at + days * DAY,
                received_at=at + (days + late) * DAY,
            )
            for code, days, late in scans
            if days is not None
        ]


def timelines(parcels: Sequence[Parcel]) -> Timelines:
    shipments, events = zip(
        *(parcel.records(number) for number, parcel in enumerate(parcels)), strict=True
    )
    return Timelines.from_records(
        shipments, [event for parcel_events in events for event in parcel_events]
    )


def history(parcels: Sequence[Parcel]) -> Examples:
    """Training examples of the parcels at D."""
    lines = timelines(parcels)
    return examples(training_snapshots(lines, to_instant(D)), Outcomes.at(lines, to_instant(D)))


def open_parcels(*parcels: Parcel) -> Features:
    """Features at D of parcels on their way."""
    lines = timelines(parcels)
    return features(lines, AsOfPairs.all_at(lines, to_instant(D)), PlaceEffects())


def days_left(
    model: ArrivalModel, parcels: Sequence[Parcel], query: Parcel, level: float = 0.5
) -> float:
    return float(
        model.fit(history(parcels)).predict_curves(open_parcels(query)).quantile([level])[0] / 24
    )


def arrivals(
    days: Sequence[float],
    *,
    ordered: float = 20.0,
    region: str | None = "SP",
    promised_days: int | None = None,
) -> list[Parcel]:
    return [
        Parcel(ordered=ordered, days=value, region=region, promised_days=promised_days)
        for value in days
    ]


def promised(promised_days: int, elapsed: float) -> Features:
    """A parcel ``elapsed`` days after its order at midnight, with a promise."""
    lines = timelines([Parcel(ordered=10.0, promised_days=promised_days)])
    return features(
        lines, AsOfPairs.all_at(lines, to_instant(D - 10 * DAY + elapsed * DAY)), PlaceEffects()
    )


SOME = arrivals([4.0, 6.0, 9.0, 11.0])


@every_model
def test_baseline_satisfies_the_model_protocol(kind: type[ArrivalModel]) -> None:
    assert isinstance(kind(), ArrivalModel)
    assert kind.refits_daily


@every_model
def test_unfitted_baseline_raises_not_fitted(kind: type[ArrivalModel]) -> None:
    with pytest.raises(NotFitted):
        kind().predict_curves(open_parcels(Parcel()))


@every_model
@pytest.mark.parametrize(
    "parcels",
    [
        [Parcel()],
        [Parcel(cancelled=2.0)],
        [Parcel(days=25.0)],
        [Parcel(days=19.0, received_late=2.0)],
        [Parcel(ordered=-1.0, days=3.0)],
    ],
    ids=["open", "cancelled", "arrives later", "arrival received later", "ordered later"],
)
def test_fit_without_received_arrivals_raises_no_training_data(
    kind: type[ArrivalModel], parcels: list[Parcel]
) -> None:
    with pytest.raises(NoTrainingData):
        kind().fit(history(parcels))


@pytest.mark.parametrize(
    ("elapsed", "left"), [(0.0, 10.0), (3.0, 7.0), (9.4, 0.6), (9.6, 0.5), (30.0, 0.5)]
)
def test_b0_is_start_of_promised_day_and_at_least_half_a_day(elapsed: float, left: float) -> None:
    # The promise counts from midnight of the day of the order, here an order at midnight.
    curve = PromiseBaseline().fit(history(SOME)).predict_curves(promised(10, elapsed))
    assert curve.quantile([0.05]) == pytest.approx(curve.quantile([0.95]))
    assert curve.quantile([0.5]) / 24 == pytest.approx([left])


@pytest.mark.parametrize(("elapsed", "left"), [(0.0, 7.5), (2.0, 5.5), (7.2, 0.5)])
def test_b0_without_promise_is_the_overall_median(elapsed: float, left: float) -> None:
    # The median of 4, 6, 9 and 11 is 7.5; the parcel still open does not count.
    assert days_left(
        PromiseBaseline(), [*SOME, Parcel()], Parcel(ordered=elapsed)
    ) == pytest.approx(left)


@pytest.mark.parametrize("level", [0.05, 0.25, 0.5, 0.9])
def test_b1_is_the_distribution_of_all_arrivals_by_the_day(level: float) -> None:
    others = [
        Parcel(days=21.0),
        Parcel(days=19.0, received_late=5.0),
        Parcel(cancelled=1.0),
        Parcel(),
    ]
    assert days_left(
        HistoryBaseline(), [*SOME, *others], Parcel(ordered=0.0), level
    ) == pytest.approx(np.quantile([4, 6, 9, 11], level))


@pytest.mark.parametrize(
    ("elapsed", "level", "left"),
    [(2.0, 0.5, 5.5), (5.0, 0.1, 0.5), (7.1, 0.5, 0.5), (50.0, 0.99, 0.5)],
)
def test_b1_in_flight_subtracts_elapsed_time_down_to_half_a_day(
    elapsed: float, level: float, left: float
) -> None:
    assert days_left(HistoryBaseline(), SOME, Parcel(ordered=elapsed), level) == pytest.approx(left)


NEAR, FAR = [2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 12.0, 14.0, 16.0]


@pytest.mark.parametrize(
    ("region", "quantiles"),
    [("SP", NEAR), ("AM", NEAR + FAR), ("RJ", NEAR + FAR), (None, NEAR + FAR)],
    ids=["enough of its own", "one too few", "a lane never seen", "no lane"],
)
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_b1_by_lane_uses_all_parcels_for_lanes_with_too_few(
    region: str | None, quantiles: list[float], level: float
) -> None:
    parcels = [*arrivals(NEAR), *arrivals(FAR, region="AM")]
    model = HistoryBaseline(by_lane=True)
    assert days_left(model, parcels, Parcel(ordered=0.0, region=region), level) == pytest.approx(
        np.quantile(quantiles, level)
    )


def test_b1_by_lane_uses_the_lane_of_each_parcel_in_a_batch() -> None:
    model = HistoryBaseline(by_lane=True, at_least=1).fit(
        history([*arrivals(NEAR), *arrivals(FAR, region="AM")])
    )
    batch = open_parcels(*(Parcel(ordered=0.0, region=region) for region in ("AM", "SP", "AM")))
    assert model.predict_curves(batch).quantile(0.5) / 24 == pytest.approx([13.0, 4.0, 13.0])


def test_b2_is_the_distribution_of_arrivals_of_the_last_two_weeks() -> None:
    # Arrived 13.9, 5 and 14.1 days ago.
    parcels = [*arrivals([6.1, 15.0]), *arrivals([5.9])]
    for level in (0.1, 0.5, 0.9):
        assert days_left(
            HistoryBaseline(last_days=14.0), parcels, Parcel(ordered=0.0), level
        ) == pytest.approx(np.quantile([6.1, 15.0], level))


def test_b2_uses_all_arrivals_without_recent_ones() -> None:
    assert days_left(
        HistoryBaseline(last_days=14.0), arrivals([2.0, 4.0]), Parcel(ordered=0.0)
    ) == pytest.approx(3.0)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("region", "lane_days"), [("SP", [8.0, 10.0, 12.0]), ("AM", [19.0]), ("RJ", [])]
)
def test_b2_shrinks_lane_quantiles_to_those_of_all(
    region: str, lane_days: list[float], level: float
) -> None:
    # Those of 1 and 2 days arrived over two weeks ago, in a lane of many and in a lane of its own.
    parcels = [
        *arrivals([1.0, 8.0, 10.0, 12.0]),
        *arrivals([19.0], region="AM"),
        *arrivals([2.0], region="RJ"),
    ]
    model = HistoryBaseline(by_lane=True, last_days=14.0, shrinkage=20.0, at_least=1)
    overall = np.quantile([8, 10, 12, 19], level)
    expected = (len(lane_days) * np.quantile(lane_days or [0.0], level) + 20 * overall) / (
        len(lane_days) + 20
    )
    assert days_left(model, parcels, Parcel(ordered=0.0, region=region), level) == pytest.approx(
        expected
    )


#: Ratios 0.2 to 1 in the bucket of 14 to 20 days; 0.1 to 0.4 in that of 26 to 32, one too few.
SHORT, LONG = [3.0, 6.0, 9.0, 12.0, 15.0], [3.0, 6.0, 9.0, 12.0]
PROMISED = [*arrivals(SHORT, promised_days=15), *arrivals(LONG, promised_days=30)]
RATIOS = [0.2, 0.4, 0.6, 0.8, 1.0]
ALL_RATIOS = [*RATIOS, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("window", "ratios"),
    [
        (14, RATIOS),
        (18, RATIOS),
        (13, ALL_RATIOS),
        (20, ALL_RATIOS),
        (28, ALL_RATIOS),
        (40, ALL_RATIOS),
    ],
    ids=[
        "at the edge of the bucket",
        "in the bucket",
        "short of it",
        "past it",
        "in a bucket of too few",
        "in an empty bucket",
    ],
)
def test_b3_is_promise_times_ratio_distribution_of_its_bucket(
    window: int, ratios: list[float], level: float
) -> None:
    query = Parcel(ordered=0.0, promised_days=window)
    assert days_left(PromiseRatioBaseline(), PROMISED, query, level) == pytest.approx(
        window * np.quantile(ratios, level)
    )


@pytest.mark.parametrize(("elapsed", "left"), [(4.0, 18 * 0.6 - 4), (10.5, 0.5), (40.0, 0.5)])
def test_b3_in_flight_subtracts_elapsed_time_down_to_half_a_day(
    elapsed: float, left: float
) -> None:
    model = PromiseRatioBaseline().fit(history(PROMISED))
    assert model.predict_curves(promised(18, elapsed)).quantile([0.5]) / 24 == pytest.approx([left])


def test_b3_uses_arrivals_of_the_last_four_weeks() -> None:
    # Five arrived 27.9 days ago at half of their promise, five 28.1 days ago at all of it.
    recent, old = (
        arrivals([7.5] * 5, ordered=35.4, promised_days=15),
        arrivals([15.0] * 5, ordered=43.1, promised_days=15),
    )
    # Orders off midnight make the window from order to promised midnight 14.4 and 14.1 days.
    assert days_left(
        PromiseRatioBaseline(), [*recent, *old], Parcel(ordered=0.0, promised_days=16)
    ) == pytest.approx(16 * 7.5 / 14.4)


@pytest.mark.parametrize(
    "parcels", [PROMISED, arrivals(SHORT)], ids=["others have one", "nobody has one"]
)
def test_b3_without_promise_is_the_distribution_of_all(parcels: list[Parcel]) -> None:
    expected = np.quantile(SHORT + LONG if parcels is PROMISED else SHORT, 0.3)
    assert days_left(PromiseRatioBaseline(), parcels, Parcel(ordered=0.0), 0.3) == pytest.approx(
        expected
    )


def test_b3_is_the_distribution_of_all_if_nobody_had_a_promise() -> None:
    assert days_left(
        PromiseRatioBaseline(), arrivals(SHORT), Parcel(ordered=0.0, promised_days=18)
    ) == pytest.approx(9.0)


#: After 2 days 3 of 4 are open; after 3 one more is lost from sight; after 4 one of 2 arrives,
#: after 6 the last.
ONE_OPEN_FOR_3_DAYS = [*arrivals([2.0, 4.0, 6.0]), Parcel(ordered=3.0)]


def share_arrived(
    model: SurvivalBaseline, parcels: Sequence[Parcel], query: Parcel, days: float
) -> float:
    return float(
        model.fit(history(parcels)).predict_curves(open_parcels(query)).cdf_at(days * 24)[0]
    )


@pytest.mark.parametrize(
    ("days", "share"),
    [(1.5, 0.0), (2.0, 1 / 4), (3.5, 1 / 4), (4.0, 5 / 8), (5.5, 5 / 8), (6.0, 1.0)],
)
def test_b4_is_the_kaplan_meier_distribution_of_the_lane(days: float, share: float) -> None:
    assert share_arrived(
        SurvivalBaseline(at_least=4), ONE_OPEN_FOR_3_DAYS, Parcel(ordered=0.0), days
    ) == pytest.approx(share)


@pytest.mark.parametrize(
    ("days", "share"), [(2.0, 1 / 4), (4.0, 2 / 4), (6.0, 3 / 4), (15.0, 3 / 4)]
)
def test_b4_treats_abandoned_parcels_as_never_arriving(days: float, share: float) -> None:
    parcels = [*arrivals([2.0, 4.0, 6.0]), Parcel(cancelled=3.0)]
    assert share_arrived(
        SurvivalBaseline(at_least=4), parcels, Parcel(ordered=0.0), days
    ) == pytest.approx(share)


@pytest.mark.parametrize(
    ("elapsed", "days", "share"),
    [(3.0, 1.0, 1 / 2), (2.0, 2.0, 1 / 2), (3.0, 3.0, 1.0), (4.0, 1.0, 0.0), (5.0, 1.0, 1.0)],
)
def test_b4_in_flight_is_conditioned_on_being_open(
    elapsed: float, days: float, share: float
) -> None:
    # S(e + u) / S(e): a parcel open for 3 days is one of 2 that arrive after 4 and 6.
    assert share_arrived(
        SurvivalBaseline(at_least=4), ONE_OPEN_FOR_3_DAYS, Parcel(ordered=elapsed), days
    ) == pytest.approx(share)


@pytest.mark.parametrize(
    ("region", "share"), [("SP", 1 / 4), ("AM", 1 / 6), ("RJ", 1 / 6), (None, 1 / 6)]
)
def test_b4_uses_all_parcels_for_lanes_with_too_few(region: str | None, share: float) -> None:
    parcels = [*ONE_OPEN_FOR_3_DAYS, *arrivals([9.0, 9.0], region="AM")]
    assert share_arrived(
        SurvivalBaseline(at_least=4), parcels, Parcel(ordered=0.0, region=region), 2.0
    ) == pytest.approx(share)


def test_baselines_use_one_example_a_parcel() -> None:
    # A silent parcel has many snapshots; it must count as one parcel.
    training_examples = history([*arrivals([18.0]), *arrivals([2.0] * 3)])
    assert len(training_examples) > 4
    assert HistoryBaseline().fit(training_examples).predict_curves(
        open_parcels(Parcel(ordered=0.0))
    ).quantile([0.5]) / 24 == pytest.approx([2.0])


@every_model
def test_second_fit_replaces_the_first(kind: type[ArrivalModel]) -> None:
    def answer(curves: Curves) -> list[float]:
        return [float(curves.quantile([level])[0]) for level in (0.1, 0.5, 0.9)]

    model, query = kind(), open_parcels(Parcel(ordered=1.0))
    once = answer(model.fit(history(SOME)).predict_curves(query))
    assert answer(model.fit(history(arrivals([15.0, 17.0]))).predict_curves(query)) != once
    assert answer(model.fit(history(SOME)).predict_curves(query)) == once


def test_group_quantiles_equal_numpy_and_are_nan_for_empty_groups() -> None:
    rng = np.random.default_rng(3)
    values, groups, levels = (
        rng.exponential(50.0, 80),
        rng.choice([0, 1, 3], 80),
        np.linspace(0, 1, 23),
    )
    result = group_quantiles(values, groups, 5, levels)
    assert np.isnan(result[[2, 4]]).all()
    for group in (0, 1, 3):
        assert result[group] == pytest.approx(np.quantile(values[groups == group], levels))


def test_time_counts_from_the_order_even_if_received_late() -> None:
    late = Parcel(ordered=20.0, days=6.0, order_received_late=2.0)
    assert days_left(HistoryBaseline(), [late], Parcel(ordered=1.0)) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("ordered_at", "promised_on", "hours"),
    [("2017-10-10T03:00Z", "2017-10-15", 120.0), ("2018-02-08T02:00Z", "2018-02-17", 216.0)],
)
def test_promise_counts_to_start_of_days_of_23_or_25_hours(
    ordered_at: str, promised_on: str, hours: float
) -> None:
    at, place = datetime.fromisoformat(ordered_at), Place(country="BR", region="SP")
    shipment = Shipment(
        shipment_id="s",
        order_id="o",
        ordered_at=at,
        promised_on=date.fromisoformat(promised_on),
        origin=place,
        destination=place,
    )
    order = TrackingEvent(
        shipment_id="s", event_code=EventCode.ORDER_CREATED, occurred_at=at, received_at=at
    )
    lines = Timelines.from_records([shipment], [order])
    assert promise_hours(
        features(lines, AsOfPairs.all_at(lines, to_instant(at)), PlaceEffects())
    ) == pytest.approx([hours])


@pytest.mark.parametrize(
    "kind", [PromiseBaseline, HistoryBaseline, PromiseRatioBaseline, SurvivalBaseline]
)
def test_empty_batch_gives_empty_curves(kind: type[ArrivalModel]) -> None:
    curves = kind().fit(history(SOME)).predict_curves(open_parcels(Parcel()).take(np.arange(0)))
    assert len(curves) == len(curves.quantile(0.5)) == 0
