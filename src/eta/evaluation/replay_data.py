"""What a backtest replays: days, the moments to forecast on them, and what came true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import midnight, to_instant
from eta.domain.errors import NoTrainingData
from eta.evaluation.outcomes import outcome_table, stable_random
from eta.forecast.hazard.recalibration import stages
from eta.journey.categories import Categorical
from eta.journey.examples import Outcomes
from eta.journey.snapshots import (
    PURCHASE,
    Snapshots,
    evaluation_snapshots,
    purchase_snapshots,
    training_snapshots,
)
from eta.journey.timelines import Timelines

#: Moments a month and stage from which a model learns how wide its distributions should have been.
MAX_RECALIBRATION_MOMENTS = 20_000


class ReplayDays(NamedTuple):
    """The days of a replay, as dates in the zone of the source."""

    #: The first day that is judged, and the day after the last one.
    start: date
    end: date
    #: The days from each forecast origin to the next one, warm-up included.
    periods: list[list[date]]
    #: IANA name of the zone.
    zone: str

    @property
    def first(self) -> date:
        """The first day that is forecast."""
        return self.periods[0][0]

    @property
    def last(self) -> date:
        """The day after the last one that is forecast."""
        return self.periods[-1][-1] + timedelta(days=1)

    def midnight(self, day: date) -> np.datetime64:
        """Returns the first instant of a day."""
        return to_instant(midnight(day, self.zone))


@dataclass(frozen=True, eq=False)
class ReplayData:
    """What all models of a replay share, computed once."""

    timelines: Timelines
    #: When each shipment arrived, by the events received by the end.
    final_outcomes: Outcomes
    snapshots: Snapshots
    #: What came true, one row a snapshot, with ``is_judged``.
    judged: pd.DataFrame
    is_for_recalibration: NDArray[np.bool_]
    #: Snapshots to fit on: all of them before the last forecast origin, and those at purchase
    #: before the last day.
    training: Snapshots
    purchases: Snapshots
    days: ReplayDays

    @property
    def periods(self) -> list[list[date]]:
        """The days from each forecast origin to the next one."""
        return self.days.periods

    def day_count(self) -> int:
        """Returns how many days are replayed."""
        return sum(len(days) for days in self.periods)

    def outcomes_at(self, day: date) -> Outcomes:
        """Returns when each shipment arrived, by the events received by the start of a day."""
        return Outcomes.at(self.timelines, self.days.midnight(day))

    def rows_by_day(self, days: list[date]) -> list[NDArray[np.int64]]:
        """Returns the snapshots of each of several days in a row."""
        midnights = [self.days.midnight(day) for day in [*days, days[-1] + timedelta(days=1)]]
        position = np.searchsorted(midnights, self.snapshots.pairs.as_of, side="right")
        return [np.flatnonzero(position == number + 1) for number in range(len(days))]


def prepare(
    timelines: Timelines, days: ReplayDays, known_through: np.datetime64 | None
) -> ReplayData:
    """Looks up moments and outcomes for all models; outcomes as received by ``known_through``.

    Raises:
        NoTrainingData: if no parcel had arrived before the days, or no moment falls within them.
    """
    if np.isnat(Outcomes.at(timelines, days.midnight(days.start)).arrived_at).all():
        raise NoTrainingData(f"no parcel had arrived by {days.start}; start the replay later")
    data_end = timelines.received_at.max() if known_through is None else known_through
    final_outcomes = Outcomes.at(timelines, data_end)
    moments = _moments(timelines, days)
    zone = Categorical(np.zeros(1, dtype=np.int32), (days.zone,))
    judged = outcome_table(timelines, moments.snapshots, final_outcomes, zone)
    judged["is_judged"] = moments.is_judged
    if not moments.is_judged.any():
        raise NoTrainingData(
            f"no parcel was in flight between {days.start} and {days.end}; replay other days"
        )
    return ReplayData(
        timelines=timelines,
        final_outcomes=final_outcomes,
        snapshots=moments.snapshots,
        judged=judged,
        is_for_recalibration=moments.is_for_recalibration,
        training=training_snapshots(timelines, days.midnight(days.periods[-1][0])),
        purchases=purchase_snapshots(timelines, days.midnight(days.last)),
        days=days,
    )


class _Moments(NamedTuple):
    """The moments to forecast, and of each whether it is judged and used for recalibration."""

    snapshots: Snapshots
    is_judged: NDArray[np.bool_]
    is_for_recalibration: NDArray[np.bool_]


def _moments(timelines: Timelines, days: ReplayDays) -> _Moments:
    """The moments of judged days; of the other days purchases and those for recalibration."""
    start, end = days.midnight(days.start), days.midnight(days.end)
    snapshots = evaluation_snapshots(timelines, days.midnight(days.first), days.midnight(days.last))
    as_of = snapshots.pairs.as_of
    is_judged = (as_of >= start) & (as_of < end)
    # Whether a recalibration uses each moment: ``MAX_RECALIBRATION_MOMENTS`` a month and stage.
    month = snapshots.pairs.as_of.astype("datetime64[M]").astype(np.int64)
    groups = [month, stages(snapshots.features)]
    rank = stable_random(snapshots).groupby(groups).rank(method="first")
    is_for_recalibration = (rank <= MAX_RECALIBRATION_MOMENTS).to_numpy()
    is_purchase = snapshots.moment == PURCHASE
    rows = np.flatnonzero(is_judged | is_for_recalibration | is_purchase)
    return _Moments(snapshots.take(rows), is_judged[rows], is_for_recalibration[rows])
