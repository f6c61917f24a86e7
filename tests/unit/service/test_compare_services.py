"""Comparison of services: the fastest, the safest, the cheapest and the dominated."""

from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eta.domain.vocabulary import Phase, Status, TimezoneSource
from eta.service.estimates.compare_services import compare_services
from eta.service.scoring.assessment import Assessment, AssessmentCode


def assessment(
    estimated: int | None, latest: int | None = None, probability: float | None = None
) -> Assessment:
    """Days of May 2026, None beyond the horizon; without a date at all the answer abstains."""
    return Assessment(
        code=AssessmentCode.OK,
        status=Status.PRE_TRANSIT,
        phase=Phase.ORDER_HANDLING,
        timezone="UTC",
        timezone_source=TimezoneSource.ASSUMED_UTC,
        estimated_on=date(2026, 5, estimated) if estimated else None,
        latest_on=date(2026, 5, latest) if latest else None,
        desired_probability=probability,
        days_left={},
        support_level="",
        support_parcels=0,
    )


def test_fastest_safest_and_cheapest_are_distinguished() -> None:
    comparison = compare_services(
        [assessment(4, 20), assessment(5, 8), assessment(6, 9)], [9.0, 7.0, 5.0]
    )
    assert (comparison.fastest, comparison.safest, comparison.cheapest, comparison.dominated) == (
        0,
        1,
        2,
        (),
    )


def test_a_desired_date_decides_which_is_safest() -> None:
    assert (
        compare_services([assessment(4, 20, 0.7), assessment(5, 8, 0.6)], [None, None]).safest == 0
    )


def test_a_dominated_service_is_named_with_the_dominating_one() -> None:
    comparison = compare_services(
        [assessment(4, 8), assessment(4, 9), assessment(5, 8)], [5.0, 5.0, 4.0]
    )
    assert comparison.dominated == ((1, 0),)
    assert compare_services([assessment(4, 8), assessment(4, 8)], [5.0, 5.0]).dominated == ()


def test_a_missing_price_neither_dominates_nor_is_dominated() -> None:
    comparison = compare_services([assessment(4, 8), assessment(5, 9)], [None, 3.0])
    assert (comparison.cheapest, comparison.dominated) == (1, ())


def test_a_service_without_dates_is_not_compared() -> None:
    assert compare_services([assessment(None), assessment(5)], [1.0, 2.0]).cheapest == 1
    comparison = compare_services([assessment(None)], [1.0])
    assert (comparison.fastest, comparison.safest, comparison.cheapest) == (None, None, None)


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(9, 20), st.sampled_from([None, 3.0, 5.0])),
        min_size=1,
        max_size=8,
    )
)
def test_the_best_are_never_dominated_in_what_they_are_best_in(
    services: list[tuple[int, int, float | None]],
) -> None:
    assessments, prices = (
        [assessment(estimated, latest) for estimated, latest, _ in services],
        [price for _, _, price in services],
    )
    comparison = compare_services(assessments, prices)
    assert comparison.fastest is not None
    assert services[comparison.fastest][0] == min(estimated for estimated, _, _ in services)
    beaten = dict(comparison.dominated)
    # Whoever beats another is beaten by nobody in a circle.
    for number in beaten:
        chain = [number]
        while chain[-1] in beaten and len(chain) <= len(services):
            chain.append(beaten[chain[-1]])
        assert len(chain) <= len(services)
        assert all(services[one] != services[other] for one, other in pairwise(chain))
