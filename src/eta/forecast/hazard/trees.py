"""A forest as flat arrays, with a vector of log-hazards in every leaf.

LightGBM finds the structure. This module fits the vectors and sums them up to hazards. The loops
are compiled by numba and run on one thread, in the order of the rows, so that the same data give
the same bytes.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.forecast.hazard.active_hours import (
    NEAR_PROMISE,
    active_hours,
    active_hours_near_promise,
)
from eta.forecast.hazard.exposure import TIMED_BINS, TimeAtRisk
from eta.forecast.hazard.parameters import HazardParameters

#: Rows that go down a tree together: while one waits for memory, the others step.
_BLOCK = 128
_NEAR_PROMISE_DAYS = len(NEAR_PROMISE)
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Forest(NamedTuple):
    """T binary trees over float32 features, as compiled code reads them.

    Node k of the flat arrays goes to ``child[k]`` if ``x[feature[k]] <= threshold[k]``, or if x is
    NaN and ``nan_goes_left[k]``; otherwise it goes to the node after that one. The child of a leaf
    is the leaf itself.
    """

    #: The first node of each tree, (T,).
    root: NDArray[np.uint32]
    #: Steps from the root to the deepest leaf, (T,).
    depth: NDArray[np.uint32]
    feature: NDArray[np.uint32]
    threshold: NDArray[np.float32]
    nan_goes_left: NDArray[np.bool_]
    child: NDArray[np.uint32]
    #: The number of a leaf among all leaves, or -1.
    leaf: NDArray[np.int32]

    @classmethod
    def from_lightgbm(cls, dump: dict[str, Any]) -> Forest:
        """The forest of ``Booster.dump_model()``; its splits must be numerical."""
        nodes: list[_Node] = []
        roots, depths = [], []
        for tree in dump["tree_info"]:
            roots.append(len(nodes))
            tree_nodes, depth = _tree_nodes(tree["tree_structure"], first=len(nodes))
            nodes += tree_nodes
            depths.append(depth)
        feature = [node.feature for node in nodes]
        threshold = [node.threshold for node in nodes]
        nan_goes_left = [node.nan_goes_left for node in nodes]
        child = [node.child for node in nodes]
        is_leaf = np.array([node.is_leaf for node in nodes])
        leaf_number = np.cumsum(is_leaf) - 1
        leaf = np.where(is_leaf, leaf_number, -1)
        return cls(
            root=np.array(roots, np.uint32),
            depth=np.array(depths, np.uint32),
            feature=np.array(feature, np.uint32),
            threshold=np.array(threshold, np.float32),
            nan_goes_left=np.array(nan_goes_left, np.bool_),
            child=np.array(child, np.uint32),
            leaf=leaf.astype(np.int32),
        )

    def leaves(self, tree: int, rows: NDArray[np.float32]) -> NDArray[np.int32]:
        """The leaf of a tree, (N,), in which each row (N, F) ends."""
        return np.asarray(_leaves(self, tree, rows))


def forest_problem(forest: Forest, parameters: HazardParameters) -> str | None:
    """What is wrong with a forest whose indices are in range; None if ``from_lightgbm`` made it.

    In its layout the flags of the leaves determine the children: the pairs of children of the inner
    nodes of a tree follow its root in their order.
    """
    sizes = np.diff(np.append(forest.root.astype(np.int64), len(forest.child)))
    largest = 2 * parameters.leaves - 1
    if len(sizes) not in range(1, parameters.trees + 1) or forest.root[0] != 0:
        return "the array 'forest.root' does not start with 0, or has too many trees"
    if (sizes < 1).any() or (sizes > largest).any():
        return f"the array 'forest.root' has trees without nodes, or with more than {largest}"
    return _node_problem(forest, sizes) or _leaf_problem(forest)


def _node_problem(forest: Forest, sizes: NDArray[np.int64]) -> str | None:
    """What is wrong with the children and depths of trees (T,) of these sizes."""
    node, is_inner = np.arange(len(forest.child)), forest.leaf < 0
    tree = np.repeat(np.arange(len(sizes)), sizes)
    inner_before = _number_before(is_inner)
    inner_in_tree = inner_before - inner_before[forest.root][tree]
    first_child = forest.root[tree].astype(np.int64) + 1 + 2 * inner_in_tree
    child = np.where(is_inner, first_child, node)
    inner = np.bincount(tree, is_inner, len(sizes))
    is_backward = is_inner & (child <= node)
    if (forest.child != child).any() or (2 * inner + 1 != sizes).any() or is_backward.any():
        return "the array 'forest.child' is not that of binary trees"
    if (forest.depth != _depths(forest.root, child, ~is_inner, tree)).any():
        return "the array 'forest.depth' differs from the depths of the trees"
    return None


def _leaf_problem(forest: Forest) -> str | None:
    """What is wrong with the leaves, and with the thresholds of the other nodes."""
    is_leaf = forest.leaf >= 0
    if (forest.leaf[is_leaf] != np.arange(is_leaf.sum())).any():
        return "the array 'forest.leaf' does not number all leaves in their order"
    is_stop = np.isposinf(forest.threshold) & forest.nan_goes_left & (forest.feature == 0)
    if not np.where(is_leaf, is_stop, np.isfinite(forest.threshold)).all():
        return "the array 'forest.threshold' is not infinite in leaves and finite elsewhere"
    return None


def _depths(
    root: NDArray[np.uint32],
    child: NDArray[np.int64],
    is_leaf: NDArray[np.bool_],
    tree: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Steps from each root (T,) to the deepest leaf of its tree."""
    depth, level, nodes = np.zeros(len(root), dtype=np.int64), 0, root.astype(np.int64)
    while len(nodes):
        depth[tree[nodes]] = level
        children = child[nodes[~is_leaf[nodes]]]
        nodes, level = np.concatenate([children, children + 1]), level + 1
    return depth


