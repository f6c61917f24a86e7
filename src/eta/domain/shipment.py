"""Shipments as a shop registers them, and tracking events as carriers report them."""

import math
from dataclasses import dataclass
from datetime import date, datetime

from eta.domain.errors import InvalidValue, NaiveTime
from eta.domain.vocabulary import EventCode

MAX_WEIGHT_KG = 1_000.0
#: The largest number of a scan's correction.
MAX_CORRECTIONS = 1_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """One end of a route: no names and no streets.

    Raises:
        InvalidValue: if the country is not a two-letter code or a coordinate is out of range.
    """

    #: ISO 3166-1 alpha-2, in capitals.
    country: str
    #: State or province in the country's own short form, such as ``SP``.
    region: str | None = None
    postcode: str | None = None
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        is_alphabetic = self.country.isascii() and self.country.isalpha()
        if len(self.country) != 2 or not is_alphabetic or not self.country.isupper():
            problem = f"{self.country!r} is not a country code"
            raise InvalidValue("country", problem, "use two capital letters, such as BR")
        coordinates = ("latitude", self.latitude, 90.0), ("longitude", self.longitude, 180.0)
        for field, degrees, bound in coordinates:
            if degrees is not None and not -bound <= degrees <= bound:
                hint = f"use degrees between -{bound:g} and {bound:g}"
                raise InvalidValue(field, f"{degrees!r} is out of range", hint)


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
            size = getattr(self, field)
            if size is not None and not (math.isfinite(size) and size > 0):
                hint = "give a number above 0, or leave it out"
                raise InvalidValue(field, f"{size!r} is not a size", hint)
        if self.weight_kg is not None and self.weight_kg > MAX_WEIGHT_KG:
            problem = f"{self.weight_kg!r} is too heavy for a parcel"
            raise InvalidValue("weight_kg", problem, f"give kilograms up to {MAX_WEIGHT_KG:g}")
        if self.price is not None and not (math.isfinite(self.price) and self.price >= 0):
            hint = "give a number of at least 0, or leave it out"
            raise InvalidValue("price", f"{self.price!r} is not a price", hint)
        if self.package_count < 1:
            problem = f"{self.package_count!r} is not a number of packages"
            raise InvalidValue("package_count", problem, "give at least 1")


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
    #: Aware; when we received it. It alone decides which features may use the scan.
    received_at: datetime
    #: The source gives no time of receipt; ``received_at`` is ``occurred_at``.
    is_received_at_assumed: bool = False
    #: The carrier's own code, as sent.
    raw_code: str | None = None
    #: Where, in the source's words, without a street.
    place: str | None = None
    #: 0, or 1 and so on for a correction of the event code of the scan with the same carrier's
    #: code, time and place. It counts from its receipt on; its ``raw_code`` is that of the scan, or
    #: else the scan's event code.
    correction_number: int = 0

    def __post_init__(self) -> None:
        for field in ("occurred_at", "received_at"):
            if getattr(self, field).utcoffset() is None:
                raise NaiveTime(field)
