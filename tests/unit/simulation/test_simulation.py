"""The simulated network has the shares of its scenario, and both of its curves are calibrated."""

from __future__ import annotations

import hashlib
import json
from math import lgamma, log
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eta.calendars.local_time import hours_between, local_dates
from eta.calendars.zones import zone_of
from eta.curves import Curves
from eta.domain.errors import InvalidValue
from eta.domain.vocabulary import ARRIVAL_CODES, EventCode
from eta.evaluation.metrics import crps_days
from eta.journey.categories import Categorical
from eta.journey.snapshots import IN_FLIGHT, PURCHASE, evaluation_snapshots
from eta.journey.timeline_builders import CORRECTION, EVENT_COLUMNS, SHIPMENT_COLUMNS
from eta.journey.timelines import Timelines
from eta.simulation.network import CARRIERS, CITIES
from eta.simulation.scenario import DEFAULT, Scenario
from eta.simulation.simulate import Simulated, simulate
from eta.simulation.stages import ARRIVAL, FIRST_OF_CARRIER, NAMES, STAGES
from eta.simulation.truth import (
    EVENTS_FILE,
    SCENARIO_FILE,
    SHIPMENTS_FILE,
    Truth,
    parquet,
    weighted_curves,
)

pytestmark = pytest.mark.xdist_group("simulation")

PARCELS = 12_000
#: Changes with the default scenario, and with nothing else: then give the scenario a new version.
GOLDEN = "bcc8b9f08e943f6a68242972c06e09ee1c51c4266febb01f0e0f02b722bb2c3a"
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
#: Bands hold for a whole family of checks at once with this probability.
FAMILY_WISE = 0.99


@pytest.fixture(scope="module")
def world() -> Simulated:
    return simulate(shipments=PARCELS)


@pytest.fixture(scope="module")
def truth(world: Simulated) -> Truth:
    return world.truth


def instants(times: pd.Series) -> NDArray[np.datetime64]:
    return times.dt.tz_localize(None).to_numpy().astype("datetime64[us]")


def hours(start: pd.Series, end: pd.Series) -> NDArray[np.float64]:
    return hours_between(instants(start), instants(end))


def purchases(world: Simulated, count: int) -> tuple[NDArray[np.int64], NDArray[np.datetime64]]:
    rows = np.random.default_rng(1).choice(PARCELS, count, replace=False)
    return rows, instants(world.shipments["ordered_at"])[rows]


def in_flight(world: Simulated, count: int) -> tuple[NDArray[np.int64], NDArray[np.datetime64]]:
    """Moments at which a parcel had truly not arrived, chosen independently of its events."""
    random = np.random.default_rng(2)
    as_of = np.datetime64("2025-01-10", "us") + (
        random.random(150 * count) * 340 * 24 * 3600
    ).astype("timedelta64[s]")
    rows = random.integers(0, PARCELS, len(as_of))
    since = (as_of - instants(world.shipments["ordered_at"])[rows]) / np.timedelta64(1, "h")
    selected = np.flatnonzero((since > 0) & (since < 30 * 24))
    selected = selected[world.truth.hours_left(rows[selected], as_of[selected]) > 0][:count]
    return rows[selected], as_of[selected]


def still_waited_for(
    world: Simulated, count: int
) -> tuple[NDArray[np.int64], NDArray[np.datetime64]]:
    """Moments without a received event that ends the wait, of parcels with the right number."""
    random = np.random.default_rng(3)
    events = world.events[
        world.events["event_code"].isin(
            [*map(str, ARRIVAL_CODES), "lost", "cancelled", "return_started"]
        )
    ]
    ended = (
        events.groupby("shipment_id")["received_at"].min().reindex(world.shipments["shipment_id"])
    )
    over_at = np.where(
        ended.isna(), np.datetime64("2100-01-01", "us"), instants(ended.reset_index(drop=True))
    )
    as_of = np.datetime64("2025-01-10", "us") + (
        random.random(150 * count) * 340 * 24 * 3600
    ).astype("timedelta64[s]")
    rows = random.integers(0, PARCELS, len(as_of))
    since = (as_of - instants(world.shipments["ordered_at"])[rows]) / np.timedelta64(1, "h")
    has_correct_number = world.truth.journeys["wrong_number"].ne("foreign").to_numpy()[rows]
    selected = np.flatnonzero(
        (since > 0) & (since < 30 * 24) & (over_at[rows] > as_of) & has_correct_number
    )[:count]
    return rows[selected], as_of[selected]


