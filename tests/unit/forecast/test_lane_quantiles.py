"""Lane quantiles, the fallback without a model: their fit, their margin and their file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eta.calendars.local_time import DAY, local_dates, to_instant
from eta.domain.errors import ModelCorrupted
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.forecast.baselines.lane_quantiles import (
    FALLBACK_LEVELS,
    LEVELS,
    MARGIN_HOURS,
    MARGIN_SHARE,
    LaneDistribution,
    LaneQuantiles,
)
from eta.forecast.support import LANE
from eta.journey.categories import MISSING, Categorical
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import PURCHASE, evaluation_snapshots, training_snapshots
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from eta.local_dates import dates_at
from eta.model.fallback import FALLBACK_FILE, load_fallback, save_fallback
from eta.model.registry import Registry
from eta.simulation.simulate import simulate
from support.journeys import START
from support.model_app import DAYS, training_data

DATA_THROUGH = START + timedelta(days=100)
VIENNA, GRAZ, LINZ = (Place(country="AT", region=region) for region in ("9", "6", "4"))
EVEN = LaneDistribution(
    parcels=50, reached=0.98, last_days=20.0, days=tuple(10.0 * level for level in LEVELS)
)


def parcel(
    number: int,
    *,
    days: float | None,
    age_days: float = 50.0,
    carrier: str | None = "post",
    origin: Place = VIENNA,
    destination: Place = GRAZ,
    weight_kg: float | None = 1.0,
    postcode: str | None = None,
) -> tuple[Shipment, list[TrackingEvent]]:
    """A parcel ordered so long before ``DATA_THROUGH`` that arrived after so many days, or not."""
    at = DATA_THROUGH - timedelta(days=age_days)
    ends = Place(country=destination.country, region=destination.region, postcode=postcode)
    shipment = Shipment(
        shipment_id=f"s{number:04d}",
        order_id="o",
        origin=origin,
        destination=ends,
        ordered_at=at,
        carrier=carrier,
        service_level="eco",
        weight_kg=weight_kg,
    )
    scans = [(EventCode.ORDER_CREATED, at)] + (
        [(EventCode.DELIVERED, at + timedelta(days=days))] if days is not None else []
    )
    return shipment, [
        TrackingEvent(
            shipment_id=shipment.shipment_id, event_code=code, occurred_at=then, received_at=then
        )
        for code, then in scans
    ]


def timelines_of(parcels: Sequence[tuple[Shipment, list[TrackingEvent]]]) -> Timelines:
    return Timelines.from_records(
        [shipment for shipment, _ in parcels], [scan for _, scans in parcels for scan in scans]
    )


def fit(parcels: Sequence[tuple[Shipment, list[TrackingEvent]]]) -> LaneQuantiles:
    timelines, instant = timelines_of(parcels), to_instant(DATA_THROUGH)
    return LaneQuantiles.fit(
        examples(training_snapshots(timelines, instant), Outcomes.at(timelines, instant))
    )


def open_parcels(
    *parcels: tuple[Shipment, list[TrackingEvent]], after_days: float = 0.0
) -> Features:
    """The features of parcels so many days after their order."""
    timelines = timelines_of(parcels)
    at = [to_instant(scans[0].occurred_at + timedelta(days=after_days)) for _, scans in parcels]
    return features(timelines, AsOfPairs(np.arange(len(parcels)), np.array(at)), PlaceEffects())


def distribution(quantiles: LaneQuantiles, support_level: str = LANE) -> LaneDistribution:
    (only_distribution,) = quantiles.distributions[support_level].values()
    return only_distribution


def test_open_parcels_count_by_how_long_they_have_been_open() -> None:
    arrived = [parcel(number, days=2.0) for number in range(40)]
    median = LEVELS.index(0.5)
    slow = distribution(
        fit(arrived + [parcel(100 + number, days=None, age_days=10.0) for number in range(60)])
    )
    fresh = distribution(
        fit(arrived + [parcel(100 + number, days=None, age_days=1.0) for number in range(60)])
    )
    # Of a hundred, forty came within two days, and of the rest none within ten.
    assert (slow.parcels, slow.reached, slow.last_days) == (40, 0.4, 2.0)
    # The grid has steps of six hours.
    assert 1.75 <= fresh.days[median] <= 2.0
    assert fresh.reached == pytest.approx(40 / 41, abs=1e-6)


def test_lane_with_most_parcels_open_has_no_median() -> None:
    quantiles = fit(
        [
            parcel(
                number, days=2.0 if number < 40 else None, age_days=50.0 if number < 40 else 10.0
            )
            for number in range(100)
        ]
    )
    curves = quantiles.predict_curves(open_parcels(parcel(0, days=None)))
    assert curves.quantile(0.3)[0] < 100.0
    assert curves.quantile(0.5)[0] == np.inf


def test_quantiles_are_from_order_to_arrival_for_any_distribution() -> None:
    days = np.random.default_rng(3).gamma(4.0, 1.0, 2000)
    fitted = distribution(fit([parcel(number, days=taken) for number, taken in enumerate(days)]))
    # Six hours are a step; sampling adds less than a tenth of a day up to the ninth decile.
    assert np.array(fitted.days[:11]) == pytest.approx(np.quantile(days, LEVELS[:11]), abs=0.25)


def test_narrowest_group_with_thirty_parcels_is_used() -> None:
    quantiles = fit(
        [parcel(number, days=2.0) for number in range(30)]
        + [parcel(100 + number, days=6.0, carrier="slow") for number in range(30)]
        + [parcel(200 + number, days=9.0, carrier="rare", destination=LINZ) for number in range(29)]
    )
    lanes = open_parcels(
        parcel(0, days=None),
        parcel(1, days=None, carrier="slow"),
        parcel(2, days=None, carrier="nobody knows it"),
        parcel(3, days=None, carrier=None, weight_kg=None, postcode="1010 / ??"),
        parcel(4, days=None, carrier="rare", destination=LINZ),
        parcel(5, days=None, origin=Place(country="AT")),
        parcel(6, days=None, destination=Place(country="JP")),
    )
    levels, counts = quantiles.lookup(lanes)
    service, lane, countries = FALLBACK_LEVELS
    assert list(zip(levels.tolist(), counts.tolist(), strict=True)) == [
        (service, 30),
        (service, 30),
        (lane, 60),
        (lane, 60),
        (countries, 89),
        (countries, 89),
        (countries, 0),
    ]
    hours = quantiles.predict_curves(lanes).quantile(0.5)
    assert hours[0] < hours[1]
    assert hours[0] <= hours[2] <= hours[1]
    assert np.isinf(hours[-1])
    assert np.isfinite(hours[:-1]).all()


def without_origin(with_origin: Features) -> Features:
    """The features of a source without origins."""
    nowhere = Categorical(np.full(len(with_origin), MISSING, dtype=np.int32), ())
    return replace(
        with_origin, categoricals={**with_origin.categoricals, "origin": nowhere, "lane": nowhere}
    )


def test_unknown_origin_uses_parcels_from_anywhere() -> None:
    quantiles = fit(
        [
            parcel(number, days=2.0, origin=VIENNA if number % 2 else Place(country="DE"))
            for number in range(80)
        ]
    )
    levels, counts = quantiles.lookup(
        without_origin(
            open_parcels(
                parcel(0, days=None), parcel(1, days=None, destination=Place(country="JP"))
            )
        )
    )
    assert list(zip(levels.tolist(), counts.tolist(), strict=True)) == [
        (FALLBACK_LEVELS[-1], 80),
        (FALLBACK_LEVELS[-1], 0),
    ]


def test_parcels_without_a_lane_form_no_lane() -> None:
    timelines = timelines_of(
        [
            parcel(number, days=2.0, destination=GRAZ if number % 2 else Place(country="JP"))
            for number in range(80)
        ]
    )
    instant = to_instant(DATA_THROUGH)
    bought = examples(training_snapshots(timelines, instant), Outcomes.at(timelines, instant))
    quantiles = LaneQuantiles.fit(replace(bought, features=without_origin(bought.features)))
    service, lane, countries = FALLBACK_LEVELS
    assert (
        quantiles.distributions[service],
        quantiles.distributions[lane],
        sorted(quantiles.distributions[countries]),
    ) == (
        {},
        {},
        ["?>AT", "?>JP"],
    )


def test_fallback_is_the_same_alone_and_in_a_batch() -> None:
    quantiles = LaneQuantiles.fit(training_data(600, DAYS)[1])
    _, training_examples = training_data(200, DAYS)
    together = quantiles.predict_curves(training_examples.features)
    for row in range(0, len(training_examples), 37):
        alone = quantiles.predict_curves(training_examples.features.take(np.array([row])))
        assert alone.quantile(0.9)[0] == together.quantile(0.9)[row]


def only(lane_distribution: LaneDistribution) -> LaneQuantiles:
    return LaneQuantiles({LANE: {"AT-9>AT-6": lane_distribution}}, DATA_THROUGH)


def test_margin_is_added_from_the_median_on() -> None:
    curves = only(EVEN).predict_curves(open_parcels(parcel(0, days=None)))
    for level, days in zip(LEVELS, EVEN.days, strict=True):
        hours = days * 24.0
        added = curves.quantile(level)[0] - hours
        assert added == pytest.approx(min(level / 0.5, 1.0) * (MARGIN_SHARE * hours + MARGIN_HOURS))
        assert added > 0.0


def test_in_flight_distribution_is_conditioned_on_being_open() -> None:
    before, after = (
        only(EVEN).predict_curves(open_parcels(parcel(0, days=None), after_days=days))
        for days in (0.0, 6.0)
    )
    gone = before.cdf_at(144.0)[0]
    # 0.5 of those that had not come by then.
    assert after.quantile(0.5)[0] == pytest.approx(
        before.quantile(gone + 0.5 * (1.0 - gone))[0] - 144.0
    )


def test_parcel_older_than_all_arrivals_has_no_quantiles() -> None:
    curves = only(EVEN).predict_curves(open_parcels(parcel(0, days=None), after_days=24.0))
    assert np.isinf(curves.quantile(0.05)[0])


def test_fit_of_no_parcels_has_no_distributions() -> None:
    _, training_examples = training_data(200, DAYS)
    none = training_examples.take(np.array([], dtype=np.int64))
    quantiles = LaneQuantiles.fit(none)
    assert not any(quantiles.distributions.values())
    assert quantiles.lookup(training_examples.features)[1].max() == 0


def test_only_examples_at_purchase_count() -> None:
    _, training_examples = training_data(600, DAYS)
    bought = training_examples.take(np.flatnonzero(training_examples.moment == PURCHASE))
    assert len(bought) < len(training_examples)
    assert (
        LaneQuantiles.fit(bought).distributions
        == LaneQuantiles.fit(training_examples).distributions
    )


def test_margin_keeps_coverage_on_later_simulated_parcels() -> None:
    world = simulate(shipments=6_000)
    timelines = Timelines.from_frames(world.shipments, world.events)
    end = timelines.received_at.max()
    start = end - 16 * 7 * DAY
    quantiles = LaneQuantiles.fit(
        examples(training_snapshots(timelines, start), Outcomes.at(timelines, start))
    )
    bought = examples(
        evaluation_snapshots(timelines, start, start + 8 * 7 * DAY), Outcomes.at(timelines, end)
    )
    bought = bought.take(
        np.flatnonzero((bought.moment == PURCHASE) & (quantiles.lookup(bought.features)[1] > 0))
    )
    assert len(bought) > 500
    zone = timelines.zone.take(bought.row)
    days = dates_at(quantiles.predict_curves(bought.features), (0.1, 0.5, 0.9), bought.as_of, zone)
    arrived_on = local_dates(
        bought.as_of + (bought.duration_hours * 3.6e9).astype("timedelta64[us]"),
        zone.codes,
        zone.names,
    )
    # What never came was late, whatever day was shown.
    by_first, by_median, by_last = (
        (bought.event_observed & (arrived_on <= day)).mean() for day in days.T
    )
    within = (
        bought.event_observed & (arrived_on >= days[:, 0]) & (arrived_on <= days[:, 2])
    ).mean()
    assert (by_median >= 0.6, by_last >= 0.92, within >= 0.85, by_first <= 0.3) == (
        True,
        True,
        True,
        True,
    ), (by_median, by_last, within, by_first)


@pytest.fixture(scope="module")
def training_examples() -> Examples:
    return training_data(600, DAYS)[1]


def test_stored_fallback_round_trip(training_examples: Examples, tmp_path: Path) -> None:
    quantiles, registry = LaneQuantiles.fit(training_examples), Registry(tmp_path / "models")
    assert load_fallback(registry) is None
    save_fallback(registry, quantiles)
    content = (tmp_path / "models" / FALLBACK_FILE).read_bytes()
    read = load_fallback(registry)
    assert read is not None
    assert (read.distributions, read.data_through) == (
        quantiles.distributions,
        quantiles.data_through,
    )
    assert read.predict_curves(training_examples.features).quantile(0.9) == pytest.approx(
        quantiles.predict_curves(training_examples.features).quantile(0.9), rel=0, abs=0
    )
    save_fallback(registry, read)
    assert (tmp_path / "models" / FALLBACK_FILE).read_bytes() == content
    assert registry.names() == []


def test_file_with_any_changed_byte_is_rejected(
    training_examples: Examples, tmp_path: Path
) -> None:
    registry, path = Registry(tmp_path), tmp_path / FALLBACK_FILE
    save_fallback(registry, LaneQuantiles.fit(training_examples))
    sound = path.read_bytes()
    for position in range(0, len(sound), 5):
        changed = bytearray(sound)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ModelCorrupted):
            load_fallback(registry)
    for content in (
        b"",
        sound[: len(sound) // 2],
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"format": 1, "sha256": "", "values": []}',
    ):
        path.write_bytes(content)
        with pytest.raises(ModelCorrupted, match="train again"):
            load_fallback(registry)


def test_later_format_is_rejected_by_name(training_examples: Examples, tmp_path: Path) -> None:
    save_fallback(Registry(tmp_path), LaneQuantiles.fit(training_examples))
    path = tmp_path / FALLBACK_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(ModelCorrupted, match="format 99 is not ours"):
        load_fallback(Registry(tmp_path))


STORED = only(EVEN).to_json()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {**STORED, "levels": [0.5]},
        {**STORED, "data_through": "2026-05-10"},
        {**STORED, "data_through": None},
        {**STORED, "data_through": "0001-01-01T00:00:00+23:59"},
        {**STORED, "data_through": "9999-12-31T23:59:59-23:59"},
        {**STORED, "distributions": {"weather": {}}},
        {**STORED, "distributions": []},
        *(
            {**STORED, "distributions": {LANE: {"AT-9>AT-6": stored}}}
            for stored in (
                [],
                None,
                [50, 0.98, 20.0, *EVEN.days[:-1]],
                [5, 0.98, 20.0, *EVEN.days],
                [50.5, 0.98, 20.0, *EVEN.days],
                [10**30, 0.98, 20.0, *EVEN.days],
                [50, 1.0, 20.0, *EVEN.days],
                [50, 0.98, 1.0, *EVEN.days],
                [50, 0.98, 20.0, *reversed(EVEN.days)],
                [50, 0.98, 20.0, -1.0, *EVEN.days[1:]],
                [50, 0.98, float("nan"), *EVEN.days],
                [50, 0.98, float("inf"), *EVEN.days],
                [50, 0.98, 10**400, *EVEN.days],
                [50, "0.98", 20.0, *EVEN.days],
            )
        ),
    ],
)
def test_invalid_distributions_are_rejected(values: dict[str, Any]) -> None:
    with pytest.raises(ModelCorrupted, match="invalid or of another release"):
        LaneQuantiles.from_json(values)


def test_fallback_imports_no_training_libraries() -> None:
    code = (
        "import sys, eta.forecast.baselines.lane_quantiles; "
        "libraries = {'lightgbm', 'sklearn', 'eta.forecast.hazard.trees'}; "
        "print(sorted(libraries & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"
