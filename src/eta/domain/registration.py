"""What a shop registers with us, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from eta.domain.errors import InvalidValue
from eta.domain.shipment import Place, Shipment

_ENDS = ("origin", "destination")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A shipment that is to be followed; ``shipment`` bears no id of ours yet.

    Raises:
        InvalidValue: if there is a tracking number without its carrier.
    """

    shipment: Shipment
    #: The shop's own number.
    external_id: str | None = None
    #: The number under which the carrier tells of it.
    tracking_number: str | None = None
    #: The estimate whose date was shown; it becomes the promise where none is given.
    estimate_id: str | None = None

    def __post_init__(self) -> None:
        if self.tracking_number and not self.shipment.carrier:
            raise InvalidValue(
                "carrier",
                "a tracking number is one carrier's",
                "send carrier_code with tracking_number",
            )

    @property
    def carrier_number(self) -> str | None:
        """The carrier's number with the carrier: the same number at another carrier is another parcel."""
        return carrier_number(self.shipment.carrier, self.tracking_number)

    def to_attributes(self) -> dict[str, Any]:
        """Plain values, nothing that is not known."""
        attributes = {
            name: value for name, value in vars(self.shipment).items() if name != "shipment_id"
        }
        attributes |= {
            end: {name: value for name, value in vars(attributes[end]).items() if value is not None}
            for end in _ENDS
        }
        attributes |= {
            "ordered_at": self.shipment.ordered_at.astimezone(UTC).isoformat(),
            "promised_on": self.shipment.promised_on and self.shipment.promised_on.isoformat(),
        }
        attributes |= {
            "tracking_number": self.tracking_number and _normalized(self.tracking_number),
            "estimate_id": self.estimate_id,
        }
        return {name: value for name, value in attributes.items() if value is not None}

    @classmethod
    def from_attributes(
        cls, attributes: Mapping[str, Any], shipment_id: str, external_id: str | None
    ) -> Registration:
        """What ``to_attributes`` wrote."""
        values = {
            name: value
            for name, value in attributes.items()
            if name not in ("tracking_number", "estimate_id")
        }
        values |= {end: Place(**attributes[end]) for end in _ENDS} | {
            "ordered_at": datetime.fromisoformat(attributes["ordered_at"])
        }
        if "promised_on" in attributes:
            values["promised_on"] = date.fromisoformat(attributes["promised_on"])
        shipment = Shipment(**{**values, "shipment_id": shipment_id})
        return cls(
            shipment=shipment,
            external_id=external_id,
            tracking_number=attributes.get("tracking_number"),
            estimate_id=attributes.get("estimate_id"),
        )


def carrier_number(carrier: str | None, tracking_number: str | None) -> str | None:
    """A carrier's number with the carrier, None without either."""
    return f"{_normalized(tracking_number)}|{carrier}" if carrier and tracking_number else None


def _normalized(tracking_number: str) -> str:
    """Carriers print the same number with blanks and without, and in either case."""
    return "".join(tracking_number.split()).upper()
