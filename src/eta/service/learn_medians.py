"""Learns what is answered before any model is: the lane medians, of a history that has just been recorded."""

from __future__ import annotations

from eta.forecast.lane_medians import LaneMedians
from eta.journey.snapshots import Outcomes, examples, snapshots_to_learn
from eta.journey.timeline import Timelines
from eta.registry import Registry
from eta.service.served_model import keep_medians


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
