"""Schemas of what a model has learned from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from eta.api.schemas.common import ResponseModel
from eta.api.schemas.messages import Message
from eta.forecast.support import MIN_PARCELS
from eta.service.estimates.read_coverage import Coverage, GroupList

Parcels = Annotated[
    int, Field(ge=MIN_PARCELS, description="Parcels that arrived in the training data.")
]


class CarrierCoverage(ResponseModel):
    """A carrier that the model has seen."""

    carrier_code: str
    parcels: Parcels


class ServiceCoverage(ResponseModel):
    """A service that the model has seen."""

    carrier_code: Annotated[str | None, Field(description="Null if the data do not name it.")]
    service_code: str
    parcels: Parcels


class CoveredPlace(ResponseModel):
    """A country and a region, under the names of an address."""

    country: str
    state: Annotated[str | None, Field(description="Null if the data do not name it.")]


class LaneCoverage(ResponseModel):
    """A lane that the model has seen."""

    origin: CoveredPlace
    destination: CoveredPlace
    parcels: Parcels


class RegionCoverage(CoveredPlace):
    """A region of destination that the model has seen."""

    parcels: Parcels


class GroupCounts(ResponseModel):
    """Numbers of groups."""

    carriers: int
    services: int
    lanes: int
    regions: int


class ModelCoverage(ResponseModel):
    """What the active version has learned from; each list has the largest groups first."""

    object: Literal["coverage"] = "coverage"
    model_version: str | None
    data_through: datetime | None
    min_parcels: Annotated[int, Field(description="Smaller groups are left out.")]
    parcels: Annotated[int, Field(description="All parcels; 0 if they are fewer.")]
    carriers: list[CarrierCoverage]
    services: list[ServiceCoverage]
    lanes: list[LaneCoverage]
    regions: list[RegionCoverage]
    totals: Annotated[GroupCounts, Field(description="Groups, also those beyond `limit`.")]
    left_out: Annotated[GroupCounts, Field(description="Groups that are too small to be named.")]
    messages: list[Message]


def to_model_coverage(
    coverage: Coverage,
    version: str | None,
    data_through: datetime | None,
    messages: list[Message],
) -> ModelCoverage:
    """The coverage under the names of the HTTP API."""
    return ModelCoverage(
        model_version=version,
        data_through=data_through,
        min_parcels=MIN_PARCELS,
        parcels=coverage.parcels,
        carriers=[
            CarrierCoverage(carrier_code=carrier, parcels=parcels)
            for (carrier,), parcels in coverage.carriers.groups
        ],
        services=_services(coverage.services),
        lanes=_lanes(coverage.lanes),
        regions=_regions(coverage.regions),
        totals=_counts(coverage, "total"),
        left_out=_counts(coverage, "left_out"),
        messages=messages,
    )


def _services(services: GroupList) -> list[ServiceCoverage]:
    return [
        ServiceCoverage(carrier_code=carrier or None, service_code=service, parcels=parcels)
        for (carrier, service), parcels in services.groups
    ]


def _lanes(lanes: GroupList) -> list[LaneCoverage]:
    return [
        LaneCoverage(origin=_place(origin), destination=_place(destination), parcels=parcels)
        for (origin, destination), parcels in lanes.groups
    ]


def _regions(regions: GroupList) -> list[RegionCoverage]:
    covered = []
    for (name,), parcels in regions.groups:
        place = _place(name)
        covered.append(RegionCoverage(country=place.country, state=place.state, parcels=parcels))
    return covered


def _place(name: str) -> CoveredPlace:
    country, _, region = name.partition("-")
    return CoveredPlace(country=country, state=region or None)


def _counts(coverage: Coverage, number: Literal["total", "left_out"]) -> GroupCounts:
    lists = ("carriers", "services", "lanes", "regions")
    return GroupCounts(**{name: getattr(getattr(coverage, name), number) for name in lists})
