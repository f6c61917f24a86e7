"""The fallback: lane quantiles, which answer where no model can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eta.forecast.baselines.lane_quantiles import LaneQuantiles
from eta.journey.examples import Outcomes, examples
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import training_snapshots
from eta.journey.timelines import Timelines
from eta.model.registry import Registry
from eta.stage_durations import NO_DURATIONS, StageDurations


def fit_fallback(timelines: Timelines, registry: Registry) -> int:
    """Puts the lane medians beside the versions, and returns the lanes and other groups that have a law; of none nothing is written."""
    # What was told at the last moment counts as known.
    known_through = timelines.received_at.max()
    fallback = LaneQuantiles.fit(
        examples(
            training_snapshots(timelines, known_through), Outcomes.at(timelines, known_through)
        )
    )
    groups = sum(map(len, fallback.distributions.values()))
    if groups:
        save_fallback(registry, fallback)
    return groups


#: The file beside the versions, so that it survives whatever becomes of them.
FALLBACK_FILE = "lane_quantiles.json"


@dataclass(frozen=True)
class FallbackBundle:
    """The lane medians in the place of a model. They know of no place and no stage: nothing is ever too long for them."""

    model: LaneQuantiles
    version: ClassVar[None] = None
    place_effects: ClassVar[PlaceEffects] = PlaceEffects()
    stage_durations: ClassVar[StageDurations] = NO_DURATIONS

    @property
    def support(self) -> LaneQuantiles:
        """The medians themselves."""
        return self.model


def save_fallback(registry: Registry, fallback: LaneQuantiles) -> None:
    """Writes the lane medians beside the versions, in the place of those that were there."""
    registry.save_sidecar(FALLBACK_FILE, fallback.to_json())


def load_fallback(registry: Registry) -> LaneQuantiles | None:
    """The lane medians beside the versions; None if there are none.

    Raises:
        ModelCorrupted: if the file does not match its digest, or holds no laws of ours.
    """
    values = registry.load_sidecar(FALLBACK_FILE)
    return None if values is None else LaneQuantiles.from_json(values)
