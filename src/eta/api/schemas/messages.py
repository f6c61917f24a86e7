"""Messages: what of a request or of the model makes an answer less certain than it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from eta.api.schemas.common import response_dict
from eta.calendars.places import known_region, place_name
from eta.calendars.postcodes import region_at, region_of_place, region_of_postcode
from eta.domain.shipment import Place, Shipment
from eta.forecast.seen_services import SeenServices, UnseenKind, UnseenName
from eta.model.hot_swap import ActiveModel
from eta.service.estimates.estimate_order import OrderParcel
from eta.service.estimates.hypothetical_shipments import CarrierService

#: What to do about a name that resembles none that is known.
_HINT = "check the spelling; GET /v1/coverage lists what it has seen"

#: Names of one answer that are reported; a batch can hold thousands.
MAX_UNSEEN_NAMES = 50

#: Of so many of them the nearest known name is found, which takes a while.
MAX_NEAREST_NAMES = 5


@response_dict
class Message(TypedDict):
    """What makes an answer less certain than it looks."""

    code: Literal[
        "carrier_not_seen",
        "service_not_seen",
        "choice_not_seen",
        "model_outdated",
        "model_simulated",
        "region_not_known",
        "postal_code_elsewhere",
    ]
    text: str
    path: Annotated[
        str, Field(description="The part of the request that it is about; empty for all of it.")
    ]


def age_messages(current: ActiveModel, at: datetime) -> list[Message]:
    """The message about a model that is too old, or simulated, at a moment."""
    problem = current.age_problem(at)
    if problem is None:
        return []
    return [
        {
            "code": "model_simulated" if current.is_simulated else "model_outdated",
            "text": problem,
            "path": "",
        }
    ]


def unseen_messages(
    seen: SeenServices | None, choices: Iterable[tuple[str, str | None, str | None]]
) -> list[Message]:
    """A message a carrier or service that the model has not seen.

    Of each name the first occurrence is reported. ``choices`` are paths in the request, carriers
    and services. Without a model nothing is known.
    """
    if seen is None:
        return []
    names: dict[UnseenName, UnseenName] = {}
    paths: dict[UnseenName, list[str]] = {}
    for path, carrier, service in choices:
        if len(paths) >= MAX_UNSEEN_NAMES:
            break
        finds_nearest = len(paths) < MAX_NEAREST_NAMES
        for unseen in seen.unseen_names(carrier, service, finds_nearest=finds_nearest):
            name = names.setdefault(unseen._replace(nearest=None), unseen)
            paths.setdefault(name, []).append(path or f"{name.kind}_code")
    return [_unseen_message(name, found) for name, found in paths.items()]


def shipment_messages(
    current: ActiveModel, carrier: str | None, service: str | None, at: datetime | None = None
) -> list[Message]:
    """The messages about one shipment; without a moment, about its carrier and service alone."""
    messages = unseen_messages(current.seen_services, [("", carrier, service)])
    return messages if at is None else [*messages, *age_messages(current, at)]


def service_messages(
    field: str, services: Iterable[CarrierService], current: ActiveModel, at: datetime
) -> list[Message]:
    """The messages about the services in a field of a request, and about the model's age."""
    choices = (
        (f"{field}[{index}]", service.carrier, service.service_level)
        for index, service in enumerate(services)
    )
    return [*unseen_messages(current.seen_services, choices), *age_messages(current, at)]


def place_messages(ends: Iterable[tuple[str, Place]]) -> list[Message]:
    """The messages about places, each with its path in the request; at most so many."""
    messages: list[Message] = []
    for path, place in ends:
        if len(messages) >= MAX_UNSEEN_NAMES:
            break
        country, region = place.country, place.region
        if region and known_region(country, region) is None:
            messages.append(_region_message(f"{path}.state", place_name(country, region)))
        elif region and (other := _region_elsewhere(country, region, place.postcode)):
            messages.append(_postcode_message(f"{path}.postal_code", region, other))
    return messages


def lane_messages(lane: Shipment) -> list[Message]:
    """The messages about the two ends of a lane."""
    return place_messages(
        [("origin_address", lane.origin), ("destination_address", lane.destination)]
    )


def order_place_messages(parcels: Sequence[OrderParcel]) -> list[Message]:
    """The messages about the origins of an order's parcels and about their destination."""
    ends = [
        (f"parcels[{index}].origin_address", parcel.lane.origin)
        for index, parcel in enumerate(parcels)
    ]
    return place_messages([*ends, ("destination_address", parcels[0].lane.destination)])


def _region_message(path: str, region: str | None) -> Message:
    text = f"holidays and time zone of {region} are not known: those of the country count"
    return {"code": "region_not_known", "text": text, "path": path}


def _postcode_message(path: str, region: str, other: str) -> Message:
    text = f"the postcode lies in {other}, not in {region}: {region} counts; correct one of them"
    return {"code": "postal_code_elsewhere", "text": text, "path": path}


@lru_cache(maxsize=100_000)
def _region_elsewhere(country: str, region: str, postcode: str | None) -> str | None:
    """The region of a postcode, if it is neither the given one nor a part of it."""
    by_postcode = region_of_postcode(country, postcode)
    return None if by_postcode == region_at(country, region, postcode) else by_postcode


def _unseen_message(unseen: UnseenName, paths: list[str]) -> Message:
    more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return {
        "code": "carrier_not_seen" if unseen.kind is UnseenKind.CARRIER else "service_not_seen",
        "text": f"{unseen.describe(_HINT)}{more}",
        "path": paths[0],
    }


def choice_messages(
    seen: SeenServices | None, lane: Shipment, services: list[CarrierService]
) -> list[Message]:
    """A message a known service without a parcel on the lane, if several are compared."""
    if seen is None or len(services) < 2:
        return []
    origin = place_name(lane.origin.country, region_of_place(lane.origin))
    destination = place_name(lane.destination.country, region_of_place(lane.destination))
    messages: list[Message] = []
    if origin is None or destination is None:
        return messages
    for index, service in enumerate(services):
        choice = (service.carrier, service.service_level)
        is_known = choice != (None, None) and not seen.unseen_names(*choice)
        if is_known and not seen.is_choice_seen(*choice, origin, destination):
            path = f"carriers[{index}]"
            messages.append({"code": "choice_not_seen", "text": _CHOICE_TEXT, "path": path})
    return messages


_CHOICE_TEXT = (
    "no parcel of this service on this lane is in the data that the model learned from: its"
    " estimate comes from other services or lanes, so compare it with care"
)
