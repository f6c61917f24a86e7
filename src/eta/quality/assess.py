"""All checks of the data that were received by a moment, and whether to train on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from eta.calendars.local_time import to_instant
from eta.datasets.base import Dataset
from eta.domain.errors import DataRefused
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.quality.clock_shifts import find_clock_shifts
from eta.quality.deliveries import (
    DELIVERED_BEFORE_ORDER,
    NEVER_DELIVERED,
    find_delivered_before_order,
    find_never_delivered,
)
from eta.quality.findings import Finding, QualityThresholds
from eta.quality.rejected_rows import ROWS_REJECTED, find_rejected_columns, find_rejected_rows
from eta.quality.sentinel_dates import find_sentinel_dates

#: The thresholds of the findings that can refuse a training, and what their counts are.
THRESHOLD_OF: Mapping[str, str] = {
    ROWS_REJECTED: "max_rejected_share",
    DELIVERED_BEFORE_ORDER: "max_delivered_before_order_share",
    NEVER_DELIVERED: "max_never_delivered_share",
}
#: One row never refuses the others.
_MIN_COUNT = 2


@dataclass(frozen=True)
class DataQuality:
    """The findings in the data that were received by a moment."""

    findings: tuple[Finding, ...]
    thresholds: QualityThresholds
    #: Shipments and scans received by then.
    shipments: int
    scans: int
    #: Rows received by then that repeat another scan.
    duplicates: int
    #: Rejected rows and values of all files, by reason.
    rejected: Mapping[str, int]
    #: Whether the model is trained whatever was found.
    forced: bool = False

    def refused(self) -> list[Finding]:
        """The findings above their thresholds."""
        return [finding for finding in self.findings if self._is_above(finding)]

    def _is_above(self, finding: Finding) -> bool:
        name = THRESHOLD_OF.get(finding.kind)
        if name is None or finding.count < _MIN_COUNT:
            return False
        limit = getattr(self.thresholds, name)
        # Of few old orders some more may have no end by chance: a standard error is allowed.
        is_counted_late = finding.kind == NEVER_DELIVERED
        allowance = sqrt(limit * (1.0 - limit) / finding.total) if is_counted_late else 0.0
        return finding.share > limit + allowance

    def check(self) -> None:
        """Refuses data that are not fit to train on, unless forced.

        Raises:
            DataRefused: names each figure above its threshold, with an example.
        """
        refused = self.refused()
        if not refused or self.forced:
            return
        reasons = "; ".join(self._reason(finding) for finding in refused)
        raise DataRefused(
            f"the data are not fit to train on: {reasons}; correct the data, or train anyway"
            " with --force, or with a higher threshold in [quality] of the file of --config"
        )

    def _reason(self, finding: Finding) -> str:
        name = THRESHOLD_OF[finding.kind]
        figures = f"{finding.count:,} of {finding.total:,} {finding.unit} ({finding.share:.1%})"
        limit = f"{name} is {getattr(self.thresholds, name):g}"
        return f"{finding.kind}: {figures}, {limit}, such as {finding.example}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return {
            "forced": self.forced,
            "thresholds": asdict(self.thresholds),
            "rows": {
                "shipments": self.shipments,
                "scans": self.scans,
                "duplicates": self.duplicates,
                "rejected": dict(self.rejected),
            },
            "findings": [finding.to_json() for finding in self.findings],
        }


def assess_quality(
    dataset: Dataset,
    timelines: Timelines,
    as_of: datetime,
    thresholds: QualityThresholds,
    *,
    forced: bool = False,
) -> DataQuality:
    """What is suspicious in the data received by ``as_of`` (aware) and in their rejected rows.

    The shares of deliveries and old orders are there also if they are 0.
    """
    instant = to_instant(as_of)
    is_received = timelines.received_at <= instant
    scans = int(is_received.sum())
    rows = int((dataset.events["received_at"] <= pd.Timestamp(as_of)).sum())
    return DataQuality(
        findings=tuple(_find_all(dataset, timelines, instant)),
        thresholds=thresholds,
        shipments=len(np.unique(timelines.scans.owner()[is_received])),
        scans=scans,
        duplicates=rows - scans,
        rejected=dataset.rejected(),
        forced=forced,
    )


def _find_all(
    dataset: Dataset, timelines: Timelines, known_through: np.datetime64
) -> Iterator[Finding]:
    """The findings of all checks."""
    states = fold(timelines, AsOfPairs.all_at(timelines, known_through))
    rejected = find_rejected_rows(dataset)
    if rejected.count:
        yield rejected
    yield find_delivered_before_order(timelines, states)
    yield find_never_delivered(timelines, states, known_through)
    yield from find_rejected_columns(dataset)
    yield from find_sentinel_dates(dataset, timelines, states, known_through)
    yield from find_clock_shifts(timelines, known_through)
