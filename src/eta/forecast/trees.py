"""A forest as flat arrays, and vectors of log-hazards in its leaves.

LightGBM finds the structure; what the leaves hold, and how they are read, is ours. The loops are compiled by numba and
run on one thread, in the order of the rows, so that the same data give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.forecast.activity import active_hours

LEAF = -1


@dataclass(frozen=True, eq=False)
class Forest:
    """T binary trees over float32 features.

    Node k of the flat arrays goes left where ``x[feature[k]] <= threshold[k]``, or where x is NaN and
    ``nan_goes_left[k]``; children are positions in the same arrays. A node with ``feature == LEAF`` is a leaf and
    ``left`` is its number among all leaves. ``root`` (T,) are the first nodes.
    """

    root: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    nan_goes_left: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]

    @classmethod
    def from_lightgbm(cls, dump: dict[str, Any]) -> Forest:
        """The forest of ``Booster.dump_model()``; its splits must be numerical."""
        nodes: list[tuple[int, float, bool, int, int]] = []
        leaves = 0

        def add(node: dict[str, Any]) -> int:
            nonlocal leaves
            at = len(nodes)
            if "split_feature" not in node:
                nodes.append((LEAF, 0.0, False, leaves, LEAF))
                leaves += 1
                return at
            threshold = float(node["threshold"])
            # Without NaN in training LightGBM reads a NaN as 0.
            nan_goes_left = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0.0
            nodes.append((0, 0.0, False, 0, 0))
            left, right = add(node["left_child"]), add(node["right_child"])
            nodes[at] = (int(node["split_feature"]), threshold, nan_goes_left, left, right)
            return at

        roots = [add(tree["tree_structure"]) for tree in dump["tree_info"]]
        feature, threshold, nan_goes_left, left, right = zip(*nodes, strict=True)
        return cls(
            np.array(roots, dtype=np.int32),
            np.array(feature, dtype=np.int32),
            np.array(threshold, dtype=np.float64),
            np.array(nan_goes_left, dtype=np.bool_),
            np.array(left, dtype=np.int32),
            np.array(right, dtype=np.int32),
        )

    @property
    def leaf_count(self) -> int:
        """The number of leaves of all trees."""
        return int((self.feature == LEAF).sum())

    def leaves(self, rows: NDArray[np.float32]) -> NDArray[np.int32]:
        """The leaf, (T, N), in which each row (N, F) ends."""
        return _leaves(self.root, self.feature, self.threshold, self.nan_goes_left, self.left, self.right, rows)


@njit(cache=True)
def _leaf(start, feature, threshold, nan_goes_left, left, right, row):  # type: ignore[no-untyped-def]  # compiled
    node = start
    while feature[node] != -1:
        x = np.float64(row[feature[node]])
        goes_left = nan_goes_left[node] if np.isnan(x) else x <= threshold[node]
        node = left[node] if goes_left else right[node]
    return left[node]


@njit(cache=True)
def _leaves(root, feature, threshold, nan_goes_left, left, right, rows):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty((len(root), len(rows)), dtype=np.int32)
    for tree in range(len(root)):
        for i in range(len(rows)):
            result[tree, i] = _leaf(root[tree], feature, threshold, nan_goes_left, left, right, rows[i])
    return result


@njit(cache=True)
def fit_leaves(score, leaf, leaf_count, exposure, last_bin, arrived, smoother, rate, ridge, cap):  # type: ignore[no-untyped-def]  # compiled
    """Log-hazards (L, B) that the leaves add, tree by tree, each to what the trees before it made of the rows.

    Row i is at risk in bins 0 to ``last_bin[i]`` for ``exposure[i]`` (N, B) each and arrives in the last of them where
    ``arrived[i]``. Expected arrivals are m = exposure exp(score); a leaf takes the share ``rate`` of a Newton step of
    the Poisson likelihood, v_b = rate (K g)_b / ((K h)_b + ridge), |v_b| <= cap, with g the sum over its rows of
    (arrived - m), h that of m, and K a smoother (B, B) over bins. ``score`` (N, B) starts as the base and is used up.
    """
    bins = score.shape[1]
    values = np.zeros((leaf_count, bins), dtype=np.float32)
    for tree in range(len(leaf)):
        gradient, curvature = np.zeros((leaf_count, bins)), np.zeros((leaf_count, bins))
        lowest, highest = leaf_count, -1
        for i in range(len(last_bin)):
            at = leaf[tree, i]
            lowest, highest = min(lowest, at), max(highest, at)
            for b in range(last_bin[i] + 1):
                expected = exposure[i, b] * np.exp(score[i, b])
                gradient[at, b] += (1.0 if arrived[i] and b == last_bin[i] else 0.0) - expected
                curvature[at, b] += expected
        for at in range(lowest, highest + 1):
            for b in range(bins):
                g, h = 0.0, 0.0
                for c in range(bins):
                    g += smoother[b, c] * gradient[at, c]
                    h += smoother[b, c] * curvature[at, c]
                values[at, b] = min(max(rate * g / (h + ridge), -cap), cap)
        for i in range(len(last_bin)):
            at = leaf[tree, i]
            for b in range(last_bin[i] + 1):
                score[i, b] += values[at, b]
    return values


@njit(cache=True)
def cumulative_hazards(root, feature, threshold, nan_goes_left, left, right, rows, base, values, bin_of_step, passed, rate, start, steps, drift, stage, decay):  # type: ignore[no-untyped-def]  # compiled
    """Hazards (N, K + 1) summed up to each of K steps (in microseconds from the row's ``start``), 0 first.

    The hazard of a step is exp(base + leaves) of its bin, times the active hours that pass in it, times
    exp(drift decay): ``drift`` (N,) is the row's, ``decay`` (S, K) what is left of it at each step by ``stage`` (N,).
    """
    result = np.zeros((len(rows), len(steps) + 1))
    score = np.empty(len(base))
    for i in range(len(rows)):
        score[:] = base
        for tree in range(len(root)):
            leaf = _leaf(root[tree], feature, threshold, nan_goes_left, left, right, rows[i])
            for b in range(len(score)):
                score[b] += values[leaf, b]
        for b in range(len(score)):
            score[b] = np.exp(score[b])
        before, total = active_hours(passed, rate, start[i]), 0.0
        for k in range(len(steps)):
            after = active_hours(passed, rate, start[i] + steps[k])
            factor = 1.0 if drift[i] == 0.0 else np.exp(drift[i] * decay[stage[i], k])
            total += score[bin_of_step[k]] * (after - before) * factor
            result[i, k + 1] = total
            before = after
    return result
