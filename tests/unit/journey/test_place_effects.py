"""Place effects follow other parcels, and never the parcel itself."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, to_instant
from eta.domain.vocabulary import EventCode
from eta.journey.features import features
from eta.journey.place_effects import (
    HANDLING_HALF_LIFE_DAYS,
    HANDLING_PRIOR,
    PLACE_EFFECTS,
    PlaceEffectHistory,
    PlaceEffects,
)
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from support.journeys import START, parcels

HANDLING, ORIGIN, DESTINATION = range(len(PLACE_EFFECTS))
END = to_instant(START + timedelta(days=120))
#: One parcel in five is sent from here, and one in five is sent to there.
SLOW_SHOP, FAR_AREA = "4020", "101"

Change = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]


def frames(change: Change | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parcels of one lane, with postcodes; ``change`` maps shipments and events to events."""
    shipments, events = parcels(3000, days=100)
    number = np.arange(len(shipments))
    shipments["destination_region"] = "1"
    shipments["origin_postcode"] = np.where(number % 5 == 0, SLOW_SHOP, "1100")
    shipments["destination_postcode"] = [
        f"{FAR_AREA}{n % 7}" if n % 5 == 1 else "8010" for n in number
    ]
    return shipments, events if change is None else change(shipments, events)


def build_timelines(change: Change | None = None) -> Timelines:
    return Timelines.from_frames(*frames(change))


def later(
    days: float, code: str, *, since: datetime = START
) -> Callable[[pd.DataFrame, pd.DataFrame, pd.Series], pd.DataFrame]:
    """Moves scans of a code, and all after them, of some shipments."""

    def move(shipments: pd.DataFrame, events: pd.DataFrame, which: pd.Series) -> pd.DataFrame:
        moved = events["shipment_id"].isin(shipments.loc[which, "shipment_id"]) & (
            events["occurred_at"] >= since
        )
        moved &= events["event_code"].isin(
            ["accepted", "delivered"] if code == "accepted" else [code]
        )
        times = {
            name: events[name].where(~moved, events[name] + timedelta(days=days))
            for name in ("occurred_at", "received_at")
        }
        return events.assign(**times)

    return move


