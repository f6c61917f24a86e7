"""A shipment as a shop registers it, and its stored form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from eta.domain.errors import InvalidValue
from eta.domain.shipment import Place, Shipment

#: The longest id of a shop, and what a carrier's tracking number looks like.
MAX_ID_LENGTH = 128
#: What a new id of a shop looks like. Lists of ids are separated by commas, and blanks other than
#: a space within it, and characters that are not seen, are lost or mistaken when an id is copied.
_UNSEEN = (
    r"\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
)
IDENTIFIER_PATTERN = rf"^[^{_UNSEEN} ,](?:[^{_UNSEEN},]*[^{_UNSEEN} ,])?$"
TRACKING_NUMBER_PATTERN = r"^[A-Za-z0-9](?:[A-Za-z0-9 ._/-]{0,62}[A-Za-z0-9])?$"

_ENDS = ("origin", "destination")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A shipment to track; its ``shipment_id`` is not assigned yet.

    Raises:
        InvalidValue: if there is a tracking number without its carrier.
    """

    shipment: Shipment
    #: The shop's number.
    external_id: str | None = None
    #: The number under which the carrier reports its events.
    tracking_number: str | None = None
    #: The estimate whose date was shown; it becomes the promise if none is given.
    estimate_id: str | None = None

    def __post_init__(self) -> None:
        if self.tracking_number and not self.shipment.carrier:
            problem = "a tracking number belongs to a carrier"
            raise InvalidValue("carrier", problem, "send carrier_code with tracking_number")

    @property
    def carrier_number(self) -> str | None:
        """The tracking number with its carrier; at another carrier it is another parcel's."""
        return carrier_number(self.shipment.carrier, self.tracking_number)

    def to_attributes(self) -> dict[str, Any]:
        """Plain values, without those that are None."""
        shipment = self.shipment
        attributes = dict(vars(shipment))
        del attributes["shipment_id"]
        for end in _ENDS:
            attributes[end] = _without_none(vars(attributes[end]))
        attributes["ordered_at"] = shipment.ordered_at.astimezone(UTC).isoformat()
        if shipment.promised_on:
            attributes["promised_on"] = shipment.promised_on.isoformat()
        attributes["tracking_number"] = self.tracking_number and _normalized(self.tracking_number)
        attributes["estimate_id"] = self.estimate_id
        return _without_none(attributes)

    @classmethod
    def from_attributes(
        cls, attributes: Mapping[str, Any], shipment_id: str, external_id: str | None
    ) -> Registration:
        """The inverse of ``to_attributes``."""
        values = dict(attributes)
        tracking_number = values.pop("tracking_number", None)
        estimate_id = values.pop("estimate_id", None)
        for end in _ENDS:
            values[end] = Place(**attributes[end])
        values["ordered_at"] = datetime.fromisoformat(attributes["ordered_at"])
        if "promised_on" in attributes:
            values["promised_on"] = date.fromisoformat(attributes["promised_on"])
        values["shipment_id"] = shipment_id
        return cls(
            shipment=Shipment(**values),
            external_id=external_id,
            tracking_number=tracking_number,
            estimate_id=estimate_id,
        )


def check_identifier(field: str, text: str) -> None:
    """Checks that a new id of a shop can be read back by it.

    Raises:
        InvalidValue: if it is too long, or holds a character that an id cannot have.
    """
    if len(text) > MAX_ID_LENGTH:
        raise InvalidValue(field, "it is too long", f"use at most {MAX_ID_LENGTH} characters")
    if not re.fullmatch(IDENTIFIER_PATTERN, text):
        problem = "a comma, a blank at an end or an unseen character in an id cannot be read back"
        raise InvalidValue(field, problem, "remove it")


def carrier_number(carrier: str | None, tracking_number: str | None) -> str | None:
    """A tracking number with its carrier; None if either is missing."""
    if not (carrier and tracking_number):
        return None
    return f"{_normalized(tracking_number)}|{carrier}"


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _normalized(tracking_number: str) -> str:
    """Removes blanks and uses capitals: carriers print the same number in several ways."""
    return "".join(tracking_number.split()).upper()
