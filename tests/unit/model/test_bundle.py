"""The arrival correlation of a version: learned from its check, or the default; saved with it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.delays import DelayPolicy
from eta.domain.errors import ModelCorrupted
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.journey.timelines import Timelines
from eta.model.bundle import ARRIVAL_CORRELATION, ModelBundle
from eta.model.fallback import FALLBACK_FILE
from eta.model.registry import Registry
from eta.model.train import train_model
from support.journeys import START, parcels

# One process compiles the loops once.
pytestmark = pytest.mark.xdist_group("api")


def make(**parameters: Any) -> HazardModel:
    return HazardModel(**({"trees": 10, "leaves": 6, "leaf_rows": 20} | parameters))


def train(
    folder: Path, frames: tuple[pd.DataFrame, pd.DataFrame], *, days: int, jobs: int = 1
) -> ModelBundle:
    """A model trained ``days`` after the start."""
    registry = Registry(folder)
    name = train_model(
        Timelines.from_frames(*frames),
        registry,
        as_of=START + timedelta(days=days),
        source="test",
        make=make,
        rivals={},
        policy=DelayPolicy(),
        jobs=jobs,
    )
    return ModelBundle.from_version(registry.load(name), make, PUBLIC_HOLIDAYS)


def test_a_version_learns_the_arrival_correlation_from_its_check(tmp_path: Path) -> None:
    shipments, events = parcels(500, days=100, known_through_days=100)
    alone = train(tmp_path / "alone", (shipments, events), days=100).arrival_correlation
    assert alone.within_sender_pairs > 20
    assert alone.between_senders_pairs > 20
    assert alone.within_sender < 0.27
    # Every parcel has a twin that shares its fate.
    twins = [frame.assign(shipment_id=frame["shipment_id"] + "b") for frame in (shipments, events)]
    paired = train(
        tmp_path / "paired",
        (pd.concat([shipments, twins[0]]), pd.concat([events, twins[1]])),
        days=100,
    ).arrival_correlation
    assert paired.within_sender_pairs > alone.within_sender_pairs
    assert paired.within_sender > 0.33


def test_two_processes_train_the_same_version_as_one(tmp_path: Path) -> None:
    frames = parcels(500, days=100, known_through_days=100)
    one = train(tmp_path / "one", frames, days=100)
    two = train(tmp_path / "two", frames, days=100, jobs=2)
    # The name holds a digest of every byte of the version.
    assert one.version == two.version
    assert one.arrival_correlation.within_sender_pairs > 20
    fallback, other = (tmp_path / run / FALLBACK_FILE for run in ("one", "two"))
    assert fallback.read_bytes() == other.read_bytes()


def test_a_version_without_a_check_has_the_default_correlation(tmp_path: Path) -> None:
    assert (
        train(tmp_path, parcels(400, days=50, known_through_days=50), days=50).arrival_correlation
        == ArrivalCorrelation()
    )


def test_the_correlation_is_read_and_a_missing_part_is_refused(
    tmp_path: Path,
) -> None:
    frames = parcels(400, days=50, known_through_days=50)
    train(tmp_path, frames, days=50)
    registry = Registry(tmp_path)
    version = registry.load(registry.names()[0])
    other = replace(
        version,
        files={
            **version.files,
            ARRIVAL_CORRELATION: b'{"within_sender": 0.5, "between_senders": 0.25, '
            b'"within_sender_pairs": 7, "between_senders_pairs": 8}',
        },
    )
    assert ModelBundle.from_version(
        other, make, PUBLIC_HOLIDAYS
    ).arrival_correlation == ArrivalCorrelation(
        within_sender=0.5, between_senders=0.25, within_sender_pairs=7, between_senders_pairs=8
    )
    for part in version.files:
        lacking = replace(
            version,
            files={name: content for name, content in version.files.items() if name != part},
        )
        with pytest.raises(ModelCorrupted, match=f"lacks '{part}'; train again with `eta train"):
            ModelBundle.from_version(lacking, make, PUBLIC_HOLIDAYS)
