"""An order of several parcels: its ends lie around its pieces, which are quoted as they are alone."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.forecast.order_dependence import MOST, Dependence
from eta.model.bundle import Answering, ServedModel
from eta.model.fallback import ServedMedians
from eta.service.estimates.estimate_delivery import quote_delivery
from eta.service.estimates.estimate_order import OrderQuote, Piece, quote_order
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import Warehouse
from eta.service.scoring.assessment import AnswerCode, Terms
from support.model_app import fixed, save_medians

# One process keeps the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

SERVED = fixed(400).served
ORDERED = datetime(2026, 5, 20, 9, 30, tzinfo=UTC)
AFTERNOON = Warehouse(cutoff=time(15), weekdays=(1, 2, 3, 4, 5))


def piece(
    origin: str = "AT",
    *,
    carrier: str | None = "post",
    warehouse: Warehouse | None = None,
    parcels: int = 1,
    weight_kg: float | None = None,
) -> Piece:
    lane = Shipment(
        shipment_id="piece",
        order_id="piece",
        origin=Place(country=origin),
        destination=Place(country="AT"),
        ordered_at=ORDERED,
        weight_kg=weight_kg,
    )
    return Piece(
        lane=lane, service=CarrierService(carrier=carrier), warehouse=warehouse, parcels=parcels
    )


def ask(*pieces: Piece, served: Answering | None = SERVED, **terms: Any) -> OrderQuote:
    return quote_order(pieces, served, policy=DelayPolicy(), terms=Terms(**terms))


def moving(same: float, other: float) -> ServedModel:
    """The model, with parcels that share so much."""
    assert SERVED
    return replace(SERVED, pieces=Dependence(same=same, other=other, same_pairs=3, other_pairs=4))


def test_each_piece_is_quoted_as_it_is_alone() -> None:
    pieces = [
        piece(),
        piece("DE", warehouse=AFTERNOON),
        piece(carrier="other"),
        piece("DE", carrier="other", warehouse=AFTERNOON),
        piece(weight_kg=3.0),
    ]
    for each, quote in zip(pieces, ask(*pieces).quotes, strict=True):
        (alone,) = quote_delivery(
            each.lane,
            [each.service],
            SERVED,
            policy=DelayPolicy(),
            terms=Terms(),
            warehouse=each.warehouse,
        )
        assert (quote.answer, quote.order_by, quote.handover_on) == (
            alone.answer,
            alone.order_by,
            alone.handover_on,
        )


def test_a_single_parcel_is_first_and_last() -> None:
    told = ask(piece(warehouse=AFTERNOON), wanted_on=date(2026, 5, 25))
    answer = told.quotes[0].answer
    assert told.first == told.last
    assert told.last is not None
    assert (told.last.earliest_on, told.last.estimated_on, told.last.latest_on) == (
        answer.earliest_on,
        answer.estimated_on,
        answer.latest_on,
    )
    assert (told.last.confidence, told.last.wanted_probability) == (
        answer.confidence,
        answer.wanted_probability,
    )
    assert (told.code, told.correlation, told.learned_from_pairs) == (AnswerCode.OK, None, None)


def test_independent_parcels_are_products_of_what_each_is_told() -> None:
    wanted = date(2026, 5, 25)
    told = ask(
        piece(parcels=2),
        piece("DE", warehouse=AFTERNOON),
        served=moving(0.0, 0.0),
        wanted_on=wanted,
    )
    one, other = (quote.answer.wanted_probability or 0.0 for quote in told.quotes)
    assert told.last is not None
    assert told.first is not None
    assert 0.0 < told.last.wanted_probability < 1.0  # type: ignore[operator]  # it was asked for
    assert told.last.wanted_probability == pytest.approx(one**2 * other)
    assert told.first.wanted_probability == pytest.approx(1.0 - (1.0 - one) ** 2 * (1.0 - other))


def test_what_parcels_share_is_that_of_their_origins_and_carriers() -> None:
    wanted = date(2026, 5, 25)

    def last(*pieces: Piece) -> float:
        told = ask(*pieces, served=moving(MOST, 0.0), wanted_on=wanted)
        assert told.last is not None
        return told.last.wanted_probability or 0.0

    together, apart = last(piece(parcels=2)), last(piece(), piece(carrier="other"))
    assert together > apart == pytest.approx(last(piece(), piece("DE")))
    assert together == pytest.approx(last(piece(), piece()))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([piece(parcels=2)], (0.5, 3)),
        ([piece(), piece("DE")], (0.2, 4)),
        ([piece(parcels=2), piece("DE")], (pytest.approx(0.3), 7)),
    ],
)
def test_the_correlation_is_told_with_the_pairs_behind_it(
    pieces: list[Piece], expected: tuple[float, int]
) -> None:
    told = ask(*pieces, served=moving(0.5, 0.2))
    assert (told.correlation, told.learned_from_pairs) == expected


def test_without_a_model_or_enough_parcels_no_end_is_named() -> None:
    for served, code in (
        (None, AnswerCode.NO_MODEL),
        (fixed(3).served, AnswerCode.TOO_LITTLE_SUPPORT),
    ):
        told = ask(piece(), piece("DE"), served=served)
        assert (told.code, told.first, told.last, told.correlation) == (code, None, None, None)
        assert len(told.quotes) == 2
    # From Japan nothing was seen.
    told = ask(piece(), piece("JP"))
    assert (told.code, told.last) == (AnswerCode.TOO_LITTLE_SUPPORT, None)
    assert told.quotes[0].answer.code is AnswerCode.OK


def test_the_lane_medians_answer_for_pieces_alone(tmp_path: Path) -> None:
    medians = ServedMedians(save_medians(tmp_path))
    lane = replace(
        piece().lane,
        origin=Place(country="AT", region="9"),
        destination=Place(country="AT", region="8"),
    )
    told = ask(replace(piece(), lane=lane), served=medians)
    assert told.quotes[0].answer.estimated_on is not None
    assert (told.code, told.first, told.last, told.correlation) == (
        AnswerCode.NO_MODEL,
        None,
        None,
        None,
    )


def test_where_one_of_many_may_never_arrive_the_last_has_no_date() -> None:
    told = ask(piece(parcels=200), served=moving(0.0, 0.0))
    assert told.last is not None
    assert told.first is not None
    assert (told.code, told.last.estimated_on, told.last.confidence) == (
        AnswerCode.MAY_NEVER_ARRIVE,
        None,
        None,
    )
    assert told.first.estimated_on is not None


def test_a_long_handling_does_not_cut_the_last_off() -> None:
    # Monday only, thirty of them.
    slow = Warehouse(cutoff=time(15), weekdays=(1,), handling=(*([0.0] * 30), 1.0))
    told = ask(piece(warehouse=slow), piece())
    assert told.last is not None
    assert told.last.estimated_on == told.quotes[0].answer.estimated_on
    assert told.last.estimated_on is not None
    assert told.last.estimated_on > date(2026, 12, 1)


warehouses = st.sampled_from(
    [None, AFTERNOON, Warehouse(cutoff=time(23), weekdays=(2, 6), handling=(0.5, 0.3, 0.2))]
)
pieces_of_orders = st.lists(
    st.builds(
        piece,
        st.sampled_from(["AT", "DE", "US"]),
        carrier=st.sampled_from([None, "post"]),
        warehouse=warehouses,
        parcels=st.integers(1, 3),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(
    pieces_of_orders, st.floats(0.0, MOST), st.floats(0.0, 1.0), st.sampled_from([0.5, 0.8, 0.9])
)
def test_the_ends_lie_around_the_pieces(
    pieces: list[Piece], same: float, share: float, coverage: float
) -> None:
    told = ask(
        *pieces, served=moving(same, same * share), coverage=coverage, wanted_on=date(2026, 5, 26)
    )
    assert told.first is not None
    assert told.last is not None
    never = date.max
    for end in (told.first, told.last):
        assert (end.earliest_on or never) <= (end.estimated_on or never) <= (end.latest_on or never)
        assert end.confidence is None or end.confidence >= 0.5
    for quote in told.quotes:
        for which in ("earliest_on", "estimated_on", "latest_on"):
            days = [getattr(each, which) or never for each in (told.first, quote.answer, told.last)]
            assert days == sorted(days)
        chances = [
            told.last.wanted_probability,
            quote.answer.wanted_probability,
            told.first.wanted_probability,
        ]
        assert np.all(np.diff(np.array(chances, dtype=np.float64)) >= 0.0)
