"""Versions with right digests and damaged content are refused, and never open."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.domain.errors import ModelCorrupted
from eta.forecast.hazard.model import HazardModel
from eta.model.bundle import (
    ARRAYS,
    ARRIVAL_CORRELATION,
    DRIFT,
    HANDLING_TIMES,
    PLACE_EFFECTS,
    STAGE_DURATIONS,
    SUPPORT,
    ModelBundle,
)
from eta.model.registry import Registry, Version
from support.damaged_versions import (
    DAMAGES,
    Damaged,
    arrays_of,
    save_rich_model,
    to_npz,
)

# One process compiles the loops once.
pytestmark = pytest.mark.xdist_group("api")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version none of whose parts is empty."""
    folder = tmp_path_factory.mktemp("sound")
    return Registry(folder).load(save_rich_model(folder))


def opened(folder: Path, name: str) -> ModelBundle:
    return ModelBundle.from_version(Registry(folder).load(name), HazardModel, PUBLIC_HOLIDAYS)


def with_array(version: Version, name: str, array: NDArray[Any]) -> Damaged:
    arrays = arrays_of(version.files[ARRAYS]) | {name: array}
    files = {**version.files, ARRAYS: to_npz(arrays)}
    return Damaged(name, dict(version.manifest), files)


def with_json(version: Version, file: str, change: Callable[[Any], object]) -> Damaged:
    values = json.loads(version.files[file])
    change(values)
    files = {**version.files, file: json.dumps(values).encode()}
    return Damaged(file, dict(version.manifest), files)


def test_a_sound_version_opens(sound: Version, tmp_path: Path) -> None:
    name = Damaged("none", dict(sound.manifest), dict(sound.files)).write(tmp_path)
    assert opened(tmp_path, name).version == name


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damaged_versions_are_refused_with_a_reason_or_open(
    sound: Version, tmp_path: Path, name: str
) -> None:
    rng = random.Random(name)
    for _ in range(6):
        target = Damaged(name, json.loads(json.dumps(sound.manifest)), dict(sound.files))
        target.manifest["data"]["sha256"] = f"{rng.getrandbits(64):x}"
        DAMAGES[name](target, rng)
        version = target.write(tmp_path)
        try:
            opened(tmp_path, version)
        except ModelCorrupted as error:
            assert str(error).startswith(f"model version {version}"), target.kind


