from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eta.domain.errors import ModelCorrupted, ModelNotFound
from eta.files import write_atomically
from eta.model.registry import FORMAT, MANIFEST, Registry

THROUGH = datetime(2018, 5, 15, 3, tzinfo=UTC)
METADATA = {"kind": "test", "data": {"source": "olist", "examples": 3}, "parameters": {"trees": 2}}
FILES = {"arrays.npz": b"\x00\x01not really arrays\xff", "stage_durations.json": b'{"a": 1}\n'}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def registry(folder: Path) -> Registry:
    return Registry(folder)


def save(registry: Registry, days: int = 0) -> str:
    """Saves a version whose training data end so many days later."""
    return registry.save(METADATA, FILES, THROUGH + timedelta(days=days))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def flip(path: Path, position: int, mask: int = 0xFF) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= mask
    path.write_bytes(content)


def forbidden(*_: object, **__: object) -> Any:
    raise AssertionError("a file that fails its check was opened")


def syncs_until_done(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, act: Callable[[], object]
) -> Iterator[None]:
    """Yields after each attempt at an act, interrupted at its first, second, ... write to disk."""
    for allowed in range(20):
        calls = iter(range(20))

        def sync(_: int, allowed: int = allowed, calls: Iterator[int] = calls) -> None:
            if next(calls) >= allowed:
                raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sync)
            try:
                act()
            except type(error):
                was_cut_off = True
            else:
                was_cut_off = False
        yield
        if not was_cut_off:
            assert allowed > 1, "the act wrote nothing durably"
            return
    raise AssertionError("the act never ended")


def test_a_version_comes_back_as_it_was_saved(registry: Registry, folder: Path) -> None:
    name = save(registry)
    version = Registry(folder).load(name)
    assert version.files == FILES
    assert version.data_through == THROUGH
    assert version.manifest["parameters"] == METADATA["parameters"]
    assert version.manifest["data"] == {
        "source": "olist",
        "examples": 3,
        "through": THROUGH.isoformat(),
    }
    assert set(version.manifest["files"]) == set(FILES)


