"""Local times of scans: the scan's own place, else where the parcel was; guesses are marked."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from eta.domain.vocabulary import EventCode, TimezoneSource
from eta.journey.scan_times import NOWHERE, DatedScan, LocalScan, ParcelClock, ScanPlace, ScanTime

CALIFORNIA, NEW_YORK = ScanPlace("US", "CA"), ScanPlace("US", "NY")
BRITAIN, VIENNA, MADRID = ScanPlace("GB"), ScanPlace("AT", "9"), ScanPlace("ES", "MD")
ATHENS, PARIS = ScanPlace("GR"), ScanPlace("FR")
EXPORTED = ("departed_origin_country", 12)
IMPORTED = ("arrived_destination_country", 14)


def wall(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 5, day, hour)  # noqa: DTZ001  # a wall-clock time


def local(code: str, day: int, hour: int = 12, place: ScanPlace = NOWHERE) -> LocalScan:
    return LocalScan(EventCode(code), wall(day, hour), None, place)


def read(
    origin: ScanPlace, destination: ScanPlace, earlier: tuple[tuple[str, int], ...], scan: LocalScan
) -> tuple[str, str, bool]:
    """The offset, the source and the mark of a scan after earlier ones at 12:00."""
    scans = [scan, *(local(code, day) for code, day in earlier)]
    time = ParcelClock.from_scans(origin, destination, [], scans).read(scan)
    assert time.occurred_at.replace(tzinfo=None) == scan.wall
    return time.occurred_at.isoformat()[-6:], time.source.value, time.is_ambiguous


@pytest.mark.parametrize(
    ("code", "earlier", "offset", "source", "is_ambiguous"),
    [
        ("label_created", (), "-07:00", "region", False),
        ("picked_up", (), "-07:00", "region", False),
        ("arrived_at_facility", (("picked_up", 10),), "-07:00", "region", False),
        ("export_customs_started", (("picked_up", 10),), "-07:00", "region", False),
        ("export_customs_cleared", (("picked_up", 10),), "-07:00", "region", False),
        ("departed_origin_country", (("export_customs_cleared", 11),), "-07:00", "region", False),
        ("arrived_at_facility", (EXPORTED,), "+01:00", "country_default", True),
        ("held", (("export_customs_cleared", 11),), "+01:00", "country_default", True),
        ("arrived_destination_country", (EXPORTED,), "+01:00", "country_default", False),
        ("import_customs_held", (EXPORTED,), "+01:00", "country_default", False),
        ("departed_facility", (EXPORTED, IMPORTED), "+01:00", "country_default", False),
        ("info", (EXPORTED, IMPORTED), "+01:00", "country_default", False),
        ("arrived_at_delivery_depot", (), "+01:00", "country_default", False),
        ("out_for_delivery", (), "+01:00", "country_default", False),
        ("delivered", (), "+01:00", "country_default", False),
        # A delivery that was announced says nothing about the parcel.
        ("delivery_scheduled", (), "+01:00", "country_default", False),
        ("sorted", (("delivery_scheduled", 10),), "-07:00", "region", False),
        # A return is under way, and then at the sender's.
        ("sorted", (IMPORTED, ("return_started", 14)), "+01:00", "country_default", True),
        ("return_delivered", (IMPORTED, ("return_started", 14)), "-07:00", "region", False),
    ],
)
def test_a_scan_is_read_where_the_parcel_was(
    code: str,
    earlier: tuple[tuple[str, int], ...],
    offset: str,
    source: str,
    is_ambiguous: bool,
) -> None:
    assert read(CALIFORNIA, BRITAIN, earlier, local(code, 15)) == (offset, source, is_ambiguous)


@pytest.mark.parametrize(
    ("code", "earlier", "offset", "is_ambiguous"),
    [
        ("accepted", (), "+01:00", False),
        ("sorted", (("accepted", 10),), "+01:00", False),
        ("sorted", (EXPORTED,), "-07:00", True),
        ("import_customs_cleared", (EXPORTED,), "-07:00", False),
        ("sorted", (EXPORTED, IMPORTED), "-07:00", False),
        ("available_for_pickup", (), "-07:00", False),
    ],
)
def test_the_way_back_is_read_by_the_same_rules(
    code: str, earlier: tuple[tuple[str, int], ...], offset: str, is_ambiguous: bool
) -> None:
    result = read(BRITAIN, CALIFORNIA, earlier, local(code, 15))
    assert (result[0], result[2]) == (offset, is_ambiguous)


@pytest.mark.parametrize(
    ("origin", "destination", "offset", "is_ambiguous"),
    [
        # Whichever end it is read in, the instant is the same.
        (MADRID, VIENNA, "+02:00", False),
        (MADRID, ATHENS, "+03:00", True),
        (ATHENS, PARIS, "+02:00", True),
    ],
)
def test_between_two_ends_a_zone_is_a_guess_if_their_times_differ(
    origin: ScanPlace, destination: ScanPlace, offset: str, is_ambiguous: bool
) -> None:
    result = read(origin, destination, (EXPORTED,), local("arrived_at_facility", 15))
    assert (result[0], result[2]) == (offset, is_ambiguous)


@pytest.mark.parametrize(
    ("code", "earlier", "offset", "is_ambiguous"),
    [
        ("label_created", (), "-07:00", False),
        ("accepted", (), "-07:00", False),
        ("info", (), "-07:00", False),
        ("arrived_at_facility", (("accepted", 10),), "-07:00", True),
        ("arrived_at_facility", (("accepted", 10), ("departed_facility", 11)), "-04:00", True),
        ("sorted", (("accepted", 10), ("linehaul_departed", 11)), "-04:00", True),
        ("sorted", (("arrived_at_delivery_depot", 14),), "-04:00", False),
        ("delivery_attempted", (("accepted", 10),), "-04:00", False),
    ],
)
def test_a_domestic_parcel_is_read_by_the_regions_of_its_route(
    code: str, earlier: tuple[tuple[str, int], ...], offset: str, is_ambiguous: bool
) -> None:
    result = read(CALIFORNIA, NEW_YORK, earlier, local(code, 15))
    assert result == (offset, "region", is_ambiguous)


def test_a_domestic_route_in_one_zone_leaves_nothing_to_guess() -> None:
    oregon = ScanPlace("US", "OR")
    earlier = (("accepted", 10), ("departed_facility", 11))
    scan = local("arrived_at_facility", 15)
    assert read(CALIFORNIA, oregon, earlier, scan) == ("-07:00", "region", False)


@pytest.mark.parametrize(
    ("place", "offset", "source", "is_ambiguous"),
    [
        # A hub in a third country, with its country or its region.
        (ScanPlace("DE"), "+02:00", "country_default", False),
        (ScanPlace("CA", "BC"), "-07:00", "region", False),
        (ScanPlace("CA"), "-04:00", "country_default", True),
        # A region alone is one of a country of the route.
        (ScanPlace(None, "TX"), "-05:00", "region", False),
        (ScanPlace(None, "SCT"), "+01:00", "country_default", False),
        # So is a postcode alone.
        (ScanPlace(None, None, "90012"), "-07:00", "postal_code", False),
        (ScanPlace(None, None, "60601"), "-05:00", "postal_code", False),
        (ScanPlace(None, None, "SW1A 1AA"), "+01:00", "postal_code", False),
        (ScanPlace("US", None, "96813"), "-10:00", "postal_code", False),
        (ScanPlace("ES", None, "35001"), "+01:00", "postal_code", False),
        (ScanPlace("ES", "MD"), "+02:00", "region", False),
        (ScanPlace(None, None, "K1A 0B1"), "+01:00", "country_default", True),
        # No country of the route has it.
        (ScanPlace(None, "NSW"), "+01:00", "country_default", True),
        (NOWHERE, "+01:00", "country_default", True),
    ],
)
def test_the_own_place_of_a_scan_comes_first(
    place: ScanPlace, offset: str, source: str, is_ambiguous: bool
) -> None:
    scan = local("arrived_at_facility", 15, place=place)
    assert read(CALIFORNIA, BRITAIN, (EXPORTED,), scan) == (offset, source, is_ambiguous)


@pytest.mark.parametrize(
    ("earlier", "offset", "is_ambiguous"),
    [
        # Both Western Australia and Washington are WA.
        ((), "+08:00", False),
        ((IMPORTED,), "-07:00", False),
        ((EXPORTED,), "-07:00", True),
    ],
)
def test_a_region_that_both_countries_have_is_where_the_parcel_was(
    earlier: tuple[tuple[str, int], ...], offset: str, is_ambiguous: bool
) -> None:
    scan = local("sorted", 15, place=ScanPlace(None, "WA"))
    sydney = ScanPlace("AU", "NSW")
    assert read(sydney, CALIFORNIA, earlier, scan) == (offset, "region", is_ambiguous)


def test_without_a_route_a_local_time_is_assumed_to_be_utc() -> None:
    time = ParcelClock().read(local("accepted", 15, place=ScanPlace(None, "CA")))
    assert time == (datetime(2026, 5, 15, 12, tzinfo=UTC), TimezoneSource.ASSUMED_UTC, True)


def test_a_declared_zone_decides_and_a_fold_is_marked() -> None:
    clock = ParcelClock(CALIFORNIA, BRITAIN)
    twice = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001  # a wall-clock time
    scan = LocalScan(EventCode.INFO, twice, "Europe/Vienna", BRITAIN)
    time = clock.read(scan)
    assert time.occurred_at.isoformat() == "2026-10-25T02:30:00+02:00"
    assert (time.source, time.is_ambiguous) == (TimezoneSource.DECLARED, True)


def test_the_order_of_the_scans_does_not_matter() -> None:
    scans = [
        local("accepted", 10),
        local("arrived_at_facility", 11),
        local("departed_origin_country", 12),
        local("sorted", 13),
        local("arrived_destination_country", 14),
        local("departed_facility", 15),
    ]
    times = set()
    for order in permutations(scans):
        clock = ParcelClock.from_scans(CALIFORNIA, BRITAIN, [], order)
        times.add(tuple(clock.read(scan) for scan in scans))
    (only,) = times
    hours = [time.occurred_at.utcoffset() for time in only]
    assert [offset.total_seconds() / 3600 for offset in hours if offset is not None] == [
        -7, -7, -7, 1, 1, 1,
    ]  # fmt: skip
    assert [time.is_ambiguous for time in only] == [False, False, False, True, False, False]


def test_a_scan_with_its_offset_says_where_the_parcel_was_too() -> None:
    time = ScanTime(datetime(2026, 5, 12, 19, tzinfo=UTC), TimezoneSource.CARRIER_OFFSET, False)
    departed = DatedScan(EventCode.DEPARTED_ORIGIN_COUNTRY, time)
    clock = ParcelClock.from_scans(CALIFORNIA, BRITAIN, [departed])
    before, after = clock.read(local("sorted", 12, 11)), clock.read(local("sorted", 13))
    assert (before.is_ambiguous, after.is_ambiguous) == (False, True)
    assert before.occurred_at < time.occurred_at < after.occurred_at


def test_a_guess_is_not_before_the_departure() -> None:
    clock = ParcelClock.from_scans(CALIFORNIA, BRITAIN, [], [local("departed_origin_country", 12)])
    # 15:00 in London would be before 12:00 in California.
    time = clock.read(local("arrived_at_facility", 12, 15))
    assert (time.occurred_at.isoformat()[-6:], time.is_ambiguous) == ("-07:00", True)


@pytest.mark.parametrize(
    ("seen_in", "offset", "is_ambiguous"),
    [
        (CALIFORNIA, "-07:00", False),
        (BRITAIN, "+01:00", False),
        # A hub in a third country.
        (ScanPlace("DE"), "+01:00", True),
        # Where in the country is a guess, which says nothing.
        (ScanPlace("US"), "-07:00", False),
    ],
)
def test_a_scan_with_its_place_says_where_the_parcel_is_from_then_on(
    seen_in: ScanPlace, offset: str, is_ambiguous: bool
) -> None:
    before, seen = local("sorted", 11), local("sorted", 13, place=seen_in)
    clock = ParcelClock.from_scans(CALIFORNIA, BRITAIN, [], [seen])
    results = [clock.read(before), clock.read(local("sorted", 15))]
    assert [(time.occurred_at.isoformat()[-6:], time.is_ambiguous) for time in results] == [
        ("-07:00", False),
        (offset, is_ambiguous),
    ]
