"""A forest as flat arrays, and vectors of log-hazards in its leaves.

LightGBM finds the structure; what the leaves hold, and how they are read, is ours. The loops are
compiled by numba and run on one thread, in the order of the rows, so that the same data give the
same bytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.forecast.hazard.active_hours import (
    NEAR_PROMISE,
    active_hours,
    active_hours_near_promise,
)

#: Rows that go down a tree side by side: while one waits for memory, the others step.
_BLOCK = 128
_NEAR_PROMISE_DAYS = len(NEAR_PROMISE)
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Forest:
    """T binary trees over float32 features.

    Node k of the flat arrays goes to ``child[k]`` where ``x[feature[k]] <= threshold[k]``, or where
    x is NaN and ``nan_goes_left[k]``, else to the node after that one. ``leaf[k]`` is the number of
    a leaf among all leaves, or -1; a leaf's child is the leaf itself. ``root`` (T,) are the first
    nodes, ``depth`` (T,) the steps that lead to any leaf.
    """

    root: NDArray[np.uint32]
    depth: NDArray[np.uint32]
    feature: NDArray[np.uint32]
    threshold: NDArray[np.float32]
    nan_goes_left: NDArray[np.bool_]
    child: NDArray[np.uint32]
    leaf: NDArray[np.int32]

    @classmethod
    def from_lightgbm(cls, dump: dict[str, Any]) -> Forest:
        """The forest of ``Booster.dump_model()``; its splits must be numerical."""
        nodes: list[tuple[int, np.float32, bool, int, int]] = []
        roots, depths, leaves = [], [], 0
        for tree in dump["tree_info"]:
            roots.append(len(nodes))
            waiting, depth = deque([(tree["tree_structure"], 0)]), 0
            while waiting:
                node, level = waiting.popleft()
                at, depth = len(nodes), max(depth, level)
                if "split_feature" not in node:
                    nodes.append((0, np.float32(np.inf), True, at, leaves))
                    leaves += 1
                    continue
                threshold = float(node["threshold"])
                # Without NaN in training LightGBM reads a NaN as 0.
                nan_goes_left = (
                    bool(node["default_left"])
                    if node["missing_type"] == "NaN"
                    else threshold >= 0.0
                )
                # Its children come after all that wait already.
                nodes.append(
                    (
                        int(node["split_feature"]),
                        _rounded_down(threshold),
                        nan_goes_left,
                        at + 1 + len(waiting),
                        -1,
                    )
                )
                waiting += [(node["left_child"], level + 1), (node["right_child"], level + 1)]
            depths.append(depth)
        feature, thresholds, nan, child, leaf = zip(*nodes, strict=True)
        return cls(
            np.array(roots, dtype=np.uint32),
            np.array(depths, dtype=np.uint32),
            np.array(feature, dtype=np.uint32),
            np.array(thresholds, dtype=np.float32),
            np.array(nan, dtype=np.bool_),
            np.array(child, dtype=np.uint32),
            np.array(leaf, dtype=np.int32),
        )

    @property
    def leaf_count(self) -> int:
        """The number of leaves of all trees."""
        return int(self.leaf.max()) + 1

    def leaves(self, rows: NDArray[np.float32]) -> NDArray[np.int32]:
        """The leaf, (T, N), in which each row (N, F) ends."""
        return _leaves(self.arrays, rows)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The arrays, as compiled code takes them."""
        return (
            self.root,
            self.depth,
            self.feature,
            self.threshold,
            self.nan_goes_left,
            self.child,
            self.leaf,
        )


def _rounded_down(value: float) -> np.float32:
    """The largest float32 that is no larger: it parts float32 values alike."""
    value = min(max(value, -_MAX_FLOAT32), _MAX_FLOAT32)
    nearest = np.float32(value)
    return nearest if nearest <= value else np.nextafter(nearest, np.float32(-np.inf))


@njit(cache=True)
def _go_down(forest, tree, cells, width, first, count, at):  # type: ignore[no-untyped-def]  # compiled
    """Writes into ``at`` the nodes in which the ``count`` rows from ``first`` end; ``cells`` are all rows in one, ``width`` each.

    There is no branch to be guessed wrong, and no sign to be checked in an index.
    """
    root, depth, feature, threshold, nan_goes_left, child, _ = forest
    for j in range(count):
        at[j] = root[tree]
    for _ in range(depth[tree]):
        for j in range(count):
            node = at[j]
            x = cells[np.uint64(first + j) * width + np.uint64(feature[node])]
            goes_right = (x > threshold[node]) | (np.isnan(x) & (not nan_goes_left[node]))
            at[j] = child[node] + np.uint32(goes_right)


@njit(cache=True)
def _leaves(forest, rows):  # type: ignore[no-untyped-def]  # compiled
    trees, leaf = len(forest[0]), forest[-1]
    result = np.empty((trees, len(rows)), dtype=np.int32)
    at, cells, width = np.empty(_BLOCK, dtype=np.uint32), rows.ravel(), np.uint64(rows.shape[1])
    for first in range(0, len(rows), _BLOCK):
        count = min(_BLOCK, len(rows) - first)
        for tree in range(trees):
            _go_down(forest, tree, cells, width, first, count, at)
            for j in range(count):
                result[tree, first + j] = leaf[at[j]]
    return result


