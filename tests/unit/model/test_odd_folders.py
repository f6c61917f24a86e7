"""Whatever lies beside the promoted version, that version serves and the rest is listed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, cast

import pytest

from eta import bootstrap
from eta.domain.errors import ModelCorrupted, ModelNotFound
from eta.model import hot_swap
from eta.model.bundle import ModelBundle
from eta.model.hot_swap import ActiveModelLoader
from eta.model.registry import MANIFEST, Registry, Version
from eta.model.trial import VersionTrial
from eta.settings import Settings
from support.damaged_versions import ODD_ENTRIES

THROUGH = datetime(2026, 5, 10, tzinfo=UTC)
ODD = "2026.06.01-0123456789ab"
FILES = {"values.json": b"{}"}
PASSES = (sys.executable, "-I", "-S", "-c", "print('{\"problem\": null}')")
CRASHES = (sys.executable, "-I", "-S", "-c", "import os; os.kill(os.getpid(), 11)")


class _Opened:
    """A version that was opened."""

    def __init__(self, version: Version) -> None:
        self.version = version.name


def loader(folder: Path, command: tuple[str, ...] = PASSES) -> ActiveModelLoader:
    return ActiveModelLoader(
        folder,
        lambda version: cast("ModelBundle", _Opened(version)),
        lambda *_: None,
        VersionTrial(folder, command),
    )


@pytest.fixture
def promoted(tmp_path: Path) -> str:
    """A sound version, which is promoted; an older one lies beside it."""
    registry = Registry(tmp_path)
    registry.save({}, FILES, THROUGH - timedelta(days=9))
    name = registry.save({}, FILES, THROUGH)
    registry.promote(name)
    return name


def put_odd_version(folder: Path, what: str, file: str = MANIFEST) -> str:
    """A newer version with something odd in the place of a file."""
    name = Registry(folder).save({"kind": what}, FILES, THROUGH + timedelta(days=20))
    path, aside = folder / name / file, folder / f".{file}"
    path.rename(aside)
    ODD_ENTRIES[what](path, aside)
    return name


@pytest.mark.parametrize("file", [MANIFEST, "values.json"])
@pytest.mark.parametrize("what", sorted(set(ODD_ENTRIES) - {"file without permission"}))
def test_an_odd_file_beside_the_promoted_version_is_listed_as_rejected(
    tmp_path: Path, promoted: str, what: str, file: str
) -> None:
    odd = put_odd_version(tmp_path, what, file)
    watched, started = loader(tmp_path), monotonic()
    watched.refresh()
    assert monotonic() - started < 5
    assert (watched.current.version, watched.current.problems) == (promoted, ())
    rejected = {status.version: status.rejected for status in watched.versions}
    if (what, file) == ("nothing", MANIFEST):
        assert odd not in rejected
        return
    assert f"model version {odd}: {file}" in (rejected[odd] or "") or "manifest" in (
        rejected[odd] or ""
    )
    assert rejected[promoted] is None
    with pytest.raises(ModelCorrupted, match=odd):
        Registry(tmp_path).promote(odd)
    assert Registry(tmp_path).promoted() == promoted


@pytest.mark.parametrize("what", ["link", "endless link", "circular link", "pipe", "empty file"])
def test_something_else_than_a_folder_is_listed_as_rejected(
    tmp_path: Path, promoted: str, what: str
) -> None:
    aside = tmp_path / "aside"
    shutil.copytree(tmp_path / promoted, aside)
    ODD_ENTRIES[what](tmp_path / ODD, aside)
    watched = loader(tmp_path)
    watched.refresh()
    assert watched.current.version == promoted
    rejected = {status.version: status.rejected for status in watched.versions}
    assert "it is no folder" in (rejected[ODD] or "")


def test_names_that_are_no_versions_are_passed_over(tmp_path: Path, promoted: str) -> None:
    for name in (b"\xff\xfe", b"2026.06.01-\xff123456789a", b"manifest.json", b"a\nb", b"x" * 255):
        os.mkdir(os.path.join(os.fsencode(tmp_path), name))  # noqa: PTH102,PTH118  # no text
    (tmp_path / "2026.99.99-0123456789ab").mkdir()
    watched = loader(tmp_path)
    watched.refresh()
    assert watched.current.version == promoted
    assert len(watched.versions) == 2


def test_an_impossible_day_in_a_name_is_no_error(tmp_path: Path, promoted: str) -> None:
    (tmp_path / "2026.99.99-0123456789ab" / MANIFEST).mkdir(parents=True)
    (tmp_path / "2026.99.99-0123456789ac" / MANIFEST).mkdir(parents=True)
    assert Registry(tmp_path).names()[2] == promoted


def test_thousands_of_folders_are_listed_a_part_at_a_time(
    tmp_path: Path, promoted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_swap, "LISTING_SECONDS", 0.02)
    for number in range(1_000):
        folder = tmp_path / f"2026.06.{1 + number % 30:02d}-{number:012x}"
        folder.mkdir()
        (folder / MANIFEST).write_bytes(b"[]")
    watched, started = loader(tmp_path), monotonic()
    watched.refresh()
    assert monotonic() - started < 5
    assert (watched.current.version, len(watched.versions)) == (promoted, 1_002)
    assert sum(status.rejected is not None for status in watched.versions) < 1_000
    monkeypatch.setattr(hot_swap, "LISTING_SECONDS", 60.0)
    watched.refresh()
    assert sum(status.rejected is not None for status in watched.versions) == 1_000


@pytest.mark.parametrize("what", ["endless link", "pipe", "folder", "huge file"])
@pytest.mark.parametrize("file", ["promoted.json", "lane_quantiles.json"])
def test_an_odd_file_beside_the_versions_is_a_problem(
    tmp_path: Path, promoted: str, what: str, file: str
) -> None:
    (tmp_path / file).unlink(missing_ok=True)
    ODD_ENTRIES[what](tmp_path / file, tmp_path)
    watched = loader(tmp_path)
    watched.refresh()
    assert watched.current.version == promoted
    (problem,) = watched.current.problems
    assert str(tmp_path / file) in problem
    assert "delete it" in problem


def test_a_version_that_crashes_leaves_the_active_one_active(tmp_path: Path, promoted: str) -> None:
    watched = loader(tmp_path)
    watched.refresh()
    newer = Registry(tmp_path).save({}, FILES, THROUGH + timedelta(days=1))
    Registry(tmp_path).promote(newer)
    watched.trial = VersionTrial(tmp_path, CRASHES)
    watched.refresh()
    assert (watched.current.version, watched.current.promoted) == (promoted, newer)
    assert "crashed with SIGSEGV" in watched.current.problems[0]
    assert {status.version: bool(status.rejected) for status in watched.versions}[newer]


def test_without_an_active_version_a_crash_leaves_the_start_degraded(
    tmp_path: Path, promoted: str
) -> None:
    watched = loader(tmp_path, CRASHES)
    watched.refresh()
    assert (watched.current.version, watched.current.promoted) == (None, promoted)
    assert promoted in watched.current.problems[0]


def test_a_version_that_crashes_is_neither_promoted_nor_rolled_back_to(
    tmp_path: Path, promoted: str
) -> None:
    newer = Registry(tmp_path).save({}, FILES, THROUGH + timedelta(days=1))
    guarded = Registry(tmp_path, VersionTrial(tmp_path, CRASHES).check)
    with pytest.raises(ModelCorrupted, match="crashed with SIGSEGV"):
        guarded.promote(newer)
    assert guarded.promoted() == promoted
    Registry(tmp_path).promote(newer)
    with pytest.raises(ModelCorrupted, match="crashed with SIGSEGV"):
        guarded.rollback()
    assert guarded.promoted() == newer


def test_the_real_trial_refuses_a_version_that_is_no_model(tmp_path: Path, promoted: str) -> None:
    registry = bootstrap.registry(Settings(models=tmp_path))
    with pytest.raises(ModelCorrupted, match="is not of the kind 'hazard'"):
        registry.promote(promoted)
    with pytest.raises(ModelNotFound):
        registry.promote(ODD)


@pytest.mark.usefixtures("promoted")
def test_a_retry_looks_at_the_rejected_version_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = put_odd_version(tmp_path, "pipe")
    watched = loader(tmp_path)
    watched.refresh()
    newer = Registry(tmp_path).save({}, FILES, THROUGH + timedelta(days=1))
    Registry(tmp_path).promote(newer)
    watched.trial = VersionTrial(tmp_path, CRASHES)
    watched.refresh()
    assert {status.version for status in watched.versions if status.rejected} == {odd, newer}
    looked_at: list[str] = []
    verify = Registry.verify

    def observe(registry: Registry, name: str) -> Mapping[str, Any]:
        looked_at.append(name)
        return verify(registry, name)

    monkeypatch.setattr(Registry, "verify", observe)
    watched.trial = VersionTrial(tmp_path, PASSES)
    monkeypatch.setattr(hot_swap, "monotonic", lambda: monotonic() + 3_600)
    watched.refresh()
    assert (watched.current.version, looked_at) == (newer, [newer])
    assert {status.version for status in watched.versions if status.rejected} == {odd}
