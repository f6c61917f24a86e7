from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from eta.datasets.base import QUARANTINE_COLUMNS, ROW, VALUE, Dataset, RowCounts
from eta.domain.errors import DataRefused, InvalidValue
from eta.journey.timelines import Timelines
from eta.quality.assess import DataQuality, assess_quality
from eta.quality.findings import NO_CARRIER, Finding, QualityThresholds

START = pd.Timestamp("2026-01-05T00:00", tz="UTC")
AS_OF = datetime(2026, 7, 1, tzinfo=UTC)
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
CARRIERS = ("dhl", "ups", "dpd", None)
#: Kinds of scans with the hour of the day of each, and how many hours it spreads over.
SCANS = {"picked_up": (17, 2.0), "arrived_at_facility": (23, 3.0), "delivered": (12, 3.0)}


def frames(count: int = 1200, days: int = 120) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parcels of four carriers in turn, delivered two days after the order."""
    number = np.arange(count)
    shipments = pd.DataFrame({"shipment_id": [f"A{n:05d}" for n in number]})
    shipments["order_id"] = shipments["shipment_id"]
    shipments["origin_country"] = shipments["destination_country"] = "DE"
    shipments["carrier"] = [CARRIERS[n % len(CARRIERS)] for n in number]
    noise = np.random.default_rng(1)
    day = START + pd.Series(number * days // count) * DAY
    parts = [(shipments["shipment_id"], "order_created", day + noise.uniform(0, 24, count) * HOUR)]
    for later, (code, (hour, spread)) in enumerate(SCANS.items(), start=1):
        at = day + later * DAY + (hour + spread * noise.standard_normal(count)) * HOUR
        parts.append((shipments["shipment_id"], code, at))
    events = pd.concat(
        pd.DataFrame({"shipment_id": ids, "event_code": code, "occurred_at": at})
        for ids, code, at in parts
    )
    events["occurred_at"] = events["occurred_at"].dt.floor("us").astype("datetime64[us, UTC]")
    events["received_at"] = events["occurred_at"]
    return shipments, events.reset_index(drop=True)


def dataset_of(
    shipments: pd.DataFrame,
    events: pd.DataFrame,
    quarantine: Iterable[tuple[str, int, str, str, str]] = (),
    rows: dict[str, RowCounts] | None = None,
) -> Dataset:
    rejected = pd.DataFrame(quarantine, columns=list(QUARANTINE_COLUMNS))
    return Dataset("test", "UTC", shipments, events, rejected, {}, rows=rows or {})


def assess(
    dataset: Dataset, thresholds: QualityThresholds | None = None, *, forced: bool = False
) -> DataQuality:
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    limits = thresholds or QualityThresholds()
    return assess_quality(dataset, timelines, AS_OF, limits, forced=forced)


def findings(dataset: Dataset, kind: str) -> list[Finding]:
    return [finding for finding in assess(dataset).findings if finding.kind == kind]


def moved(events: pd.DataFrame, is_moved: pd.Series, by: pd.Timedelta) -> pd.DataFrame:
    """The events, some of them at another time."""
    occurred_at = events["occurred_at"].where(~is_moved, events["occurred_at"] + by)
    return events.assign(occurred_at=occurred_at)


def of_carrier(shipments: pd.DataFrame, events: pd.DataFrame, carrier: str) -> pd.Series:
    ids = shipments.loc[shipments["carrier"].eq(carrier), "shipment_id"]
    return events["shipment_id"].isin(ids)


def test_clean_data_have_no_findings() -> None:
    quality = assess(dataset_of(*frames()))
    assert {finding.kind: finding.count for finding in quality.findings} == {
        "delivered_before_order": 0,
        "never_delivered": 0,
    }
    quality.check()
    assert (quality.shipments, quality.scans, quality.duplicates) == (1200, 4800, 0)


def test_deliveries_before_their_order_are_counted_by_carrier_and_refused() -> None:
    shipments, events = frames()
    rows = events.index[events["event_code"].eq("delivered")][:40]
    is_moved = pd.Series(events.index.isin(rows), index=events.index)
    dataset = dataset_of(shipments, moved(events, is_moved, -60 * DAY))
    (finding,) = findings(dataset, "delivered_before_order")
    assert (finding.count, finding.total) == (40, 1200)
    assert finding.by_carrier == {NO_CARRIER: 10, "dhl": 10, "dpd": 10, "ups": 10}
    assert finding.example.startswith("A00000: ordered 2026-01-05T")
    with pytest.raises(DataRefused) as refused:
        assess(dataset).check()
    for part in ("delivered_before_order", "40 of 1,200 deliveries (3.3%)", "A00000", "--force"):
        assert part in str(refused.value)
    assert "max_delivered_before_order_share is 0.01" in str(refused.value)


def test_refusal_is_lifted_by_force_or_by_a_higher_threshold() -> None:
    shipments, events = frames()
    is_moved = events["event_code"].eq("delivered") & events["shipment_id"].lt("A00040")
    dataset = dataset_of(shipments, moved(events, is_moved, -60 * DAY))
    forced = assess(dataset, forced=True)
    forced.check()
    assert forced.to_json()["forced"] is True
    assess(dataset, QualityThresholds(max_delivered_before_order_share=0.04)).check()


@pytest.mark.parametrize(("count", "is_refused"), [(1, False), (12, False), (13, True)])
def test_share_of_deliveries_before_their_order_must_exceed_the_threshold(
    count: int, is_refused: bool
) -> None:
    shipments, events = frames()
    is_moved = events["event_code"].eq("delivered") & events["shipment_id"].lt(f"A{count:05d}")
    quality = assess(dataset_of(shipments, moved(events, is_moved, -60 * DAY)))
    assert bool(quality.refused()) == is_refused


def test_delivery_on_the_day_of_the_order_that_is_a_date_alone_is_not_before_it() -> None:
    shipments, events = frames()
    is_delivery = events["event_code"].eq("delivered")
    ordered_on = events.loc[~events["event_code"].isin(list(SCANS)), "occurred_at"].dt.normalize()
    same_day = events.assign(
        occurred_at=events["occurred_at"].where(~is_delivery, np.resize(ordered_on, len(events)))
    )
    same_day = same_day[same_day["event_code"].isin(["order_created", "delivered"])]
    (finding,) = findings(dataset_of(shipments, same_day), "delivered_before_order")
    assert finding.count == 0


@pytest.mark.parametrize(("share", "is_refused"), [(0.0, False), (0.05, False), (0.3, True)])
def test_deliveries_that_were_never_reported_are_counted_and_refused(
    share: float, is_refused: bool
) -> None:
    shipments, events = frames()
    is_lost = events["event_code"].eq("delivered") & (
        events["shipment_id"].str[1:].astype(int) % 20
    ).lt(20 * share)
    quality = assess(dataset_of(shipments, events[~is_lost]))
    (finding,) = (found for found in quality.findings if found.kind == "never_delivered")
    assert (finding.count, finding.total) == (round(1200 * share), 1200)
    assert sum(finding.by_carrier.values()) == finding.count
    assert bool(quality.refused()) == is_refused


@pytest.mark.parametrize("code", ["cancelled", "lost", "return_started"])
def test_parcel_that_ended_otherwise_is_not_a_missing_delivery(code: str) -> None:
    shipments, events = frames()
    events = events[events["event_code"].ne("arrived_at_facility")]
    dataset = dataset_of(shipments, events.replace({"event_code": {"delivered": code}}))
    # Some are delivered, so that there is a duration to compare with.
    rows = events["event_code"].eq("delivered") & events["shipment_id"].lt("A00600")
    mixed = dataset.events.assign(event_code=dataset.events["event_code"].where(~rows, "delivered"))
    (finding,) = findings(dataset_of(shipments, mixed), "never_delivered")
    assert (finding.count, finding.total) == (0, 1200)


def test_young_orders_without_an_end_are_not_missing_deliveries() -> None:
    shipments, events = frames()
    is_recent = events["shipment_id"].gt("A01000") & events["event_code"].eq("delivered")
    dataset = dataset_of(shipments, events[~is_recent])
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    as_of = (START + 103 * DAY).to_pydatetime()
    quality = assess_quality(dataset, timelines, as_of, QualityThresholds())
    assert [finding.count for finding in quality.findings] == [0, 0]


def test_rows_received_after_the_moment_change_no_finding() -> None:
    shipments, events = frames()
    timelines = Timelines.from_frames(shipments, events)
    early = events[events["received_at"] <= pd.Timestamp("2026-03-01", tz="UTC")]
    as_of = datetime(2026, 3, 1, tzinfo=UTC)
    all_data = dataset_of(shipments, events)
    then = dataset_of(shipments, early)
    known_then = Timelines.from_frames(shipments, early)
    assert (
        assess_quality(all_data, timelines, as_of, QualityThresholds()).to_json()
        == assess_quality(then, known_then, as_of, QualityThresholds()).to_json()
    )


@pytest.mark.parametrize(
    ("rejected", "read", "is_refused"), [(0, 0, False), (5, 100, False), (6, 100, True)]
)
def test_rejected_rows_of_the_worst_file_refuse_a_training(
    rejected: int, read: int, is_refused: bool
) -> None:
    rows = {
        "events.csv": RowCounts(10_000, 10_000, 0, 0),
        "shipments.csv": RowCounts(read, read - rejected, 0, rejected),
    }
    quarantine = [("shipments.csv", n, ROW, "no_order_id", f"X{n}") for n in range(rejected)]
    quality = assess(dataset_of(*frames(), quarantine, rows))
    found = [finding for finding in quality.findings if finding.kind == "rows_rejected"]
    assert [finding.count for finding in found] == ([rejected] if rejected else [])
    assert bool(quality.refused()) == is_refused
    for finding in found:
        assert finding.example == "no_order_id: X0"
        assert quality.to_json()["rows"]["rejected"] == {"no_order_id": rejected}


def test_one_rejected_row_never_refuses_the_others() -> None:
    rows = {"shipments.csv": RowCounts(4, 3, 0, 1)}
    quarantine = [("shipments.csv", 0, ROW, "no_shipment_id", ",O1")]
    assess(dataset_of(*frames(), quarantine, rows)).check()


def test_column_of_which_most_values_were_rejected_is_named() -> None:
    rows = {"shipments.csv": RowCounts(1200, 1200, 0, 0)}
    quarantine = [
        ("shipments.csv", n, VALUE, "unreadable_weight_kg", f"A{n:05d},1,2") for n in range(700)
    ] + [("shipments.csv", n, VALUE, "unreadable_price", f"A{n:05d},x") for n in range(500)]
    (finding,) = findings(dataset_of(*frames(), quarantine, rows), "column_rejected")
    assert (finding.count, finding.total) == (700, 1200)
    assert finding.example == "unreadable_weight_kg: A00000,1,2"


@pytest.mark.parametrize("value", ["2020-01-01T00:00:00Z", "2026-02-02T12:00:00Z"])
def test_time_that_recurs_implausibly_often_is_a_sentinel_date(value: str) -> None:
    shipments, events = frames()
    is_sentinel = events["event_code"].eq("delivered") & events["shipment_id"].lt("A00030")
    occurred_at = events["occurred_at"].where(~is_sentinel, pd.Timestamp(value))
    (finding,) = findings(
        dataset_of(shipments, events.assign(occurred_at=occurred_at)), "sentinel_date"
    )
    assert (finding.count, finding.unit) == (30, "delivered scans")
    assert value[:19] in finding.example
    assert sum(finding.by_carrier.values()) == 30


@pytest.mark.parametrize("promised_on", ["1970-01-01", "1900-01-01", "1990-12-31", "9999-12-31"])
def test_promise_of_an_impossible_date_is_a_sentinel_date(promised_on: str) -> None:
    shipments, events = frames()
    days = np.datetime64("2026-01-09", "s") + np.arange(len(shipments)) // 10 * np.timedelta64(
        1, "D"
    )
    days[:7] = np.datetime64(promised_on, "s")
    promises = pd.Series(days)
    (finding,) = findings(
        dataset_of(shipments.assign(promised_on=promises), events), "sentinel_date"
    )
    assert (finding.count, finding.total, finding.unit) == (7, 1200, "promises")
    assert promised_on in finding.example


@pytest.mark.parametrize("date", ["1970-01-01", "1900-01-01", "1990-12-31", "9999-12-31"])
def test_impossible_date_of_rejected_rows_is_a_sentinel_date(date: str) -> None:
    quarantine = [
        ("events.csv", n, ROW, "implausible_received_at", f"A{n:05d},delivered,{date}T00:00:00Z")
        for n in range(8)
    ]
    rows = {"events.csv": RowCounts(4808, 4800, 0, 8)}
    (finding,) = findings(dataset_of(*frames(), quarantine, rows), "sentinel_date")
    assert (finding.count, finding.total, finding.unit) == (8, 4808, f"rows, with the date {date}")
    assert finding.by_carrier == {NO_CARRIER: 2, "dhl": 2, "dpd": 2, "ups": 2}


@pytest.mark.parametrize("end", ["", ",", ",,,", ", ,"])
def test_examples_end_without_the_empty_fields_of_their_rows(end: str) -> None:
    row = "A00001,delivered,1900-01-01T00:00:00Z"
    quarantine = [("events.csv", n, ROW, "implausible_time", row + end) for n in range(300)]
    rows = {"events.csv": RowCounts(4800, 4500, 0, 300)}
    dataset = dataset_of(*frames(), quarantine, rows)
    examples = [
        *(finding.example for finding in findings(dataset, "sentinel_date")),
        *(finding.example for finding in findings(dataset, "rows_rejected")),
        *dataset.examples().values(),
    ]
    assert examples == [row, f"implausible_time: {row}", row]


def test_row_of_empty_fields_alone_is_named() -> None:
    dataset = dataset_of(*frames(), [("events.csv", 1, ROW, "no_order_id", ",,")])
    assert dataset.examples() == {"no_order_id": "an empty row"}


def test_dates_alone_are_no_sentinel_dates() -> None:
    shipments, events = frames()
    dates = events.assign(occurred_at=events["occurred_at"].dt.normalize())
    assert findings(dataset_of(shipments, dates), "sentinel_date") == []


def test_nightly_batches_of_one_time_each_are_no_sentinel_dates() -> None:
    shipments, events = frames()
    is_batch = events["event_code"].eq("picked_up")
    nightly = events["occurred_at"].dt.normalize() + pd.Timedelta(hours=26)
    batches = events.assign(occurred_at=events["occurred_at"].where(~is_batch, nightly))
    assert findings(dataset_of(shipments, batches), "sentinel_date") == []


@pytest.mark.parametrize("hours", [-5, -2, 2, 3, 5, 11])
@pytest.mark.parametrize("carrier", ["dhl", "ups"])
def test_carrier_whose_clock_is_off_is_named(carrier: str, hours: int) -> None:
    shipments, events = frames()
    is_scan = of_carrier(shipments, events, carrier) & events["event_code"].ne("order_created")
    dataset = dataset_of(shipments, moved(events, is_scan, hours * HOUR))
    (finding,) = findings(dataset, "clock_shifted")
    assert list(finding.by_carrier) == [carrier]
    assert f"{hours:+d} h" in finding.example
    # It is a warning.
    assert "clock_shifted" not in {refused.kind for refused in assess(dataset).refused()}


@pytest.mark.parametrize("codes", [["delivered"], ["picked_up"], ["arrived_at_facility"]])
def test_carrier_that_does_one_thing_later_has_no_wrong_clock(codes: list[str]) -> None:
    shipments, events = frames()
    is_later = of_carrier(shipments, events, "dhl") & events["event_code"].isin(codes)
    dataset = dataset_of(shipments, moved(events, is_later, 5 * HOUR))
    assert findings(dataset, "clock_shifted") == []


@pytest.mark.parametrize("hours", [-1, 1])
def test_shift_of_one_hour_is_not_named(hours: int) -> None:
    shipments, events = frames()
    is_scan = of_carrier(shipments, events, "dhl") & events["event_code"].ne("order_created")
    dataset = dataset_of(shipments, moved(events, is_scan, hours * HOUR))
    assert findings(dataset, "clock_shifted") == []


def test_two_carriers_do_not_say_whose_clock_is_off() -> None:
    shipments, events = frames()
    shipments = shipments.assign(
        carrier=shipments["carrier"].where(shipments["carrier"].eq("dhl"), "x")
    )
    is_scan = of_carrier(shipments, events, "dhl") & events["event_code"].ne("order_created")
    dataset = dataset_of(shipments, moved(events, is_scan, 5 * HOUR))
    assert findings(dataset, "clock_shifted") == []


def test_few_scans_do_not_say_that_a_clock_is_off() -> None:
    shipments, events = frames(count=300)
    is_scan = of_carrier(shipments, events, "dhl") & events["event_code"].ne("order_created")
    dataset = dataset_of(shipments, moved(events, is_scan, 5 * HOUR))
    assert findings(dataset, "clock_shifted") == []


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_threshold_is_a_share(share: float) -> None:
    with pytest.raises(InvalidValue, match="max_rejected_share"):
        QualityThresholds(max_rejected_share=share)
