"""Properties of local times of scans, on any route and in any order."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from eta.domain.vocabulary import EventCode, TimezoneSource
from eta.journey.scan_times import NOWHERE, DatedScan, LocalScan, ParcelClock, ScanPlace

PLACES = [
    ScanPlace("US", "CA"),
    ScanPlace("US", "NY"),
    ScanPlace("GB"),
    ScanPlace("DE", "BY"),
    ScanPlace("NZ", "AUK"),
    ScanPlace("BR", "AM"),
    ScanPlace("AU", "WA"),
]
FIRST = datetime(2026, 3, 1)  # noqa: DTZ001  # a wall-clock time

places = st.sampled_from(PLACES)
#: With minutes that clocks skip or repeat in March.
walls = st.integers(0, 40 * 48).map(lambda halves: FIRST + timedelta(minutes=30 * halves))
scans = st.builds(
    LocalScan,
    st.sampled_from(EventCode),
    walls,
    st.none() | st.sampled_from(["Asia/Kolkata", "UTC"]),
    st.sampled_from([NOWHERE] * 4 + [ScanPlace(None, "WA"), ScanPlace("DE"), ScanPlace("US")]),
)


@given(places, places, st.lists(scans, min_size=1, max_size=8), st.randoms())
@settings(max_examples=300, deadline=None)
def test_a_local_time_does_not_depend_on_the_order_of_scans(
    origin: ScanPlace, destination: ScanPlace, listed: list[LocalScan], random: object
) -> None:
    shuffled = list(listed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a Random
    clocks = [
        ParcelClock.from_scans(origin, destination, [], order) for order in (listed, shuffled)
    ]
    assert clocks[0] == clocks[1]
    for scan in listed:
        time = clocks[0].read(scan)
        assert time.occurred_at.utcoffset() is not None
        gap = time.occurred_at.replace(tzinfo=None) - scan.wall
        assert gap == timedelta(0) or time.is_ambiguous


@given(places, places, st.lists(scans, max_size=6), scans, st.lists(scans, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_local_time_does_not_depend_on_later_scans(
    origin: ScanPlace,
    destination: ScanPlace,
    earlier: list[LocalScan],
    scan: LocalScan,
    later: list[LocalScan],
) -> None:
    clock = ParcelClock.from_scans(origin, destination, [], earlier)
    read = clock.read(scan)
    # Later in every zone of the route.
    moved = [one._replace(wall=max(one.wall, scan.wall) + timedelta(days=2)) for one in later]
    dated = [DatedScan(one.event_code, clock.read(one)) for one in moved]
    for others in (
        ParcelClock.from_scans(origin, destination, [], [*earlier, *moved]),
        ParcelClock.from_scans(origin, destination, dated, earlier),
    ):
        assert others.read(scan) == read


@given(places, places, scans)
@settings(max_examples=200, deadline=None)
def test_the_own_place_and_the_declared_zone_need_no_other_scans(
    origin: ScanPlace, destination: ScanPlace, scan: LocalScan
) -> None:
    alone = ParcelClock(origin, destination).read(scan)
    departed = DatedScan(
        EventCode.DEPARTED_ORIGIN_COUNTRY,
        alone._replace(occurred_at=datetime(2026, 1, 1, tzinfo=UTC)),
    )
    after = ParcelClock.from_scans(origin, destination, [departed]).read(scan)
    if scan.zone:
        assert (alone.source, after) == (TimezoneSource.DECLARED, alone)
    elif scan.place.country:
        assert after == alone
