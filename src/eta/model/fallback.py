"""The fallback: lane quantiles, which answer where no model can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eta.forecast.baselines.lane_quantiles import LaneMedians
from eta.journey.examples import Outcomes, examples
from eta.journey.place_effects import Habits
from eta.journey.snapshots import snapshots_to_learn
from eta.journey.timelines import Timelines
from eta.model.registry import Registry
from eta.stage_durations import NO_LAWS, StageLaws


def learn_medians(timelines: Timelines, registry: Registry) -> int:
    """Puts the lane medians beside the versions, and returns the lanes and other groups that have a law; of none nothing is written."""
    # What was told at the last moment counts as known.
    known_through = timelines.received_at.max()
    medians = LaneMedians.learn(
        examples(
            snapshots_to_learn(timelines, known_through), Outcomes.at(timelines, known_through)
        )
    )
    groups = sum(map(len, medians.laws.values()))
    if groups:
        keep_medians(registry, medians)
    return groups


#: The file beside the versions, so that it survives whatever becomes of them.
LANE_MEDIANS = "lane_medians.json"


@dataclass(frozen=True)
class ServedMedians:
    """The lane medians in the place of a model. They know of no place and no stage: nothing is ever too long for them."""

    model: LaneMedians
    version: ClassVar[None] = None
    habits: ClassVar[Habits] = Habits()
    laws: ClassVar[StageLaws] = NO_LAWS

    @property
    def support(self) -> LaneMedians:
        """The medians themselves."""
        return self.model


def keep_medians(registry: Registry, medians: LaneMedians) -> None:
    """Writes the lane medians beside the versions, in the place of those that were there."""
    registry.save_beside(LANE_MEDIANS, medians.to_json())


def kept_medians(registry: Registry) -> LaneMedians | None:
    """The lane medians beside the versions; None if there are none.

    Raises:
        ModelCorrupted: if the file does not match its digest, or holds no laws of ours.
    """
    values = registry.load_beside(LANE_MEDIANS)
    return None if values is None else LaneMedians.from_json(values)