def test_equal_content_gives_equal_versions_byte_for_byte(
    registry: Registry, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    names = {
        save(registry),
        save(registry),
        Registry(other).save(
            dict(reversed(METADATA.items())), dict(reversed(FILES.items())), THROUGH
        ),
    }
    assert len(names) == 1
    assert snapshot(folder) == snapshot(other)


@pytest.mark.parametrize(
    ("metadata", "files", "days"),
    [
        ({**METADATA, "kind": "other"}, FILES, 0),
        (METADATA, {**FILES, "stage_durations.json": b'{"a": 2}\n'}, 0),
        (METADATA, FILES, 1),
    ],
)
def test_other_content_is_another_version(
    registry: Registry, metadata: dict[str, Any], files: dict[str, bytes], days: int
) -> None:
    names = {save(registry), registry.save(metadata, files, THROUGH + timedelta(days=days))}
    assert len(names) == 2
    assert set(registry.names()) == names


def test_the_version_with_the_newest_data_comes_first(registry: Registry) -> None:
    middle, last, first = save(registry, 1), save(registry, 400), save(registry)
    # The same day in two zones: the moment decides, not the text.
    later_the_same_day = registry.save(
        METADATA, FILES, datetime.fromisoformat("2018-05-15T23:00:00-03:00")
    )
    assert registry.names() == [last, middle, later_the_same_day, first]


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
@pytest.mark.parametrize("file", [MANIFEST, *FILES])
def test_every_flipped_byte_is_refused(
    registry: Registry, folder: Path, file: str, mask: int
) -> None:
    name = save(registry)
    path = folder / name / file
    for position in range(path.stat().st_size):
        flip(path, position, mask)
        with pytest.raises(ModelCorrupted, match=name):
            registry.load(name)
        flip(path, position, mask)
    assert registry.load(name).files == FILES


def test_a_changed_manifest_is_refused_before_it_is_parsed(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = save(registry)
    flip(folder / name / MANIFEST, 5)
    monkeypatch.setattr(json, "loads", forbidden)
    with pytest.raises(ModelCorrupted, match="manifest was changed"):
        registry.load(name)


@pytest.mark.parametrize("file", [MANIFEST, *FILES])
@pytest.mark.parametrize("length", [None, 0, 1, -1])
def test_a_missing_or_truncated_file_is_refused(
    registry: Registry, folder: Path, file: str, length: int | None
) -> None:
    name = save(registry)
    path = folder / name / file
    content = path.read_bytes()
    path.unlink()
    if length is not None:
        path.write_bytes(content[:length])
    with pytest.raises(ModelCorrupted, match=name):
        registry.load(name)


def test_a_file_with_appended_bytes_is_refused(registry: Registry, folder: Path) -> None:
    name = save(registry)
    with (folder / name / "stage_durations.json").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ModelCorrupted, match=r"stage_durations\.json"):
        registry.load(name)


def test_a_version_under_another_versions_name_is_refused(registry: Registry, folder: Path) -> None:
    name, other = save(registry), save(registry, 1)
    (folder / name).rename(folder / "aside")
    (folder / other).rename(folder / name)
    with pytest.raises(ModelCorrupted, match="manifest was changed"):
        registry.load(name)


def test_saving_again_fixes_a_corrupted_version(registry: Registry, folder: Path) -> None:
    name = save(registry)
    flip(folder / name / "arrays.npz", 0)
    assert save(registry) == name
    assert registry.load(name).files == FILES


def test_an_unfinished_version_is_not_listed_and_disturbs_nothing(
    registry: Registry, folder: Path
) -> None:
    serving = save(registry)
    registry.promote(serving)
    unfinished = folder / ".unfinished-k2j4h5"
    unfinished.mkdir()
    for file, content in snapshot(folder / serving).items():
        (unfinished / file).write_bytes(content)
    without_manifest = Registry(folder.parent / "other").save(
        METADATA, FILES, THROUGH + timedelta(days=1)
    )
    (folder / without_manifest).mkdir()
    (folder / without_manifest / "arrays.npz").write_bytes(FILES["arrays.npz"][:3])
    (folder / "notes.txt").write_text("not a version")

    assert registry.names() == [serving]
    assert registry.promoted() == serving
    with pytest.raises(ModelCorrupted, match="never finished"):
        registry.load(without_manifest)
    with pytest.raises(ModelNotFound):
        registry.load(unfinished.name)
    # The training that was cut off can be done again.
    assert save(registry, 1) == without_manifest
    assert registry.names() == [without_manifest, serving]


@pytest.mark.parametrize(
    "error",
    [OSError("no space left on device"), KeyboardInterrupt()],
    ids=["full disk", "interrupt"],
)
def test_an_interrupted_save_leaves_a_whole_version_or_none(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    serving = save(registry)
    registry.promote(serving)
    before = snapshot(folder)
    for _ in syncs_until_done(monkeypatch, error, lambda: save(registry, 1)):
        for name in registry.names():
            assert registry.load(name).files == FILES
        assert registry.promoted() == serving
        assert before.items() <= snapshot(folder).items()
        assert not list(folder.glob(".unfinished-*"))
    assert len(registry.names()) == 2


@pytest.mark.parametrize(
    "error",
    [OSError("no space left on device"), KeyboardInterrupt()],
    ids=["full disk", "interrupt"],
)
def test_an_interrupted_promotion_leaves_the_old_or_the_new_version(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    old, new = save(registry), save(registry, 1)
    registry.promote(old)
    served = []
    for _ in syncs_until_done(monkeypatch, error, lambda: registry.promote(new)):
        served.append(registry.promoted())
        assert not list(folder.glob(".unfinished-*"))
    assert set(served) == {old, new}
    assert served[-1] == new
    assert registry.rollback() == old


def test_no_version_is_active_until_one_is_promoted(registry: Registry) -> None:
    assert registry.promoted() is None
    assert registry.names() == []
    save(registry)
    assert registry.promoted() is None


def test_rollback_returns_step_by_step_to_the_first_version_promoted(
    registry: Registry, folder: Path
) -> None:
    first, second, third = save(registry), save(registry, 1), save(registry, 2)
    for name in (first, third, third, second):
        registry.promote(name)
    assert Registry(folder).promoted() == second
    # Promoting what serves already is no step.
    assert [registry.rollback(), registry.rollback()] == [third, first]
    with pytest.raises(ModelNotFound, match="no version served before"):
        registry.rollback()
    assert registry.promoted() == first


def test_a_corrupted_version_is_not_promoted_and_the_last_one_stays(
    registry: Registry, folder: Path
) -> None:
    good, bad = save(registry), save(registry, 1)
    registry.promote(good)
    flip(folder / bad / "arrays.npz", 3)
    with pytest.raises(ModelCorrupted, match="nothing of it was opened"):
        registry.promote(bad)
    assert registry.promoted() == good
    assert registry.load(good).files == FILES


def test_there_is_no_rollback_to_a_corrupted_version(registry: Registry, folder: Path) -> None:
    bad, good = save(registry), save(registry, 1)
    registry.promote(bad)
    registry.promote(good)
    flip(folder / bad / MANIFEST, 3)
    with pytest.raises(ModelCorrupted):
        registry.rollback()
    assert registry.promoted() == good


def test_a_corrupted_version_stays_in_the_list_and_hides_no_other(
    registry: Registry, folder: Path
) -> None:
    oldest, middle, newest = save(registry), save(registry, 1), save(registry, 2)
    flip(folder / middle / MANIFEST, 3)
    assert registry.names() == [newest, middle, oldest]


@pytest.mark.parametrize(
    "name",
    [
        "../2018.05.15-0123456789ab",
        "../x",
        "/etc",
        ".",
        "..",
        "",
        "x",
        "2018.05.15-0123456789ab",
        "2018.05.15-0123456789ab\n",
    ],
)
def test_names_that_are_no_versions_are_refused(
    registry: Registry, folder: Path, name: str
) -> None:
    sound = save(Registry(folder.parent))
    serving = save(registry)
    registry.promote(serving)
    for name_given in (name, f"../{sound}", f"{serving}/../{serving}"):
        with pytest.raises(ModelNotFound, match=re.escape(repr(name_given))):
            registry.load(name_given)
        with pytest.raises(ModelNotFound):
            registry.promote(name_given)
    assert registry.promoted() == serving


@pytest.mark.parametrize(
    "file", ["../secret.json", "/etc/hostname", "sub/secret.json", "SECRET.json"]
)
def test_a_version_that_names_files_elsewhere_is_refused(
    registry: Registry, folder: Path, file: str
) -> None:
    secret = b"{}"
    (folder / "sub").mkdir(parents=True)
    for path in (folder / "secret.json", folder / "sub" / "secret.json"):
        path.write_bytes(secret)
    # We write no such version; somebody else might, with every digest right.
    hashes = {file: {"sha256": hashlib.sha256(secret).hexdigest(), "bytes": len(secret)}}
    manifest = json.dumps(
        {"format": FORMAT, "data": {"through": THROUGH.isoformat()}, "files": hashes}
    ).encode()
    name = f"2018.05.15-{hashlib.sha256(manifest).hexdigest()[:12]}"
    (folder / name / "sub").mkdir(parents=True)
    for path in (folder / name / "sub" / "secret.json", folder / name / "SECRET.json"):
        path.write_bytes(secret)
    (folder / name / MANIFEST).write_bytes(manifest)
    with pytest.raises(ModelCorrupted, match="no name of a data file"):
        registry.load(name)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"history": 5}', b'{"history": null}', b"\xff\xfe\x00"],
)
def test_a_corrupted_record_of_promotions_is_a_clear_error(
    registry: Registry, folder: Path, content: bytes
) -> None:
    name = save(registry)
    registry.promote(name)
    record = next(path for path in folder.iterdir() if path.is_file())
    record.write_bytes(content)
    with pytest.raises(
        ModelCorrupted, match=re.escape(str(record)) + ".*delete it and promote a version again"
    ):
        registry.promoted()
    record.unlink()
    registry.promote(name)
    assert registry.promoted() == name


@pytest.mark.parametrize(
    "error",
    [OSError("no space left on device"), KeyboardInterrupt()],
    ids=["full disk", "interrupt"],
)
def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "new" / "scores.csv"
    write_atomically(path, b"old")
    for _ in syncs_until_done(monkeypatch, error, lambda: write_atomically(path, b"new")):
        assert path.read_bytes() in (b"old", b"new")
        assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == b"new"