def transforms(curves: Curves, left: NDArray[np.float64]) -> NDArray[np.float64]:
    """F(T), (N,), spread evenly over jumps: at 0 hours, and over what never arrives."""
    random = np.random.default_rng(4).random(len(left))
    reached = curves.cdf_at(np.where(np.isfinite(left), left, 0.0))
    result = np.where(left > 0, reached, reached * random)
    return np.where(np.isfinite(left), result, 1.0 - random * curves.tail_mass)


def binomial_band(n: int, p: float, outside: float) -> tuple[int, int]:
    """The narrowest counts that an exact binomial leaves on either side with ``outside`` / 2."""
    terms = [
        lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1 - p)
        for k in range(n + 1)
    ]
    cdf = np.cumsum(np.exp(terms))
    return int(np.searchsorted(cdf, outside / 2)), int(np.searchsorted(cdf, 1 - outside / 2))


def outside_band(values: NDArray[np.float64], checks: int) -> list[str]:
    """Levels with a share of values below outside the binomial band of ``checks`` samples."""
    wrong = []
    for level in LEVELS:
        low, high = binomial_band(len(values), level, (1 - FAMILY_WISE) / (checks * len(LEVELS)))
        count = int((values <= level).sum())
        if not low <= count <= high:
            wrong.append(f"{level:g}: {count} of {len(values)}, not {low} to {high}")
    return wrong


def digest(*frames: pd.DataFrame) -> str:
    return hashlib.sha256(
        "".join(frame.to_csv(index=False, lineterminator="\n") for frame in frames).encode()
    ).hexdigest()


def test_a_seed_determines_every_byte() -> None:
    first, again, other = (
        simulate(shipments=300),
        simulate(shipments=300),
        simulate(shipments=300, seed=1),
    )
    for frame in ("shipments", "events"):
        assert parquet(getattr(first, frame)) == parquet(getattr(again, frame))
        assert parquet(getattr(first, frame)) != parquet(getattr(other, frame))
    assert first.truth.files() == again.truth.files()


def test_the_default_scenario_is_frozen() -> None:
    small = simulate(shipments=200)
    assert DEFAULT.version == "2026.1"
    assert digest(small.shipments, small.events) == GOLDEN, (
        "the default scenario has changed: give it a new version, and this test its new digest"
    )


def test_a_scenario_survives_its_file_and_rejects_an_invalid_share() -> None:
    assert Scenario.from_json(json.loads(json.dumps(DEFAULT.to_json()))) == DEFAULT
    with pytest.raises(InvalidValue, match="misrouted"):
        Scenario(misrouted=1.5)
    with pytest.raises(InvalidValue, match="days"):
        Scenario(days=0)


def test_frames_have_the_columns_of_any_source(world: Simulated) -> None:
    # A simulated shop registers each order as it comes.
    assert tuple(world.shipments.columns) == SHIPMENT_COLUMNS[:-2]
    # No simulated scan is corrected.
    assert (*world.events.columns, CORRECTION) == EVENT_COLUMNS
    timelines = Timelines.from_frames(world.shipments, world.events)
    assert timelines.shipment_id.tolist() == world.truth.journeys["shipment_id"].tolist()
    assert set(world.events["event_code"]) <= set(EventCode)
    assert 9 < len(world.events) / PARCELS < 13