@njit(cache=True)
def fit_leaves(  # type: ignore[no-untyped-def]  # compiled
    score, leaf, leaf_count, exposure, last_bin, arrives_in, timed, smoother, rate, ridge, cap
):
    """Log-hazards (L, B) that the leaves add, tree by tree, each to what the trees before it made of the rows.

    Row i is at risk in bins 0 to ``last_bin[i]``, and in those from ``timed`` on, for
    ``exposure[i]`` (N, B) each and arrives in the bin ``arrives_in[i]``, or in none if that is
    below 0. Expected arrivals are m = exposure exp(score); a leaf takes the share ``rate`` of a
    Newton step of the Poisson likelihood, v_b = rate (K g)_b / ((K h)_b + ridge), |v_b| <= cap,
    with g the sum over its rows of (arrived - m), h that of m, and K a smoother (B, B) over bins.
    ``score`` (N, B) starts as the base and is used up.
    """
    bins = score.shape[1]
    values = np.zeros((leaf_count, bins), dtype=np.float32)
    for tree in range(len(leaf)):
        gradient, curvature = np.zeros((leaf_count, bins)), np.zeros((leaf_count, bins))
        lowest, highest = leaf_count, -1
        for i in range(len(last_bin)):
            at = leaf[tree, i]
            lowest, highest = min(lowest, at), max(highest, at)
            if arrives_in[i] >= 0:
                gradient[at, arrives_in[i]] += 1.0
            for first, end in ((0, last_bin[i] + 1), (timed, bins)):
                for b in range(first, end):
                    expected = exposure[i, b] * np.exp(score[i, b])
                    gradient[at, b] -= expected
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
            for first, end in ((0, last_bin[i] + 1), (timed, bins)):
                for b in range(first, end):
                    score[i, b] += values[at, b]
    return values


@njit(cache=True)
def cumulative_hazards(  # type: ignore[no-untyped-def]  # compiled
    forest,
    rows,
    base,
    values,
    bin_of_step,
    time_index,
    steps,
    log_rate_ratio,
    middle,
    decay,
    elapsed_and_expected,
    age_edges,
    transition_weight,
):
    """Hazards (N, K + 1) summed up to each of K steps (in microseconds from the row's start on its clock).

    First comes that of having arrived already, exp(base + leaves) of bin 0. The hazard of a step is
    exp(base + leaves) of its bin, times the active hours that pass in it, times exp(theta decay);
    hours of the days ``NEAR_PROMISE`` are of the last bins, one a day, where the clocks show the
    promise. ``log_rate_ratio`` (N, A) is the row's at each age, ``decay`` (A, K) what is left of it at each
    step. The share ``transition_weight`` is of the age which the row will have in the ``middle`` (K,) of the
    step, the rest of its age now: hours open over usual hours, both (N,) in ``elapsed_and_expected``, parted by
    ``age_edges`` (A - 1,).
    """
    elapsed, expected_hours = elapsed_and_expected
    cumulative_active_hours, start, promise = time_index
    trees, leaf, bins = len(forest[0]), forest[-1], len(base)
    first_near = bins - _NEAR_PROMISE_DAYS if len(promise) else bins
    result = np.empty((len(rows), len(steps) + 1))
    score, at = np.empty((_BLOCK, bins), dtype=np.float32), np.empty(_BLOCK, dtype=np.uint32)
    cells, width = rows.ravel(), np.uint64(rows.shape[1])
    for first in range(0, len(rows), _BLOCK):
        count = min(_BLOCK, len(rows) - first)
        for j in range(count):
            score[j] = base
        for tree in range(trees):
            _go_down(forest, tree, cells, width, first, count, at)
            for j in range(count):
                score_of_row, added = score[j], values[np.uint32(leaf[at[j]])]
                for b in range(bins):
                    score_of_row[b] += added[b]
        for j in range(count):
            i, score_of_row = first + j, score[j]
            for b in range(bins):
                score_of_row[b] = np.exp(score_of_row[b])
            drifts = False
            for age in range(log_rate_ratio.shape[1]):
                drifts |= log_rate_ratio[i, age] != 0.0
            now = 0
            while now < len(age_edges) and elapsed[i] >= age_edges[now] * expected_hours[i]:
                now += 1
            age = now
            before, total = (
                active_hours(cumulative_active_hours, start[i]),
                np.float64(score_of_row[0]),
            )
            result[i, 0] = total
            for k in range(len(steps)):
                after = active_hours(cumulative_active_hours, start[i] + steps[k])
                factor = 1.0
                if drifts:
                    while (
                        age < len(age_edges)
                        and elapsed[i] + middle[k] >= age_edges[age] * expected_hours[i]
                    ):
                        age += 1
                    factor = np.exp(
                        (1.0 - transition_weight) * log_rate_ratio[i, now] * decay[now, k]
                        + transition_weight * log_rate_ratio[i, age] * decay[age, k]
                    )
                active, begun = after - before, start[i] + (steps[k - 1] if k > 0 else 0)
                for b in range(first_near, bins):
                    there = active_hours_near_promise(
                        cumulative_active_hours,
                        begun,
                        start[i] + steps[k],
                        promise[i],
                        b - first_near,
                    )
                    total += score_of_row[b] * there * factor
                    active -= there
                total += score_of_row[bin_of_step[k]] * max(active, 0.0) * factor
                result[i, k + 1] = total
                before = after
    return result
