"""The fallback: lane quantiles, which give dates while no model is active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from eta.calendars.local_time import to_instant
from eta.forecast.baselines.lane_quantiles import LaneQuantiles
from eta.forecast.handling_time import HandlingTimes
from eta.journey.examples import Outcomes, examples
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import training_snapshots
from eta.journey.timelines import Timelines
from eta.model.registry import Registry
from eta.stage_durations import NO_DURATIONS, StageDurations
from eta.stored_values import TRAIN_AGAIN

#: The file is beside the versions, so that it survives if they are deleted.
FALLBACK_FILE = "lane_quantiles.json"

#: Files that older programs wrote, with their names of today; delete it at the first release.
RENAMED_FILES: Mapping[str, str] = {"lane_medians.json": FALLBACK_FILE}


def fit_fallback(timelines: Timelines, registry: Registry, as_of: datetime) -> int:
    """Fits the fallback to what was received by ``as_of`` (aware) and returns its number of groups.

    Writes it if it has any group.
    """
    known_through = to_instant(as_of)
    snapshots = training_snapshots(timelines, known_through)
    outcomes = Outcomes.at(timelines, known_through)
    fallback = LaneQuantiles.fit(examples(snapshots, outcomes))
    groups = sum(map(len, fallback.distributions.values()))
    if groups:
        save_fallback(registry, fallback)
    return groups


@dataclass(frozen=True)
class FallbackBundle:
    """The fallback in the place of a model; without place effects and stage durations."""

    model: LaneQuantiles
    #: Of the model version that it replaces, if there is one.
    handling: HandlingTimes = field(default_factory=HandlingTimes)
    #: Whether it replaces a model version that took too long.
    is_timed_out: bool = False
    version: ClassVar[None] = None
    place_effects: ClassVar[PlaceEffects] = PlaceEffects()
    stage_durations: ClassVar[StageDurations] = NO_DURATIONS

    @property
    def support(self) -> LaneQuantiles:
        """The lane quantiles themselves."""
        return self.model


def save_fallback(registry: Registry, fallback: LaneQuantiles) -> None:
    """Writes the lane quantiles beside the versions and replaces those there."""
    registry.save_sidecar(FALLBACK_FILE, fallback.to_json())


def load_fallback(registry: Registry) -> LaneQuantiles | None:
    """Returns the lane quantiles beside the versions, None if there are none.

    Raises:
        ModelCorrupted: if the file does not match its digest, or holds no valid distributions.
    """
    values = registry.load_sidecar(FALLBACK_FILE)
    return None if values is None else LaneQuantiles.from_json(values)


def renamed_file_problems(folder: Path) -> Iterator[str]:
    """Yields a problem for each file of an older program that has no successor yet."""
    for old_name, new_name in RENAMED_FILES.items():
        if (folder / old_name).exists() and not (folder / new_name).exists():
            yield (
                f"{folder / old_name} is from an older program and is not read; {TRAIN_AGAIN} to "
                f"write {new_name}, then delete {old_name}"
            )