def test_there_are_enough_carriers_services_and_countries(world: Simulated) -> None:
    assert len(CARRIERS) >= 6
    assert all(len(carrier.services) >= 2 for carrier in CARRIERS)
    assert set(world.shipments["carrier"]) == {carrier.name for carrier in CARRIERS}
    assert set(world.shipments["destination_country"]) == {"DE", "AT", "FR", "PL", "US", "BR"}
    assert {zone_of(city.country, city.region)[0] for city in CITIES} >= {
        "America/Los_Angeles",
        "America/Manaus",
        "Europe/Vienna",
    }


def test_transit_times_are_realistic(world: Simulated) -> None:
    days = (
        pd.Series(hours(world.shipments["ordered_at"], world.truth.journeys["first_attempt_at"]))
        / 24.0
    )
    crosses = world.shipments["origin_country"] != world.shipments["destination_country"]
    assert 0.15 < crosses.mean() < 0.25
    assert 2.0 < days[~crosses].median() < 3.2
    assert 6.0 < days[crosses].median() < 9.0


def test_promises_are_padded_and_sometimes_missed(world: Simulated) -> None:
    arrived = world.truth.journeys["first_attempt_at"]
    zones = Categorical.from_texts(
        [
            zone_of(country, region)[0]
            for country, region in zip(
                world.shipments["destination_country"],
                world.shipments["destination_region"],
                strict=True,
            )
        ]
    )
    has_arrived = arrived.notna().to_numpy()
    on = local_dates(instants(arrived[has_arrived]), zones.codes[has_arrived], zones.names)
    is_late = on > world.shipments["promised_on"].to_numpy().astype("datetime64[D]")[has_arrived]
    assert 0.06 < is_late.mean() < 0.10
    assert world.shipments["promised_on"].dt.day_of_week.max() < 5


def test_faults_have_the_shares_of_the_scenario(world: Simulated) -> None:
    journeys = world.truth.journeys
    came_far = journeys["entered_linehaul_at"].notna() | journeys["is_misrouted"]
    failed = journeys.loc[journeys["first_attempt_at"].notna(), "failed_attempts"] > 0
    for share, n, expected in (
        (journeys["is_misrouted"].sum() / came_far.sum(), came_far.sum(), DEFAULT.misrouted),
        (journeys["wrong_number"].eq("silent").mean(), PARCELS, DEFAULT.silent_number),
        (journeys["wrong_number"].eq("foreign").mean(), PARCELS, DEFAULT.foreign_number),
    ):
        low, high = binomial_band(int(n), expected, 0.001)
        assert low <= round(share * n) <= high
    assert 0.004 < journeys["is_lost"].mean() < 0.010
    assert 0.002 < journeys["is_cancelled"].mean() < 0.006
    assert 0.004 < journeys["is_returned"].mean() < 0.015
    # Counters know no failed attempt.
    assert DEFAULT.failed_attempt * 0.7 < failed.mean() < DEFAULT.failed_attempt


def test_events_are_received_after_they_occur_except_with_wrong_clocks(world: Simulated) -> None:
    lag = pd.Series(hours(world.events["occurred_at"], world.events["received_at"]))
    is_early = lag < 0
    assert 0 < is_early.mean() < DEFAULT.wrong_clock
    assert lag[is_early].min() >= -6.0
    assert lag.quantile(0.95) >= 12.0
    assert (
        lag[world.events["raw_code"].eq("ORD")].max() == 0.0
        or world.events["raw_code"].eq("ORD").sum() > PARCELS
    )
    content = ["shipment_id", "raw_code", "occurred_at", "place"]
    assert world.events.duplicated(content).mean() == pytest.approx(
        DEFAULT.duplicate_scan / (1 + DEFAULT.duplicate_scan), rel=0.15
    )


