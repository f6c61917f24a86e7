"""Of several readings of one scan one counts, whatever the order in which they were received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.calendars.local_time import microseconds
from eta.domain.shipment import Place, Shipment, TrackingEvent
from eta.domain.vocabulary import PHASE_OF, EventCode, Phase
from eta.journey.state import STATUSES, AsOfPairs, fold
from eta.journey.timelines import EVENT_CODES, Timelines

NOW = datetime(2026, 5, 20, 8, tzinfo=UTC)
SHIPMENT = Shipment(
    shipment_id="1",
    order_id="1",
    origin=Place(country="AT"),
    destination=Place(country="AT"),
    ordered_at=NOW,
)
CODES = (EventCode.SORTED, EventCode.OUT_FOR_DELIVERY, EventCode.DELIVERED, EventCode.INFO)


def event(code: EventCode, hours: int = 0, *, raw_code: str | None = "X") -> TrackingEvent:
    return TrackingEvent(
        shipment_id="1",
        event_code=code,
        occurred_at=NOW + timedelta(hours=hours // 3),
        received_at=NOW + timedelta(hours=hours),
        raw_code=raw_code,
    )


def frames(events: Sequence[TrackingEvent]) -> Timelines:
    shipments = pd.DataFrame(
        {
            "shipment_id": ["1"],
            "order_id": ["1"],
            "origin_country": ["AT"],
            "destination_country": ["AT"],
        }
    )
    return Timelines.from_frames(shipments, pd.DataFrame(map(vars, events)))


def state(timelines: Timelines, as_of: datetime) -> tuple[str, int]:
    moment = np.datetime64(microseconds(as_of), "us")
    folded = fold(timelines, AsOfPairs.all_at(timelines, moment))
    return str(STATUSES[folded.status[0]]), int(folded.scan_count[0])


EVENTS = st.builds(
    event,
    st.sampled_from(CODES),
    st.integers(0, 8),
    raw_code=st.sampled_from(("X", "Y", None)),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(EVENTS, min_size=1, max_size=8), st.randoms(), st.integers(0, 9))
def test_order_and_duplication_change_no_state(
    events: list[TrackingEvent], random: object, hours: int
) -> None:
    shuffled = [*events, *events[: len(events) // 2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' own generator
    as_of = NOW + timedelta(hours=hours)
    states = {
        state(build, as_of)
        for listed in (events, shuffled)
        for build in (Timelines.from_records([SHIPMENT], listed), frames(listed))
    }
    assert len(states) == 1


@settings(deadline=None, max_examples=50)
@given(st.lists(EVENTS, min_size=1, max_size=8), st.integers(0, 9))
def test_one_reading_of_each_scan_counts(events: list[TrackingEvent], hours: int) -> None:
    as_of = NOW + timedelta(hours=hours)
    best: dict[object, tuple[int, int]] = {}
    phases = list(Phase)
    for each in events:
        if each.received_at <= as_of:
            key = each.raw_code or each.event_code, each.occurred_at
            phase = PHASE_OF.get(each.event_code)
            rank = phases.index(phase) if phase else -1, EVENT_CODES.index(each.event_code)
            best[key] = max(best.get(key, rank), rank)
    timelines = Timelines.from_records([SHIPMENT], events)
    counts = timelines.counts_at(np.datetime64(microseconds(as_of), "us"))
    expected = sorted(position for _, position in best.values())
    assert sorted(timelines.event_code[counts].tolist()) == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(EVENTS, max_size=6), st.permutations(range(3)), st.integers(0, 9))
def test_the_latest_correction_counts(
    events: list[TrackingEvent], order: list[int], hours: int
) -> None:
    corrections = [
        replace(
            event(code, raw_code="X"),
            received_at=NOW + timedelta(hours=1 + 2 * number),
            correction_number=number + 1,
        )
        for number, code in enumerate(CODES[:3])
    ]
    scan = event(EventCode.DELIVERED)
    listed = [scan, *events, *(corrections[index] for index in order), corrections[0]]
    timelines = Timelines.from_records([SHIPMENT], listed)
    moment = np.datetime64(microseconds(NOW + timedelta(hours=hours)), "us")
    is_counted = timelines.counts_at(moment) & (timelines.event_hash == hash_of(scan))
    known = [each for each in corrections if each.received_at <= NOW + timedelta(hours=hours)]
    expected = known[-1].event_code if known else EventCode.DELIVERED
    assert [EVENT_CODES[code] for code in timelines.event_code[is_counted]] == [expected]
    as_frame = frames(listed)
    assert np.array_equal(as_frame.superseded_at, timelines.superseded_at)


def hash_of(scan: TrackingEvent) -> np.uint64:
    return np.uint64(Timelines.from_records([SHIPMENT], [scan]).event_hash[0])


def test_a_later_correction_changes_no_earlier_digest() -> None:
    scan = event(EventCode.DELIVERED)
    corrected = replace(
        event(EventCode.SORTED), received_at=NOW + timedelta(hours=5), correction_number=1
    )
    other = event(EventCode.SORTED, 9, raw_code="Y")
    without = Timelines.from_records([SHIPMENT], [scan, other])
    later = Timelines.from_records([SHIPMENT], [scan, corrected, other])
    before, after = (np.datetime64(microseconds(NOW + timedelta(hours=h)), "us") for h in (4, 6))
    assert without.digest(before) == later.digest(before)
    assert without.digest(after) != later.digest(after)