def largest_scores(forest: Forest, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum over all trees of the largest log-hazards of their leaves, by bin, (B,)."""
    first_leaves = _number_before(forest.leaf >= 0)[forest.root]
    largest = np.maximum.reduceat(values.astype(np.float64), first_leaves)
    return np.asarray(largest.sum(axis=0))


def _number_before(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many flags (N,) before each are set, (N,)."""
    return np.asarray(np.cumsum(flags) - flags, dtype=np.int64)


class LeafPenalty(NamedTuple):
    """How far a leaf may follow its rows."""

    #: Smoother (B, B) over bins.
    smoother: NDArray[np.float64]
    #: Share of a Newton step that is taken.
    rate: float
    #: Curvature that shrinks a leaf to 0.
    ridge: float
    #: Largest log-hazard, either way.
    cap: float


class Steps(NamedTuple):
    """K consecutive steps in time, from 0."""

    #: Their ends, (K,), in microseconds.
    end: NDArray[np.int64]
    #: The bin in which each lies, (K,).
    bin: NDArray[np.int64]
    #: Their middles, (K,), in hours.
    middle_hours: NDArray[np.float64]
    #: Share of today's drift that is left in each step, by age class, (A, K).
    decay: NDArray[np.float64]


class DriftByAge(NamedTuple):
    """The drift of N parcels in A age classes, and what decides the age class of each parcel."""

    #: Log rate ratios, (N, A).
    log_rate_ratio: NDArray[np.float64]
    #: Hours since the order, (N,).
    elapsed_hours: NDArray[np.float64]
    #: Hours that such parcels typically take, (N,).
    expected_hours: NDArray[np.float64]
    #: Elapsed over expected hours at which the next age class begins, (A - 1,).
    age_edges: NDArray[np.float64]
    #: Weight of the age class that the parcel will have; the rest is of its age class now.
    transition_weight: float


class _Node(NamedTuple):
    feature: int
    threshold: np.float32
    nan_goes_left: bool
    child: int
    is_leaf: bool


def _tree_nodes(structure: dict[str, Any], first: int) -> tuple[list[_Node], int]:
    """The nodes of a tree, breadth first from the number ``first`` on, and its depth."""
    nodes: list[_Node] = []
    waiting = deque([(structure, 0)])
    depth = 0
    while waiting:
        node, level = waiting.popleft()
        depth = max(depth, level)
        number = first + len(nodes)
        if "split_feature" not in node:
            nodes.append(_Node(0, np.float32(np.inf), True, number, is_leaf=True))
            continue
        # Its children come after all nodes that are waiting.
        child = number + 1 + len(waiting)
        threshold = float(node["threshold"])
        # Without NaN in training LightGBM reads a NaN as 0.
        has_missing = node["missing_type"] == "NaN"
        nan_goes_left = bool(node["default_left"]) if has_missing else threshold >= 0.0
        feature = int(node["split_feature"])
        # The largest float32 that is no larger: it splits float32 values alike.
        bounded = min(max(threshold, -_MAX_FLOAT32), _MAX_FLOAT32)
        rounded = np.float32(bounded)
        if rounded > bounded:
            rounded = np.nextafter(rounded, np.float32(-np.inf))
        nodes.append(_Node(feature, rounded, nan_goes_left, child, is_leaf=False))
        waiting.append((node["left_child"], level + 1))
        waiting.append((node["right_child"], level + 1))
    return nodes, depth


def grow_forest(
    rows: NDArray[np.float32], target: NDArray[np.float64], parameters: HazardParameters
) -> Forest:
    """The structure of a forest that forecasts the median of ``target`` (N,) from rows (N, F)."""
    import lightgbm  # not needed to forecast, and slow to import

    settings = {
        "objective": "l1",
        "learning_rate": parameters.structure_rate,
        "num_leaves": parameters.leaves,
        "min_data_in_leaf": parameters.leaf_rows,
        "seed": parameters.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    # Best thresholds first, then random ones: trees that differ more from each other make a better
    # mean (Geurts et al. 2006).
    dataset = lightgbm.Dataset(rows, label=target)
    booster = lightgbm.train(settings, dataset, num_boost_round=(parameters.trees + 1) // 2)
    if parameters.trees > 1:
        settings["extra_trees"] = True
        random_trees = parameters.trees // 2
        # The trees alone: the booster holds its own data as long as it lives.
        best = lightgbm.Booster(model_str=booster.model_to_string())
        del booster
        dataset = lightgbm.Dataset(rows, label=target)
        booster = lightgbm.train(settings, dataset, random_trees, init_model=best)
    return Forest.from_lightgbm(booster.dump_model())


def leaf_smoother(bins: int, timed_bins: int, deviation: float) -> NDArray[np.float64]:
    """Weights (B, B) exp(-(b - c)^2 / 2 deviation^2) of neighbouring bins in time.

    They are the identity for a deviation of 0. Bin 0 has no neighbours, nor have the bins of days
    near the promise, which come after ``timed_bins`` others.
    """
    weights = np.eye(bins)
    if deviation > 0:
        number = np.arange(timed_bins - 1)
        distance = np.subtract.outer(number, number)
        gaussian = np.exp(-0.5 * (distance / deviation) ** 2)
        weights[1:timed_bins, 1:timed_bins] = gaussian
    return weights


@njit(cache=True)
def _go_down(forest, tree, cells, width, first, count, nodes):  # type: ignore[no-untyped-def]  # compiled
    """Writes into ``nodes`` where the ``count`` rows from ``first`` on end in a tree.

    ``cells`` are all rows in one array, ``width`` cells each. The loop has no branch to mispredict,
    and unsigned indices need no check for a sign.
    """
    for j in range(count):
        nodes[j] = forest.root[tree]
    for _ in range(forest.depth[tree]):
        for j in range(count):
            node = nodes[j]
            x = cells[np.uint64(first + j) * width + np.uint64(forest.feature[node])]
            nan_goes_right = np.isnan(x) & (not forest.nan_goes_left[node])
            goes_right = (x > forest.threshold[node]) | nan_goes_right
            nodes[j] = forest.child[node] + np.uint32(goes_right)


@njit(cache=True, nogil=True)
def _leaves(forest, tree, rows):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty(len(rows), dtype=np.int32)
    nodes = np.empty(_BLOCK, dtype=np.uint32)
    cells, width = rows.ravel(), np.uint64(rows.shape[1])
    for first in range(0, len(rows), _BLOCK):
        count = min(_BLOCK, len(rows) - first)
        _go_down(forest, tree, cells, width, first, count, nodes)
        for j in range(count):
            result[first + j] = forest.leaf[nodes[j]]
    return result


def fit_leaves(
    forest: Forest,
    rows: NDArray[np.float32],
    base: NDArray[np.float32],
    at_risk: TimeAtRisk,
    penalty: LeafPenalty,
) -> NDArray[np.float32]:
    """Log-hazards (L, B) that the leaves add, each tree to the result of the trees before it.

    Expected arrivals in a cell of ``at_risk`` are m = exposure exp(score); the score starts as the
    ``base`` (B,) of its bin. A leaf takes the share ``rate`` of a Newton step of the Poisson
    likelihood, v_b = rate (K g)_b / ((K h)_b + ridge), |v_b| <= cap, with g the sum over its rows
    (N, F) of (arrived - m), h that of m, and K the smoother.
    """
    values = np.zeros((int(forest.leaf.max()) + 1, len(base)), dtype=np.float32)
    score = _scores(base, at_risk)
    for tree in range(len(forest.root)):
        _fit_tree(values, score, forest.leaves(tree, rows), at_risk, penalty)
    return values


@njit(cache=True)
def hours_by_bin(at_risk, bins):  # type: ignore[no-untyped-def]  # compiled
    """Active hours at risk of all examples in each of so many bins."""
    hours = np.zeros(bins)
    for i in range(len(at_risk.last_bin)):
        for cell in range(at_risk.first[i], at_risk.first[i + 1]):
            hours[_bin_of(cell, i, at_risk)] += at_risk.exposure[cell]
    return hours


@njit(cache=True)
def _bin_of(cell, i, at_risk):  # type: ignore[no-untyped-def]  # compiled
    """The bin of a cell of example i."""
    number, timed = cell - at_risk.first[i], at_risk.last_bin[i] + 1
    return number if number < timed else TIMED_BINS + number - timed


@njit(cache=True)
def _scores(base, at_risk):  # type: ignore[no-untyped-def]  # compiled
    """The base of the bin of each cell, (C,)."""
    score = np.empty(len(at_risk.exposure), dtype=np.float32)
    for i in range(len(at_risk.last_bin)):
        for cell in range(at_risk.first[i], at_risk.first[i + 1]):
            score[cell] = base[_bin_of(cell, i, at_risk)]
    return score


@njit(cache=True)
def _fit_tree(values, score, leaf, at_risk, penalty):  # type: ignore[no-untyped-def]  # compiled
    """Writes the log-hazards of the leaves (N,) of one tree, and adds them to the scores (C,)."""
    lowest, highest = leaf.min(), leaf.max()
    shape = (highest - lowest + 1, values.shape[1])
    gradient, curvature = np.zeros(shape), np.zeros(shape)
    for i in range(len(leaf)):
        number = leaf[i] - lowest
        _add_row(i, score, at_risk, gradient[number], curvature[number])
    for number in range(len(gradient)):
        _newton_step(gradient[number], curvature[number], penalty, values[lowest + number])
    for i in range(len(leaf)):
        row_values = values[leaf[i]]
        for cell in range(at_risk.first[i], at_risk.first[i + 1]):
            score[cell] += row_values[_bin_of(cell, i, at_risk)]


@njit(cache=True)
def _add_row(i, score, at_risk, gradient, curvature):  # type: ignore[no-untyped-def]  # compiled
    """Adds row i to the gradient and the curvature, (B,) each, of its leaf."""
    arrival_bin = at_risk.arrival_bin[i]
    if arrival_bin >= 0:
        gradient[arrival_bin] += 1.0
    for cell in range(at_risk.first[i], at_risk.first[i + 1]):
        expected = at_risk.exposure[cell] * np.exp(score[cell])
        b = _bin_of(cell, i, at_risk)
        gradient[b] -= expected
        curvature[b] += expected


@njit(cache=True)
def _newton_step(gradient, curvature, penalty, values):  # type: ignore[no-untyped-def]  # compiled
    """Writes the log-hazards, (B,), of one leaf."""
    for b in range(len(values)):
        g, h = 0.0, 0.0
        for c in range(len(values)):
            g += penalty.smoother[b, c] * gradient[c]
            h += penalty.smoother[b, c] * curvature[c]
        step = penalty.rate * g / (h + penalty.ridge)
        values[b] = min(max(step, -penalty.cap), penalty.cap)


@njit(cache=True, nogil=True)
def cumulative_hazards(forest, base, values, rows, time_index, steps, drift):  # type: ignore[no-untyped-def]  # compiled
    """Cumulative hazards (N, K + 1) of rows (N, F): before, and after each of K steps.

    The first is that of having arrived already, exp(base + leaves) of bin 0. The hazard of a step
    is exp(base + leaves) of its bin, times the active hours in it, times exp(theta decay). Theta is
    the log rate ratio: the share ``transition_weight`` is of the age class that the parcel will
    have in the middle of the step, the rest of its age class now. If the time index has promises,
    the hours of the days ``NEAR_PROMISE`` belong to the last bins, one a day.
    """
    bins = len(base)
    result = np.empty((len(rows), len(steps.end) + 1))
    score, nodes = np.empty((_BLOCK, bins), dtype=np.float32), np.empty(_BLOCK, dtype=np.uint32)
    cells, width = rows.ravel(), np.uint64(rows.shape[1])
    for first in range(0, len(rows), _BLOCK):
        count = min(_BLOCK, len(rows) - first)
        for j in range(count):
            score[j] = base
        for tree in range(len(forest.root)):
            _go_down(forest, tree, cells, width, first, count, nodes)
            for j in range(count):
                row_score, leaf_values = score[j], values[np.uint32(forest.leaf[nodes[j]])]
                for b in range(bins):
                    row_score[b] += leaf_values[b]
        for j in range(count):
            row_score = score[j]
            for b in range(bins):
                row_score[b] = np.exp(row_score[b])
            _sum_steps(first + j, row_score, time_index, steps, drift, result)
    return result


@njit(cache=True)
def _sum_steps(i, hazards, time_index, steps, drift, result):  # type: ignore[no-untyped-def]  # compiled
    """Writes the cumulative hazards of row i, whose bins have ``hazards`` (B,) an active hour."""
    table, start = time_index.cumulative_active_hours, time_index.start[i]
    has_promise = len(time_index.promise) > 0
    first_near = len(hazards) - _NEAR_PROMISE_DAYS if has_promise else len(hazards)
    drifts = False
    for age in range(drift.log_rate_ratio.shape[1]):
        drifts |= drift.log_rate_ratio[i, age] != 0.0
    age_now = _age_class(0, i, 0.0, drift)
    age = age_now
    before, step_start = active_hours(table, start), start
    total = np.float64(hazards[0])
    result[i, 0] = total
    for k in range(len(steps.end)):
        step_end = start + steps.end[k]
        after = active_hours(table, step_end)
        factor = 1.0
        if drifts:
            age = _age_class(age, i, steps.middle_hours[k], drift)
            factor = _drift_factor(i, k, age_now, age, steps, drift)
        active = after - before
        for b in range(first_near, len(hazards)):
            near = active_hours_near_promise(
                table, step_start, step_end, time_index.promise[i], b - first_near
            )
            total += hazards[b] * near * factor
            active -= near
        total += hazards[steps.bin[k]] * max(active, 0.0) * factor
        result[i, k + 1] = total
        before, step_start = after, step_end


@njit(cache=True)
def _age_class(age, i, ahead_hours, drift):  # type: ignore[no-untyped-def]  # compiled
    """The age class, not below ``age``, that row i will have so many hours ahead."""
    elapsed_hours, expected_hours = drift.elapsed_hours[i], drift.expected_hours[i]
    edges = drift.age_edges
    while age < len(edges) and elapsed_hours + ahead_hours >= edges[age] * expected_hours:
        age += 1
    return age


@njit(cache=True)
def _drift_factor(i, k, age_now, age, steps, drift):  # type: ignore[no-untyped-def]  # compiled
    """The factor by which drift changes the hazard of row i in step k."""
    weight = drift.transition_weight
    now = (1.0 - weight) * drift.log_rate_ratio[i, age_now] * steps.decay[age_now, k]
    then = weight * drift.log_rate_ratio[i, age] * steps.decay[age, k]
    return np.exp(now + then)
