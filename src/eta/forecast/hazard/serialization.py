"""Arrays of a fitted hazard model, as they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.forecast.base import Arrays
from eta.forecast.target_encoding import HierarchicalTargetEncoder
from eta.journey.features import CATEGORICAL_COLUMNS


def encoder_arrays(prefix: str, means: HierarchicalTargetEncoder) -> dict[str, NDArray[Any]]:
    """The arrays of a target encoder, by name."""
    columns = {
        f"{prefix}.{column}.{part}": np.array(list(values), dtype=kind)
        for column in CATEGORICAL_COLUMNS
        for part, values, kind in (
            ("names", means.counts[column].keys(), np.str_),
            ("sums", means.sums[column].values(), np.float64),
            ("counts", means.counts[column].values(), np.float64),
        )
    }
    return {
        f"{prefix}_means": np.array([means.means[column] for column in CATEGORICAL_COLUMNS]),
        **columns,
    }


def encoder_from_arrays(prefix: str, arrays: Arrays, prior: float) -> HierarchicalTargetEncoder:
    """The target encoder of such arrays."""
    names = {
        column: [str(name) for name in arrays[f"{prefix}.{column}.names"]]
        for column in CATEGORICAL_COLUMNS
    }
    sums, counts = (
        {
            column: dict(
                zip(names[column], arrays[f"{prefix}.{column}.{part}"].tolist(), strict=True)
            )
            for column in CATEGORICAL_COLUMNS
        }
        for part in ("sums", "counts")
    )
    return HierarchicalTargetEncoder(
        sums,
        counts,
        dict(zip(CATEGORICAL_COLUMNS, arrays[f"{prefix}_means"].tolist(), strict=True)),
        prior,
    )
