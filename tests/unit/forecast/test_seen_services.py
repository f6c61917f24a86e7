"""The carriers, services and lanes of the training data, and the names that are not among them."""

from __future__ import annotations

from time import perf_counter

import pytest

from eta.api.schemas.messages import MAX_NEAREST_NAMES, MAX_UNSEEN_NAMES, unseen_messages
from eta.forecast import seen_services
from eta.forecast.seen_services import SeenServices, UnseenKind, UnseenName
from eta.forecast.support import SUPPORT_LEVELS, ServiceLane, Support, groups_by_level
from eta.service.estimates.read_coverage import read_coverage

SEEN = SeenServices(
    (
        ServiceLane("post", "parcel", "AT-9", "AT-8", 300),
        ServiceLane("post", "express", "AT-9", "DE-BY", 40),
        ServiceLane("Other", "parcel", "AT-9", "AT-8", 60),
        ServiceLane("tiny", "bike", "AT-9", "AT-9", 3),
        ServiceLane(None, "letter", "DE", "DE", 35),
        ServiceLane("post", None, None, None, 50),
    )
)


def support(*rows: tuple[str, str, str, str, int]) -> Support:
    """The support of parcels by carrier, service, origin, destination and number."""
    counts: dict[str, dict[str, int]] = {level: {} for level in SUPPORT_LEVELS}
    for carrier, service, origin, destination, parcels in rows:
        lane = "?" if "?" in (origin, destination) else f"{origin}>{destination}"
        service = f"{carrier}|{service}"
        group_of = groups_by_level(carrier, service, lane, origin, destination, "0")
        for level in SUPPORT_LEVELS:
            counts[level][group_of[level]] = counts[level].get(group_of[level], 0) + parcels
    return Support(counts)


@pytest.mark.parametrize(
    ("carrier", "service"),
    [
        (None, None),
        ("post", None),
        ("post", "parcel"),
        ("post", "express"),
        ("tiny", "bike"),
        (None, "letter"),
    ],
)
def test_known_names_and_names_not_stated_are_not_unseen(
    carrier: str | None, service: str | None
) -> None:
    assert SEEN.unseen_names(carrier, service) == ()


@pytest.mark.parametrize(
    ("carrier", "service", "unseen"),
    [
        ("pots", None, [(UnseenKind.CARRIER, "pots", None, "post")]),
        ("POST", "parcel", [(UnseenKind.CARRIER, "POST", None, "post")]),
        ("other", None, [(UnseenKind.CARRIER, "other", None, "Other")]),
        ("xyzzy", None, [(UnseenKind.CARRIER, "xyzzy", None, None)]),
        # Too few parcels to be named to others.
        ("tinny", None, [(UnseenKind.CARRIER, "tinny", None, None)]),
        ("post", "exprss", [(UnseenKind.SERVICE, "exprss", "post", "express")]),
        # Other carriers' services are no services of this one.
        ("Other", "express", [(UnseenKind.SERVICE, "express", "Other", None)]),
        (
            "pots",
            "expres",
            [
                (UnseenKind.CARRIER, "pots", None, "post"),
                (UnseenKind.SERVICE, "expres", None, "express"),
            ],
        ),
        # Known, but only with a carrier.
        (None, "express", [(UnseenKind.SERVICE, "express", None, "express")]),
    ],
)
def test_unseen_names_have_the_nearest_known(
    carrier: str | None, service: str | None, unseen: list[tuple[object, ...]]
) -> None:
    expected = tuple(UnseenName(*row) for row in unseen)  # type: ignore[arg-type]  # by position
    assert SEEN.unseen_names(carrier, service) == expected


@pytest.mark.parametrize(
    ("choice", "lane", "is_seen"),
    [
        (("post", "parcel"), ("AT-9", "AT-8"), True),
        (("post", None), ("AT-9", "AT-8"), True),
        (("post", "parcel"), ("AT", "AT-8"), True),
        (("post", "parcel"), ("AT", "AT"), True),
        (("post", "express"), ("AT", "AT"), False),
        (("post", "express"), ("AT-9", "DE-BY"), True),
        (("post", "parcel"), ("AT-1", "AT-8"), False),
        (("tiny", None), ("AT-9", "AT-8"), False),
        # Recorded without regions: it may have been any.
        ((None, "letter"), ("DE-BY", "DE-BE"), True),
        ((None, "letter"), ("DE", "DE"), True),
        ((None, "letter"), ("DE", "AT"), False),
    ],
)
def test_a_choice_is_seen_if_a_parcel_went_with_it_on_the_lane(
    choice: tuple[str | None, str | None], lane: tuple[str, str], is_seen: bool
) -> None:
    assert SEEN.is_choice_seen(*choice, *lane) == is_seen


