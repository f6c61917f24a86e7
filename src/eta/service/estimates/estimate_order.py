"""When the first and the last parcel of an order arrive that travels as several, before it is bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import LIBRARY, Holidays
from eta.calendars.local_time import local_dates, to_instant
from eta.curves import Curves
from eta.delays import DelayPolicy
from eta.domain.shipment import Shipment
from eta.forecast.order_dependence import all_by, any_by
from eta.journey.categories import Labels
from eta.local_dates import (
    chances_of_days,
    curves_of_days,
    dates_at,
    probability_by_day,
    window_levels,
)
from eta.model.bundle import Answering, ServedModel
from eta.service.estimates.estimate_delivery import Quote, quote_delivery
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import Warehouse
from eta.service.scoring.assessment import AnswerCode, Terms


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Like parcels of an order, each of which travels alone."""

    #: One of the parcels; ``ordered_at`` and the destination are those of the order.
    lane: Shipment
    service: CarrierService
    warehouse: Warehouse | None = None
    parcels: int = 1


@dataclass(frozen=True)
class End:
    """The first or the last parcel; dates are local days at the destination, None beyond the horizon."""

    earliest_on: date | None
    estimated_on: date | None
    latest_on: date | None
    #: P(arrival on or before ``estimated_on``).
    confidence: float | None
    #: P(arrival on or before the day that somebody wants it by).
    wanted_probability: float | None


@dataclass(frozen=True)
class OrderQuote:
    """What is said about an order; without ``first`` and ``last``, ``code`` says why."""

    code: AnswerCode
    #: In the order of the pieces.
    quotes: Sequence[Quote]
    first: End | None = None
    last: End | None = None
    #: Mean over the pairs of parcels, and the pairs from which it was learned; None of a single
    #: parcel, and without a model.
    correlation: float | None = None
    learned_from_pairs: int | None = None


def quote_order(
    pieces: Sequence[Piece],
    served: Answering | None,
    *,
    policy: DelayPolicy,
    terms: Terms,
    holidays: Holidays = LIBRARY,
) -> OrderQuote:
    """The quote of each piece, and those of the first and the last of all their parcels, as of the order.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    quotes = _quotes(pieces, served, policy, terms, holidays)
    codes = {quote.answer.code for quote in quotes}
    missing = next(
        (code for code in (AnswerCode.NO_MODEL, AnswerCode.TOO_LITTLE_SUPPORT) if code in codes),
        None,
    )
    # The lane medians know the parcels of a lane, and not how they go together.
    if missing or not isinstance(served, ServedModel):
        return OrderQuote(missing or AnswerCode.NO_MODEL, quotes)
    instant = np.array([to_instant(pieces[0].lane.ordered_at)])
    zone = Labels(np.zeros(1, dtype=np.int32), (quotes[0].answer.timezone,))
    ordered_on = local_dates(instant, zone.codes, zone.names)
    laws = [law for quote in quotes if (law := quote.law)]
    days = max(ceil(law.hours[0, -1] / 24.0) for law in laws) + 1
    chances = np.vstack([chances_of_days(law, instant, ordered_on, days, zone) for law in laws])
    count, sender = np.array([piece.parcels for piece in pieces]), _senders(pieces)
    joint = np.stack([made(chances, count, sender, served.pieces) for made in (any_by, all_by)])
    both = np.zeros(2, dtype=np.int64)
    curves = curves_of_days(
        np.clip(joint, 0.0, 1.0), instant[both], ordered_on[both], zone.take(both)
    )
    first, last = _ends(curves, instant[both], zone.take(both), terms)
    found = served.pieces.between(sender, count)
    return OrderQuote(
        AnswerCode.OK if last.estimated_on else AnswerCode.MAY_NEVER_ARRIVE,
        quotes,
        first,
        last,
        *(found or ()),
    )


def _quotes(
    pieces: Sequence[Piece],
    served: Answering | None,
    policy: DelayPolicy,
    terms: Terms,
    holidays: Holidays,
) -> list[Quote]:
    """One quote a piece: those that differ in their service alone are asked about at once."""
    alike: dict[tuple[Shipment, Warehouse | None], list[int]] = {}
    for number, piece in enumerate(pieces):
        alike.setdefault((piece.lane, piece.warehouse), []).append(number)
    told: dict[int, Quote] = {}
    for (lane, warehouse), numbers in alike.items():
        services = [pieces[number].service for number in numbers]
        found = quote_delivery(
            lane,
            services,
            served,
            policy=policy,
            terms=terms,
            warehouse=warehouse,
            holidays=holidays,
        )
        told |= dict(zip(numbers, found, strict=True))
    return [told[number] for number in range(len(pieces))]


def _senders(pieces: Sequence[Piece]) -> NDArray[np.int64]:
    """A number for each origin and carrier, (P,)."""
    keys = [
        (piece.lane.origin.country, piece.lane.origin.region, piece.service.carrier)
        for piece in pieces
    ]
    return np.array([keys.index(key) for key in keys], dtype=np.int64)


def _ends(curves: Curves, as_of: NDArray[np.datetime64], zone: Labels, terms: Terms) -> list[End]:
    dates = dates_at(curves, window_levels(terms.coverage), as_of, zone)
    wanted_on = np.full(len(curves), np.datetime64(terms.wanted_on, "D"))
    chances = probability_by_day(curves, as_of, np.column_stack([dates[:, 1], wanted_on]), zone)
    return [
        End(*days, *(None if np.isnan(chance) else chance for chance in own))
        for days, own in zip(dates.tolist(), chances.tolist(), strict=True)
    ]