@pytest.mark.parametrize(
    ("array", "change", "problem"),
    [
        ("forest.child", lambda a: a + np.uint32(10**6), "holds numbers above"),
        ("forest.child", lambda a: a[::-1].copy(), "is not that of binary trees"),
        ("forest.child", np.zeros_like, "is not that of binary trees"),
        ("forest.feature", lambda a: a + np.uint32(2**31), "holds numbers above"),
        ("forest.leaf", lambda a: a - np.int32(2), "holds numbers below -1"),
        ("forest.leaf", lambda a: np.full_like(a, -1), "forest"),
        ("forest.root", lambda a: a + np.uint32(1), "does not start with 0"),
        ("forest.root", np.zeros_like, "trees without nodes"),
        ("forest.depth", lambda a: a * np.uint32(2), "differs from the depths"),
        ("forest.depth", lambda a: a - np.uint32(1), "differs from the depths"),
        ("forest.threshold", np.zeros_like, "not infinite in leaves"),
        ("forest.nan_goes_left", np.zeros_like, "not infinite in leaves"),
        ("forest.threshold", lambda a: a.astype(np.float64), "has the type float64, not float32"),
        ("values", lambda a: a[:-1], "holds numbers above"),
        ("values", lambda a: np.vstack([a, a[:1]]), "has more rows than the forest has leaves"),
        ("values", lambda a: a[:, :-1], "has the shape"),
        ("values", lambda a: a * np.nan, "holds NaN or an infinite number"),
        ("values", lambda a: a + 1.0, "beyond the cap of 0.5"),
        ("base", lambda a: a + np.float32(100), "holds numbers above 60"),
        ("base", lambda a: a * np.inf, "holds NaN or an infinite number"),
        ("activity.profile", lambda a: a[:-1], "has the shape"),
        ("activity.profile", np.zeros_like, "holds numbers below 0.02"),
        ("activity.carriers", lambda a: np.repeat(a[:1], len(a)), "holds a text twice"),
        ("activity.holiday_factor", lambda a: a[None], "has the shape"),
        ("recalibration", lambda a: -a, "holds numbers below"),
        ("recalibration", lambda a: a[:3], "has the shape"),
        ("in_sample", lambda a: a * 1e300, "holds numbers above"),
        ("non_arrival", lambda a: a + 2.0, "slopes outside 0 to 1"),
        ("label.lane.counts", np.zeros_like, "holds numbers below 1"),
        ("label.lane.sums", lambda a: a + 1e9, "too large for their counts"),
        ("label.lane.names", lambda a: a[:-1], "has the shape"),
        ("label_means", lambda a: a + 1e6, "holds numbers above 50"),
        ("unknown", lambda _: np.zeros(3), "is unknown"),
    ],
)
def test_an_array_that_is_out_of_bounds_is_named(
    sound: Version,
    tmp_path: Path,
    array: str,
    change: Callable[[NDArray[Any]], NDArray[Any]],
    problem: str,
) -> None:
    before = arrays_of(sound.files[ARRAYS]).get(array, np.zeros(0))
    name = with_array(sound, array, change(before)).write(tmp_path)
    with pytest.raises(ModelCorrupted, match=re.escape(problem)) as raised:
        opened(tmp_path, name)
    assert name in str(raised.value)
    assert ARRAYS in str(raised.value)
    assert "train again" in str(raised.value)


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        (DRIFT, lambda v: v.pop("error"), "the drift: error: field required"),
        (DRIFT, lambda v: v.update(extra=1), "the drift: extra: extra inputs"),
        (DRIFT, lambda v: v["log_rate_ratio"].pop(), "the drift: log_rate_ratio: list should"),
        (DRIFT, lambda v: v.update(baseline_ratio=[0.0] * 4), "baseline_ratio.0: input should"),
        (DRIFT, lambda v: v.update(as_of="9999-99-99Z"), "the drift: as_of:"),
        (DRIFT, lambda v: v.update(ages=["young"]), "the drift: ages:"),
        (DRIFT, lambda v: v["groups"].update(planet={}), "the drift: groups.planet"),
        (DRIFT, lambda v: v["groups"]["carrier"].update(post=[0.0]), "groups.carrier.post: list"),
        (PLACE_EFFECTS, lambda v: v.pop("origin"), "the place effects: origin: field required"),
        (PLACE_EFFECTS, lambda v: v["handling"].update(x=True), "handling.x: input should"),
        (PLACE_EFFECTS, lambda v: v["handling"].update(x=1e9), "handling.x: input should"),
        (STAGE_DURATIONS, lambda v: v.pop("silence"), "silence: field required"),
        (STAGE_DURATIONS, lambda v: v["handling"].update(p50_hours=-1), "handling.p50_hours"),
        (STAGE_DURATIONS, lambda v: v.update(transit=[]), "transit: input should"),
        (SUPPORT, lambda v: v.pop("carrier"), "the support: the file: value error, the levels"),
        (SUPPORT, lambda v: v["carrier"].update({"|" * 3_000: 1}), "should have at most 2000"),
        (SUPPORT, lambda v: v["carrier"].update(x=10**30), "carrier.x: input should"),
        (SUPPORT, lambda v: v["carrier"].update(x=1.5), "carrier.x: input should"),
        (HANDLING_TIMES, lambda v: v[""].pop(), "list should have at least 24 items"),
        (HANDLING_TIMES, lambda v: v[""][0].append(1), "list should have at most 11 items"),
        (ARRIVAL_CORRELATION, lambda v: v.update(within_sender=1.5), "within_sender: input"),
        (ARRIVAL_CORRELATION, lambda v: v.update(within_sender=0.1), "is above within_sender"),
    ],
)
def test_a_json_part_with_a_wrong_value_is_named(
    sound: Version, tmp_path: Path, file: str, change: Callable[[Any], object], problem: str
) -> None:
    name = with_json(sound, file, change).write(tmp_path)
    with pytest.raises(ModelCorrupted, match=re.escape(problem)) as raised:
        opened(tmp_path, name)
    assert name in str(raised.value)
    assert "train again" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: m["parameters"].update(trees=1.5), "the parameters: trees: input should"),
        (lambda m: m["parameters"].update(trees=0), "trees: 0 is out of range"),
        (lambda m: m["parameters"].update(leaves=10**9), "leaves: 1000000000 is out of range"),
        (lambda m: m["parameters"].update(cap=-1.0), "cap: -1.0 is out of range"),
        (lambda m: m["parameters"].update(depth=3), "the parameters: depth: extra inputs"),
        (lambda m: m.pop("parameters"), "the parameters"),
        (lambda m: m.update(kind="linear"), "is not of the kind 'hazard'"),
        (lambda m: m["columns"]["numbers"].pop(), "was trained on other columns"),
        (lambda m: m["data"].pop("through"), "data.through: field required"),
        (lambda m: m["data"].update(through="2026-05-10"), "the time has no offset"),
        (lambda m: m["data"].update(through="2026-06-10T00:00:00Z"), "is of another day"),
        (lambda m: m["data"].update(examples="many"), "data.examples: input should"),
        (lambda m: m.update(check={"rows": 5}), "its manifest: check"),
        (lambda m: m.update(extra=1), "its manifest: extra: extra inputs"),
    ],
)
def test_a_manifest_with_a_wrong_value_is_refused(
    sound: Version, tmp_path: Path, change: Callable[[Any], object], problem: str
) -> None:
    manifest = json.loads(json.dumps(sound.manifest))
    change(manifest)
    name = Damaged("manifest", manifest, dict(sound.files)).write(tmp_path)
    with pytest.raises(ModelCorrupted, match=re.escape(problem)):
        opened(tmp_path, name)