def test_each_carrier_misses_its_share_of_events(world: Simulated) -> None:
    is_domestic = world.truth.journeys["wrong_number"].isna() & (
        world.shipments["origin_country"] == world.shipments["destination_country"]
    )
    scanned = world.events[world.events["raw_code"].eq("IHA")]["shipment_id"].unique()
    came = world.truth.journeys["entered_inbound_at"].notna() & is_domestic
    missed = (
        1.0
        - world.shipments["shipment_id"]
        .isin(scanned)[came]
        .groupby(world.shipments["carrier"][came])
        .mean()
    )
    n = came.groupby(world.shipments["carrier"]).sum()
    for carrier in CARRIERS:
        low, high = binomial_band(int(n[carrier.name]), carrier.missing, 0.001)
        assert low <= round(missed[carrier.name] * n[carrier.name]) <= high


def test_a_wrong_number_has_no_events_or_those_of_another_parcel(world: Simulated) -> None:
    journeys, events = world.truth.journeys, world.events
    shops = {stage.raw for stage in STAGES[:FIRST_OF_CARRIER]} | {
        "END-cancelled",
        "END-lost",
        "END-return_started",
    }
    silent = events[
        events["shipment_id"].isin(
            journeys.loc[journeys["wrong_number"].eq("silent"), "shipment_id"]
        )
    ]
    assert set(silent["raw_code"]) <= shops
    foreign = events[
        events["shipment_id"].isin(
            journeys.loc[journeys["wrong_number"].eq("foreign"), "shipment_id"]
        )
        & ~events["raw_code"].isin(shops)
    ]
    content = ["raw_code", "occurred_at", "received_at", "place"]
    elsewhere = events[~events["shipment_id"].isin(foreign["shipment_id"])].merge(
        foreign[content].drop_duplicates(), on=content
    )
    assert len(elsewhere) > 0.9 * len(foreign)


def test_nothing_is_delivered_on_sundays_holidays_or_at_night(world: Simulated) -> None:
    arrived = world.truth.journeys["first_attempt_at"]
    vienna = arrived[world.shipments["destination_region"].eq("9") & arrived.notna()].dt.tz_convert(
        "Europe/Vienna"
    )
    assert (vienna.dt.day_of_week < 6).all()
    assert not vienna.dt.date.isin(
        [
            pd.Timestamp(day).date()
            for day in ("2025-05-01", "2025-12-25", "2025-12-26", "2025-08-15")
        ]
    ).any()
    hour = vienna.dt.hour + vienna.dt.minute / 60
    assert hour.between(8.5, 19.5).all()


def test_congestion_is_autocorrelated_and_moderate(truth: Truth) -> None:
    congestion = truth.days.congestion
    assert congestion.std() == pytest.approx(DEFAULT.congestion_deviation, rel=0.05)
    neighbours = np.corrcoef(congestion[:, :-1].ravel(), congestion[:, 1:].ravel())[0, 1]
    assert neighbours == pytest.approx(DEFAULT.congestion_memory, abs=0.02)
    is_bad = truth.days.weather > truth.days.bad_above
    assert DEFAULT.bad_weather < is_bad.mean() < DEFAULT.bad_weather_in_season


def test_parcels_of_a_congested_hub_wait_together(truth: Truth) -> None:
    """The mean log stay of a hub's days follows the hub's congestion one to one."""
    inbound = NAMES.index("inbound")
    rows = np.flatnonzero(
        np.isfinite(truth.entered[:, inbound + 1]) & np.isfinite(truth.entered[:, inbound])
    )
    entered = truth.entered[rows, inbound]
    stays = truth.clocks.between(
        truth.parcels.clock[rows, inbound],
        entered[:, None],
        truth.entered[rows, inbound + 1][:, None],
    )[:, 0]
    surprise = np.log(stays / truth.parcels.median[rows, inbound])
    column = truth.days.column(entered)
    expected = (
        truth.days.congestion[truth.parcels.hub[rows, inbound], column] + truth.days.peak[column]
    )
    slope = np.cov(surprise, expected)[0, 1] / expected.var()
    assert slope == pytest.approx(1.0, abs=0.15)
    # Log-logistic: the logarithm of a stay is logistic.
    assert (surprise - expected).std() == pytest.approx(
        STAGES[inbound].spread * np.pi / np.sqrt(3), rel=0.03
    )


