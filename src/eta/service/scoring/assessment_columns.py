"""Assessments of open shipments in columns: the one source of single answers and of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import Dates, Instants
from eta.delays import Delays
from eta.journey.timelines import Timelines
from eta.local_dates import probability_by_day, window_levels
from eta.service.scoring.assessment import (
    NOTHING,
    PERCENTILES,
    Assessment,
    AssessmentCode,
    AssessmentOptions,
    DelayAssessment,
    FlagAssessment,
)
from eta.service.scoring.open_forecasts import OpenForecasts

_PERCENTILE_LEVELS = tuple(percent / 100.0 for percent in PERCENTILES)


class _DateColumn(IntEnum):
    """The first columns of ``AssessmentColumns._dates``; those of ``PERCENTILES`` follow."""

    EARLIEST, ESTIMATED, LATEST, FIRST_PERCENTILE = range(4)


class _DayColumn(IntEnum):
    """The days whose probabilities are read off the curves, in one pass."""

    ESTIMATED, PROMISE, DESIRED = range(3)


@dataclass(frozen=True, eq=False)
class AssessmentColumns:
    """Assessments of M open shipments, (M,) each, under the names of ``Assessment``.

    A column is computed when it is first read, so that a table pays only for what it holds.
    """

    timelines: Timelines
    forecasts: OpenForecasts
    options: AssessmentOptions
    #: Why the dates come from the fallback, or there are none; None with a model.
    degraded_code: AssessmentCode | None = None

    @property
    def earliest_on(self) -> Dates:
        """First day of the window; NaT beyond the horizon or without support."""
        return self._dates[:, _DateColumn.EARLIEST]

    @property
    def estimated_on(self) -> Dates:
        """The median date; NaT as above."""
        return self._dates[:, _DateColumn.ESTIMATED]

    @property
    def latest_on(self) -> Dates:
        """Last day of the window; NaT as above."""
        return self._dates[:, _DateColumn.LATEST]

    @property
    def days_left(self) -> NDArray[np.timedelta64]:
        """Days from the local date of ``as_of`` at each of ``PERCENTILES``, (M, 7)."""
        dates = self._dates[:, _DateColumn.FIRST_PERCENTILE :]
        return dates - self.forecasts.as_of_on[:, None]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """P(arrival on or before ``estimated_on``)."""
        return self._probabilities[:, _DayColumn.ESTIMATED]

    @cached_property
    def promised_on(self) -> Dates:
        """The day that was promised to the customer; NaT without one."""
        return self.timelines.promised_on[self.forecasts.moments.row]

    @cached_property
    def is_promise_proposed(self) -> NDArray[np.bool_]:
        """Whether no day was promised, so that ``promise_on`` is the policy's proposal."""
        return np.isnat(self.promised_on)

    @cached_property
    def promise_on(self) -> Dates:
        """The promised day, else the policy's proposal; NaT if that has no support."""
        forecasts = self.forecasts
        proposed_on = self.options.promise.dates(
            forecasts.curves,
            forecasts.moments.as_of,
            forecasts.zone,
            ordered_at=forecasts.states.ordered_at,
        )
        proposed_on[~forecasts.is_supported] = np.datetime64("NaT")
        return np.where(self.is_promise_proposed, proposed_on, self.promised_on)

    @property
    def on_time_probability(self) -> NDArray[np.float64]:
        """P(arrival on or before ``promise_on``)."""
        proposed = self._probabilities[:, _DayColumn.PROMISE]
        return np.where(self.is_promise_proposed, proposed, self.forecasts.on_time)

    @property
    def desired_probability(self) -> NDArray[np.float64]:
        """P(arrival on or before the desired day); NaN without support."""
        probability = self._probabilities[:, _DayColumn.DESIRED]
        return np.where(self.forecasts.is_supported, probability, np.nan)

    @cached_property
    def _dates(self) -> Dates:
        """Dates at the levels of the window and of ``PERCENTILES``, (M, 3 + 7)."""
        levels = (*window_levels(self.options.coverage), *_PERCENTILE_LEVELS)
        return self.forecasts.dates(levels)

    @cached_property
    def _probabilities(self) -> NDArray[np.float64]:
        """P(arrival on or before a day), (M, 3), in the order of ``_DayColumn``."""
        forecasts = self.forecasts
        days = np.empty((len(forecasts.moments), len(_DayColumn)), dtype="datetime64[D]")
        days[:, _DayColumn.ESTIMATED] = self.estimated_on
        days[:, _DayColumn.PROMISE] = self.promise_on
        days[:, _DayColumn.DESIRED] = np.datetime64(self.options.desired_on, "D")
        return probability_by_day(forecasts.curves, forecasts.moments.as_of, days, forecasts.zone)

    def to_assessments(self, locations: Sequence[Mapping[str, Any]]) -> list[Assessment]:
        """One assessment a row; ``locations`` are the fields on where each shipment is, (M,)."""
        support_levels = self.forecasts.support_level.tolist()
        if self.degraded_code:
            is_supported = self.forecasts.is_supported
            support_levels = np.where(is_supported, support_levels, NOTHING).tolist()
        days_left = []
        for days in self.days_left.tolist():
            # Whole days by percent; None beyond the horizon.
            counts = [None if day is None else day.days for day in days]
            days_left.append(dict(zip(PERCENTILES, counts, strict=True)))
        columns: dict[str, Sequence[Any]] = {}
        columns["code"] = self._codes()
        columns["earliest_on"] = self.earliest_on.tolist()
        columns["estimated_on"] = self.estimated_on.tolist()
        columns["latest_on"] = self.latest_on.tolist()
        columns["confidence"] = _numbers(self.confidence)
        columns["days_left"] = days_left
        columns["promise_on"] = self.promise_on.tolist()
        columns["is_promise_proposed"] = self.is_promise_proposed.tolist()
        columns["on_time_probability"] = _numbers(self.on_time_probability)
        columns["desired_probability"] = _numbers(self.desired_probability)
        columns["delay"] = self._delays()
        columns["support_level"] = support_levels
        columns["support_parcels"] = self.forecasts.support_parcels.tolist()
        located_rows = zip(locations, _records(columns), strict=True)
        return [Assessment(**location, **row) for location, row in located_rows]

    def _codes(self) -> list[AssessmentCode]:
        """The code of each row."""
        if self.degraded_code:
            return [self.degraded_code] * len(self.forecasts.moments)
        supported = self.forecasts.is_supported.tolist()
        estimated_on = self.estimated_on.tolist()
        codes = []
        for median_on, is_supported in zip(estimated_on, supported, strict=True):
            if not is_supported:
                codes.append(AssessmentCode.TOO_LITTLE_SUPPORT)
            elif median_on is None:
                codes.append(AssessmentCode.MAY_NEVER_ARRIVE)
            else:
                codes.append(AssessmentCode.OK)
        return codes

    def _delays(self) -> list[DelayAssessment]:
        """The delay of each row."""
        delays = self.forecasts.delays
        columns: dict[str, Sequence[Any]] = {}
        columns["flag"] = _flags(delays)
        for name in ("state", "reason_code", "reason_party", "evidence_kind"):
            columns[name] = getattr(delays, name).tolist()
        columns["probability"] = _numbers(delays.probability)
        columns["lead_time_hours"] = _numbers(delays.lead_hours)
        for name in ("observed_hours", "expected_p50_hours", "expected_upper_hours"):
            columns[name] = _numbers(getattr(delays, name))
        return [DelayAssessment(**row) for row in _records(columns)]


def _flags(delays: Delays) -> list[FlagAssessment]:
    """The flag of each row."""
    first_flagged_at, cleared_at = _times(delays.first_flagged_at), _times(delays.cleared_at)
    times = zip(delays.is_raised.tolist(), first_flagged_at, cleared_at, strict=True)
    return [FlagAssessment(*flag) for flag in times]


def _times(instants: Instants) -> list[datetime | None]:
    """Aware times in UTC; None if missing."""
    return [instant and instant.replace(tzinfo=UTC) for instant in instants.tolist()]


def _records(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """The rows of named columns, each by the columns' names."""
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Python numbers; None if not finite."""
    return [value if isfinite(value) else None for value in values.tolist()]
