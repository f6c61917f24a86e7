"""Shares of a limit: no tenant and no key takes what others need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.api.admission import Admission
from eta.api.problem_details import ProblemError
from eta.api.shares import SharedLimit, Shortage
from eta.domain.access import Principal

ONE, TWO = Principal("a", name="one"), Principal("a", name="two")
OTHER, THIRD = Principal("b", name="three"), Principal("c", name="four")


def limit(total: int, *principals: Principal) -> SharedLimit:
    counts: dict[str, int] = {}
    for principal in principals:
        counts[principal.tenant] = counts.get(principal.tenant, 0) + 1
    return SharedLimit(total, lambda: counts)


def taken(shared: SharedLimit, principal: Principal) -> int:
    """How many units a caller gets until it is refused."""
    count = 0
    while shared.take(principal, 1) is None:
        count += 1
    return count


def test_a_lone_key_gets_everything() -> None:
    shared = limit(100, ONE)
    assert taken(shared, ONE) == 100
    assert shared.take(ONE, 1) is Shortage.TOTAL


def test_a_tenant_gets_half_and_leaves_the_rest_to_others() -> None:
    shared = limit(100, ONE, OTHER, THIRD)
    assert taken(shared, ONE) == 50
    assert shared.take(ONE, 1) is Shortage.SHARE
    assert taken(shared, OTHER) == 25
    assert taken(shared, THIRD) == 12


def test_a_key_leaves_as_much_to_the_other_keys_of_its_tenant() -> None:
    alone = limit(100, ONE, TWO)
    assert taken(alone, ONE) == 50
    assert taken(alone, TWO) == 25
    with_others = limit(100, ONE, TWO, OTHER)
    assert taken(with_others, ONE) == 25
    assert taken(with_others, TWO) > 5
    assert taken(with_others, OTHER) > 25


def test_a_tenant_that_holds_nothing_gets_what_is_free() -> None:
    shared = limit(10, ONE, OTHER)
    assert shared.take(ONE, 5) is None
    assert shared.take(OTHER, 5) is None
    assert shared.take(THIRD, 1) is Shortage.TOTAL


def test_what_is_given_back_can_be_taken_again() -> None:
    shared = limit(4, ONE, OTHER)
    for _ in range(20):
        assert shared.take(ONE, 2) is None
        assert shared.take(ONE, 1) is Shortage.SHARE
        shared.give_back(ONE, 2)
    assert shared.held == 0


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO, OTHER, THIRD]), st.integers(1, 8))))
def test_no_caller_exhausts_a_limit_for_a_tenant_that_holds_nothing(
    requests: list[tuple[Principal, int]],
) -> None:
    shared = limit(64, ONE, TWO, OTHER, THIRD)
    for principal, amount in requests:
        if principal is not THIRD:
            shared.take(principal, amount)
    assert shared.take(THIRD, 8) is None


def test_a_refusal_says_whose_limit_it_is_and_when_to_try_again() -> None:
    admission = Admission("1000/second", lambda: {"a": 1, "b": 1})
    for kind, principal, status in (("score", ONE, 429), ("read", ONE, 429)):
        shared = admission.slots[kind]  # type: ignore[index]
        assert taken(shared, principal) == shared.total // 2
        with pytest.raises(ProblemError) as refusal, admission.slot(kind, principal):  # type: ignore[arg-type]
            pass
        assert refusal.value.status_code == status
        assert 1 <= int((refusal.value.headers or {})["Retry-After"]) <= 5
    admission.slots["score"].total = 0
    with pytest.raises(ProblemError) as refusal, admission.slot("score", OTHER):
        pass
    assert refusal.value.status_code == 503


def test_the_bytes_of_a_body_are_given_back_at_the_end() -> None:
    admission = Admission("1000/second", lambda: {"a": 1, "b": 1})
    for _ in range(100):
        with admission.body_bytes(ONE) as body_bytes:
            body_bytes.hold(2**23)
            body_bytes.hold(2**22)
            assert body_bytes.held == 2**23