def test_the_oracle_is_calibrated_at_purchase(world: Simulated, truth: Truth) -> None:
    rows, as_of = purchases(world, 3000)
    assert not outside_band(
        transforms(truth.oracle_curve(rows, as_of), truth.hours_left(rows, as_of)), 1
    )


def test_the_oracle_is_calibrated_in_every_stage(world: Simulated, truth: Truth) -> None:
    rows, as_of = in_flight(world, 12_000)
    values = transforms(truth.oracle_curve(rows, as_of), truth.hours_left(rows, as_of))
    stage = truth.state(rows, as_of)
    large = [number for number in range(ARRIVAL) if (stage == number).sum() >= 100]
    assert len(large) >= 12
    wrong = {NAMES[number]: outside_band(values[stage == number], len(large)) for number in large}
    assert not any(wrong.values()), wrong
    assert not outside_band(values, 1)


@pytest.mark.parametrize("moments", [purchases, still_waited_for])
def test_the_scan_conditional_curve_is_calibrated(
    world: Simulated, truth: Truth, moments: type
) -> None:
    rows, as_of = moments(world, 2000)
    values = transforms(truth.scan_conditional_curve(rows, as_of), truth.hours_left(rows, as_of))
    assert not outside_band(values, 1)


def test_the_calibration_bands_reject_a_slower_curve(world: Simulated, truth: Truth) -> None:
    """A curve that is a tenth too slow is rejected."""
    rows, as_of = purchases(world, 3000)
    curves = truth.oracle_curve(rows, as_of)
    assert outside_band(
        transforms(
            Curves.from_knots(curves.hours * 1.1, curves.cdf), truth.hours_left(rows, as_of)
        ),
        1,
    )


def test_the_oracle_is_only_a_little_sharper_than_the_events_allow(
    world: Simulated, truth: Truth
) -> None:
    """The CRPS given the last event is within 15 % of the oracle's, at purchase and in flight."""
    timelines = Timelines.from_frames(world.shipments, world.events)
    judged = evaluation_snapshots(
        timelines, np.datetime64("2025-03-01", "us"), np.datetime64("2025-04-05", "us")
    )
    for kinds in ((PURCHASE,), IN_FLIGHT):
        row, as_of = (
            judged.pairs.row[np.isin(judged.moment, kinds)],
            judged.pairs.as_of[np.isin(judged.moment, kinds)],
        )
        left = truth.hours_left(row, as_of)
        arrives = np.isfinite(left)
        oracle_crps, scan_crps = (
            crps_days(curve_source(row[arrives], as_of[arrives]), left[arrives]).mean()
            for curve_source in (truth.oracle_curve, truth.scan_conditional_curve)
        )
        assert len(row) > 1000
        assert oracle_crps <= scan_crps <= 1.15 * oracle_crps


def test_a_curve_does_not_depend_on_the_batch(world: Simulated, truth: Truth) -> None:
    rows, as_of = still_waited_for(world, 30)
    for curve_source in (truth.oracle_curve, truth.scan_conditional_curve):
        together = curve_source(rows, as_of)
        for number in (0, 7, 29):
            alone = curve_source(rows[number : number + 1], as_of[number : number + 1])
            for level in (0.1, 0.5, 0.9):
                assert alone.quantile(level)[0] == pytest.approx(
                    together.quantile(level)[number], rel=1e-9
                )


def test_the_oracle_sees_lost_and_arrived_parcels(truth: Truth) -> None:
    end = np.full(PARCELS, np.datetime64("2026-06-01", "us"))
    curves = truth.oracle_curve(np.arange(PARCELS), end)
    never = truth.swallowed_in >= 0
    assert (curves.tail_mass[never] == 1.0).all()
    assert (curves.quantile(0.99)[~never] == 0.0).all()


def test_no_moments_give_no_curves(truth: Truth) -> None:
    nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype="datetime64[us]")
    assert len(truth.oracle_curve(*nothing)) == len(truth.scan_conditional_curve(*nothing)) == 0


