"""What a shop tells us about a shipment, and what a carrier tells us about its journey."""

import math
from dataclasses import dataclass
from datetime import date, datetime

from eta.domain.errors import InvalidValue, NaiveTime
from eta.domain.vocabulary import EventCode

MAX_WEIGHT_KG = 1_000.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """One end of a route: no names and no streets.

    Raises:
        InvalidValue: if the country is no two-letter code or a coordinate is off the globe.
    """

    #: ISO 3166-1 alpha-2, in capitals.
    country: str
    #: State or province in the country's own short form, such as ``SP``.
    region: str | None = None
    postcode: str | None = None
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        if not (
            len(self.country) == 2
            and self.country.isascii()
            and self.country.isalpha()
            and self.country.isupper()
        ):
            raise InvalidValue(
                "country",
                f"{self.country!r} is not a country code",
                "use two capital letters, such as BR",
            )
        for field, bound in (("latitude", 90.0), ("longitude", 180.0)):
            value = getattr(self, field)
            if value is not None and not -bound <= value <= bound:
                raise InvalidValue(
                    field,
                    f"{value!r} is off the globe",
                    f"use degrees between -{bound:g} and {bound:g}",
                )


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """One parcel, or several that travel as one, of an order.

    Raises:
        NaiveTime: if ``ordered_at`` has no offset.
        InvalidValue: if a weight, size, price or count is out of range.
    """

    shipment_id: str
    order_id: str
    origin: Place
    destination: Place
    #: Aware; the moment the shop took the order.
    ordered_at: datetime
    carrier: str | None = None
    service_level: str | None = None
    weight_kg: float | None = None
    length_cm: float | None = None
    width_cm: float | None = None
    height_cm: float | None = None
    #: Local calendar date at the destination by whose end the shop promised delivery.
    promised_on: date | None = None
    price: float | None = None
    package_count: int = 1
    #: The order ships from several places; ``origin`` is that of its first item.
    has_several_origins: bool = False

    def __post_init__(self) -> None:
        if self.ordered_at.utcoffset() is None:
            raise NaiveTime("ordered_at")
        for field in ("weight_kg", "length_cm", "width_cm", "height_cm"):
            value = getattr(self, field)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidValue(
                    field, f"{value!r} is not a size", "give a number above 0, or leave it out"
                )
        if self.weight_kg is not None and self.weight_kg > MAX_WEIGHT_KG:
            raise InvalidValue(
                "weight_kg",
                f"{self.weight_kg!r} is no parcel",
                f"give kilograms up to {MAX_WEIGHT_KG:g}",
            )
        if self.price is not None and not (math.isfinite(self.price) and self.price >= 0):
            raise InvalidValue(
                "price",
                f"{self.price!r} is not a price",
                "give a number of at least 0, or leave it out",
            )
        if self.package_count < 1:
            raise InvalidValue(
                "package_count", f"{self.package_count!r} packages cannot travel", "give at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class TrackingEvent:
    """One scan.

    Raises:
        NaiveTime: if a time has no offset.
    """

    shipment_id: str
    event_code: EventCode
    #: Aware; when it happened.
    occurred_at: datetime
    #: Aware; when we learned it. The only thing that decides what was known when.
    received_at: datetime
    #: The source did not say when it told us; ``received_at`` is ``occurred_at``.
    is_received_at_assumed: bool = False
    #: The carrier's own code, as sent.
    raw_code: str | None = None
    #: Where, in the source's own words, without a street.
    place: str | None = None

    def __post_init__(self) -> None:
        for field in ("occurred_at", "received_at"):
            if getattr(self, field).utcoffset() is None:
                raise NaiveTime(field)
