"""What a check of data found, and the shares above which a model may not be trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.domain.errors import InvalidValue
from eta.journey.timelines import Timelines

#: The name of parcels without a carrier in counts by carrier.
NO_CARRIER = "(no carrier)"


@dataclass(frozen=True)
class QualityThresholds:
    """The largest shares with which a model is trained.

    Raises:
        InvalidValue: if one is not between 0 and 1.
    """

    #: Of the rows of a file, those rejected.
    max_rejected_share: float = 0.05
    #: Of all deliveries, those before their order.
    max_delivered_before_order_share: float = 0.01
    #: Of the orders twice as old as the 95th percentile of deliveries, those without an end.
    max_never_delivered_share: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            share = getattr(self, field.name)
            if not 0.0 <= share <= 1.0:
                hint = "give a share between 0 and 1"
                raise InvalidValue(field.name, f"{share!r} is out of range", hint)


@dataclass(frozen=True)
class Finding:
    """How many of some rows or parcels have a peculiarity."""

    kind: str
    #: What is counted, such as ``deliveries``.
    unit: str
    count: int
    total: int
    by_carrier: Mapping[str, int]
    #: One of them; empty if there is none.
    example: str

    @property
    def share(self) -> float:
        """Those that have it, of all; 0 of none."""
        return self.count / self.total if self.total else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "share": round(self.share, 6)}


def count_by_carrier(timelines: Timelines, rows: NDArray[np.integer]) -> dict[str, int]:
    """How many of some shipments each carrier has, the most first."""
    carrier = timelines.texts["carrier"].take(rows)
    counts = np.bincount(carrier.codes + 1, minlength=len(carrier.names) + 1)
    names = (NO_CARRIER, *carrier.names)
    order = sorted(np.flatnonzero(counts), key=lambda code: (-counts[code], names[code]))
    return {str(names[code]): int(counts[code]) for code in order}