def test_the_truth_survives_its_files(tmp_path: Path) -> None:
    small = simulate(shipments=300)
    for name, content in {
        SHIPMENTS_FILE: parquet(small.shipments),
        EVENTS_FILE: parquet(small.events),
        **small.truth.files(),
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / SCENARIO_FILE).write_text(
        json.dumps({"scenario": DEFAULT.to_json()}), encoding="utf-8"
    )
    loaded = Truth.load(tmp_path)
    rows, as_of = np.arange(300), instants(small.shipments["ordered_at"]) + np.timedelta64(30, "h")
    for name in ("oracle_curve", "scan_conditional_curve"):
        then, now = getattr(small.truth, name)(rows, as_of), getattr(loaded, name)(rows, as_of)
        np.testing.assert_array_equal(then.hours, now.hours)
        np.testing.assert_array_equal(then.cdf, now.cdf)


def test_weighted_futures_become_a_curve() -> None:
    curves = weighted_curves(np.array([[np.inf, 4.0, 0.0, 2.0]]), np.array([[2.0, 1.0, 1.0, 0.0]]))
    assert curves.tail_mass[0] == 0.5
    assert curves.cdf_at([0.0])[0] == 0.25
    assert curves.cdf_at([4.0])[0] == pytest.approx(0.375)


def spread_of(durations: NDArray[np.float64]) -> tuple[float, float]:
    """Deviation of the logarithm, and the last decile over the median."""
    durations = durations[durations > 0]
    return float(np.log(durations).std()), float(np.quantile(durations, 0.9) / np.median(durations))


def test_times_spread_like_those_of_real_orders(world: Simulated, eta_data: Path) -> None:
    """The spread of handling, transit and the whole around their medians is within 1.5 of Olist's.

    Levels are not compared: Olist's parcels are all Brazilian and take three times as long.
    """
    orders = pd.read_csv(eta_data / "olist" / "olist_orders_dataset.csv")
    bought, taken, delivered = (
        pd.to_datetime(orders[f"order_{name}"])
        for name in ("purchase_timestamp", "delivered_carrier_date", "delivered_customer_date")
    )
    journeys, ordered = world.truth.journeys, world.shipments["ordered_at"]
    simulated_times = {
        "start": ordered,
        "taken": journeys["entered_collected_at"],
        "end": journeys["first_attempt_at"],
    }
    real_times = {"start": bought, "taken": taken, "end": delivered}
    for first, last in (("start", "taken"), ("taken", "end"), ("start", "end")):
        real, simulated = (
            spread_of(hours(times[first], times[last])) for times in (real_times, simulated_times)
        )
        assert np.array(simulated) == pytest.approx(np.array(real), rel=0.5), (first, last)


def test_stages_spread_like_those_of_real_freight(truth: Truth, eta_data: Path) -> None:
    """The spread of moves between hubs, and of stays that people decide, is like in Cargo 2000.

    The deviations of the logarithms are compared, within a factor of 1.6 because the network is not
    a copy. Moves are from departure to receipt there, and across the border here; stays are of
    hand-over and delivery there, and of packing and customs here.
    """
    log = pd.read_csv(eta_data / "cargo2000" / "c2k_data_comma.csv", na_values="?")
    pairs = (
        ("i1_rcf_1_e", "abroad"),
        ("o_rcf_1_e", "abroad"),
        ("i1_rcs_e", "ordered"),
        ("i1_dlv_e", "border"),
        ("o_rcs_e", "ordered"),
        ("o_dlv_e", "border"),
    )
    for column, name in pairs:
        number = NAMES.index(name)
        entered = truth.entered[:, number]
        later = np.where(truth.entered > entered[:, None], truth.entered, np.inf).min(axis=1)
        stays = (later - entered)[np.isfinite(later) & np.isfinite(entered)]
        ratio = spread_of(stays)[0] / spread_of(log[column].dropna().to_numpy(dtype=np.float64))[0]
        assert 1 / 1.6 < ratio < 1.6, (column, name)