def from_slow_shop(shipments: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    return later(3, "accepted")(shipments, events, shipments["origin_postcode"] == SLOW_SHOP)


def to_far_area(shipments: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    return later(4, "delivered")(
        shipments, events, shipments["destination_postcode"].str.startswith(FAR_AREA)
    )


def effects_of(timelines: Timelines, at: np.datetime64 = END) -> NDArray[np.float64]:
    return PlaceEffectHistory.from_timelines(timelines).lookup(
        timelines, AsOfPairs.all_at(timelines, at)
    )


def test_a_slow_shop_changes_handling_but_not_transit() -> None:
    timelines = build_timelines(from_slow_shop)
    effects = effects_of(timelines)
    is_slow = timelines.texts["origin_postcode"].texts() == SLOW_SHOP
    assert effects[HANDLING, is_slow].min() > 0.4
    assert effects[HANDLING, ~is_slow].max() < 0.0
    assert np.abs(effects[[ORIGIN, DESTINATION]]).max() < 0.15


def test_a_slow_destination_area_does_not_change_origin_effects() -> None:
    timelines = build_timelines(to_far_area)
    effects = effects_of(timelines)
    is_far = np.array(
        [str(code).startswith(FAR_AREA) for code in timelines.texts["destination_postcode"].texts()]
    )
    assert effects[DESTINATION, is_far].min() > 0.4
    assert effects[DESTINATION, ~is_far].max() < 0.0
    assert np.abs(effects[[HANDLING, ORIGIN]]).max() < 0.15


def test_a_slowdown_of_the_whole_network_changes_no_effect() -> None:
    def slow(shipments: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
        return later(3, "accepted", since=START + timedelta(days=60))(
            shipments, events, shipments["shipment_id"].notna()
        )

    apart = [
        np.ptp(effects_of(build_timelines(change))[HANDLING]) for change in (slow, from_slow_shop)
    ]
    assert apart[0] < 0.05
    assert apart[1] > 0.5


def test_new_places_have_the_wider_areas_effect_or_none() -> None:
    at_end = PlaceEffectHistory.from_timelines(build_timelines(to_far_area)).at(END)
    shipments, events = parcels(5)
    shipments["destination_postcode"] = ["1019", "10 1-9", "19", None, "1013"]
    shipments["origin_postcode"] = ["4020", " 40-20", "402", None, "4020"]
    queried = Timelines.from_frames(shipments, events)
    effects = at_end.lookup(queried, AsOfPairs.all_at(queried, END))
    # Nobody lives at 1019, but many do at 101; 402 is no shop with any parcel.
    assert effects[DESTINATION, 0] == effects[DESTINATION, 1] == at_end.destination["AT|101"] > 0.4
    assert effects[DESTINATION, 4] == at_end.destination["AT|1013"] != at_end.destination["AT|101"]
    assert effects[HANDLING, 0] == effects[HANDLING, 1] == at_end.handling["AT|4020"]
    assert effects[DESTINATION, 2] == effects[DESTINATION, 3] == effects[HANDLING, 2] == 0.0
    assert not effects[:, 3].any()


def test_an_effect_is_the_shrunk_decayed_mean_difference() -> None:
    """Two parcels of a shop take 3 days, 60 days apart; all others take one.

    The first counts half, and the prior counts as 3 parcels without a difference.
    """
    number, count = np.arange(402), 400
    ordered_days, took_days = (
        np.where(number < count, normal, slow)
        for normal, slow in ((number % 100, 27 + 60 * (number - count)), (1, 3))
    )
    shipments = parcels(len(number))[0].assign(
        origin_postcode=np.where(number < count, "1100", "4020")
    )
    scans = [
        pd.DataFrame(
            {
                "shipment_id": shipments["shipment_id"],
                "event_code": code,
                "occurred_at": pd.Timestamp(START) + pd.to_timedelta(days, unit="D"),
            }
        )
        for code, days in (("order_created", ordered_days), ("accepted", ordered_days + took_days))
    ]
    events = pd.concat(scans, ignore_index=True)
    timelines = Timelines.from_frames(shipments, events.assign(received_at=events["occurred_at"]))
    at = to_instant(START + timedelta(days=90 + HANDLING_HALF_LIFE_DAYS))
    difference = np.log1p(3.0) - np.log1p(1.0)
    assert PlaceEffectHistory.from_timelines(timelines).at(at).handling["AT|4020"] == pytest.approx(
        (0.5 + 0.25) * difference / (0.5 + 0.25 + HANDLING_PRIOR), rel=0.03
    )


def test_receipts_count_from_the_next_midnight() -> None:
    timelines = build_timelines(from_slow_shop)
    history = PlaceEffectHistory.from_timelines(timelines)
    midnight = to_instant(START + timedelta(days=50))
    evening, before, after = (
        history.lookup(timelines, AsOfPairs.all_at(timelines, at))
        for at in (midnight + DAY - np.timedelta64(1, "us"), midnight, midnight + DAY)
    )
    assert np.array_equal(evening, before)
    assert not np.array_equal(after, before)


@pytest.mark.parametrize("change", [from_slow_shop, to_far_area])
def test_effects_at_midnight_equal_those_of_the_history(change: Change) -> None:
    timelines = build_timelines(change)
    history = PlaceEffectHistory.from_timelines(timelines)
    # Midnight in UTC, and at three in the morning, which is midnight elsewhere.
    for days in (1, 30, 77, 77.125):
        moments = AsOfPairs.all_at(timelines, to_instant(START + timedelta(days=days)))
        restored = PlaceEffects.from_json(history.at(moments.as_of[0]).to_json())
        assert np.array_equal(
            restored.lookup(timelines, moments), history.lookup(timelines, moments)
        )


def test_a_parcel_does_not_change_its_effects() -> None:
    shipments, events = frames(from_slow_shop)
    timelines = Timelines.from_frames(shipments, events)
    for row in (0, 1, 2500):
        at_purchase = AsOfPairs(
            np.array([row]), timelines.first_received({EventCode.ORDER_CREATED})[[row]]
        )
        others = (
            frame[frame["shipment_id"] != timelines.shipment_id[row]]
            for frame in (shipments, events)
        )
        without_it = PlaceEffectHistory.from_timelines(Timelines.from_frames(*others)).at(
            at_purchase.as_of[0].astype("datetime64[D]")
        )
        assert np.array_equal(
            without_it.lookup(timelines, at_purchase),
            PlaceEffectHistory.from_timelines(timelines).lookup(timelines, at_purchase),
        )


def test_a_late_handover_event_does_not_revise_effects() -> None:
    """A sort scan five days later shows the hand-over; the accepted scan comes a month late."""
    shipments, events = frames()
    slow = events["shipment_id"].isin(
        shipments.loc[shipments["origin_postcode"] == SLOW_SHOP, "shipment_id"]
    ) & (events["event_code"] == "accepted")
    is_sorted = events[slow].assign(
        event_code="sorted",
        **{
            name: events.loc[slow, name] + timedelta(days=5)
            for name in ("occurred_at", "received_at")
        },
    )
    late_events = pd.concat(
        [
            events.assign(
                received_at=events["received_at"].where(
                    ~slow, events["received_at"] + timedelta(days=30)
                )
            ),
            is_sorted,
        ],
        ignore_index=True,
    )
    at = START + timedelta(days=20)
    then = late_events[late_events["received_at"] < pd.Timestamp(at)]
    known_then, replayed = (
        PlaceEffectHistory.from_timelines(
            Timelines.from_frames(
                shipments[shipments["shipment_id"].isin(frame["shipment_id"])], frame
            )
        )
        .at(to_instant(at))
        .handling
        for frame in (then, late_events)
    )
    assert known_then[f"AT|{SLOW_SHOP}"] > 0.3
    assert replayed == pytest.approx(known_then)


def test_handling_effects_are_missing_after_the_handover() -> None:
    timelines = build_timelines(from_slow_shop)
    ordered, handed = (
        timelines.first_received({code}) for code in (EventCode.ORDER_CREATED, EventCode.ACCEPTED)
    )
    rows, history = np.arange(len(timelines)), PlaceEffectHistory.from_timelines(timelines)
    before, after = (
        features(timelines, AsOfPairs(rows, at), history).numbers for at in (ordered, handed)
    )
    assert np.isfinite(before["origin_handling_effect"]).all()
    assert np.isnan(after["origin_handling_effect"]).all()
    assert np.isfinite(after["destination_transit_effect"]).all()