def test_services_and_lanes_are_read_off_the_counts_of_a_version() -> None:
    rows = support(
        ("post", "express", "AT-9", "AT-8", 40),
        ("?", "?", "AT-9", "AT-8", 50),
        ("post", "?", "?", "?", 7),
        ("a|b", "c|d", "DE", "US-CA", 3),
    ).service_lanes
    assert rows == (
        ServiceLane(None, None, "AT-9", "AT-8", 50),
        ServiceLane("post", "express", "AT-9", "AT-8", 40),
        ServiceLane("post", None, None, None, 7),
        ServiceLane("a|b", "c|d", "DE", "US-CA", 3),
    )


def test_names_are_compared_with_a_bounded_number() -> None:
    rows = tuple(ServiceLane(f"carrier {n}", None, "AT", "AT", 30 + n) for n in range(20_000))
    seen = SeenServices(rows)
    assert seen.unseen_names("carrier 19999", None) == ()
    started = perf_counter()
    (unseen,) = seen.unseen_names("carier 19999", None)
    assert unseen.nearest == "carrier 19999"
    assert perf_counter() - started < 1.0


def test_coverage_names_groups_of_enough_parcels_by_size() -> None:
    coverage = read_coverage(SEEN, carrier=None, limit=10)
    assert coverage.parcels == 488
    assert coverage.carriers.groups == [(("post",), 390), (("Other",), 60)]
    assert (coverage.carriers.total, coverage.carriers.left_out) == (2, 1)
    assert coverage.services.groups == [
        (("post", "parcel"), 300),
        (("Other", "parcel"), 60),
        (("post", "express"), 40),
        (("", "letter"), 35),
    ]
    assert coverage.lanes.groups == [
        (("AT-9", "AT-8"), 360),
        (("AT-9", "DE-BY"), 40),
        (("DE", "DE"), 35),
    ]
    assert coverage.regions.groups == [(("AT-8",), 360), (("DE-BY",), 40), (("DE",), 35)]


def test_coverage_of_one_carrier_counts_its_parcels_alone() -> None:
    coverage = read_coverage(SEEN, carrier="Other", limit=10)
    assert (coverage.parcels, coverage.lanes.groups) == (60, [(("AT-9", "AT-8"), 60)])
    tiny = read_coverage(SEEN, carrier="tiny", limit=10)
    assert (tiny.parcels, tiny.carriers.groups, tiny.carriers.left_out) == (0, [], 1)
    nobody = read_coverage(SEEN, carrier="nobody", limit=10)
    assert (nobody.parcels, nobody.lanes.total, nobody.lanes.left_out) == (0, 0, 0)


def test_coverage_is_cut_at_the_limit_and_says_how_many_there_are() -> None:
    coverage = read_coverage(SEEN, carrier=None, limit=1)
    assert coverage.services.groups == [(("post", "parcel"), 300)]
    assert (coverage.services.total, coverage.services.left_out) == (4, 1)


def test_the_nearest_of_a_few_unseen_names_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(name: str, *_: object, **__: object) -> list[str]:
        compared.append(name)
        return []

    monkeypatch.setattr(seen_services, "get_close_matches", compare)
    choices = [(f"path{number}", f"carrier {number}", "parcel") for number in range(1_000)]
    messages = unseen_messages(SeenServices(SEEN.service_lanes), choices)
    assert len(messages) == MAX_UNSEEN_NAMES
    assert len(compared) == MAX_NEAREST_NAMES


def test_a_name_with_and_without_its_nearest_is_one() -> None:
    others = [("other", f"carrier {number}", None) for number in range(MAX_NEAREST_NAMES)]
    choices = [("first", "pots", None), *others, ("last", "pots", None)]
    first, *rest = unseen_messages(SEEN, choices)
    assert "'post' (and 1 more)" in first["text"]
    assert len(rest) == len(others)
