"""Model versions in folders: written whole or not at all, checked before anything is opened.

A version's folder holds data files and, written last, ``manifest.json`` with the SHA-256 of each.
The name of the folder ends with a digest of the manifest, so that every changed byte is detected.
Nothing in a version is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from eta.domain.errors import FileRejected, ModelCorrupted, ModelNotFound
from eta.files import PUBLIC, open_regular, sync, write_atomically, write_durably
from eta.model.manifest import MAX_FILE_BYTES, manifest_bytes, parse_manifest
from eta.stored_values import TRAIN_AGAIN, load_json

MANIFEST = "manifest.json"
FORMAT = 3
_SIDECAR_FORMAT = 2
_PROMOTED = "promoted.json"
_NAME = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}-[0-9a-f]{12}")
_DAY_LENGTH = len("2026.05.10")
_MAX_MANIFEST_BYTES, _MAX_HISTORY_BYTES = 4 * 2**20, 4 * 2**20
_MAX_SIDECAR_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Version:
    """A version with every byte checked."""

    name: str
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def data_through(self) -> datetime:
        """The end of the training data, aware."""
        return data_through(self.manifest)


def data_through(manifest: Mapping[str, Any]) -> datetime:
    """The end of the training data of a version, aware."""
    return datetime.fromisoformat(manifest["data"]["through"])


class Registry:
    """The versions under one folder.

    What else is in the folder is in nobody's way: a version that cannot be read is refused alone.
    """

    def __init__(self, folder: Path, try_version: Callable[[str], None] = lambda _: None) -> None:
        """The registry in a folder.

        Args:
            folder: it need not exist.
            try_version: raises an error if a version, given its name, must not become active.
        """
        self._folder = folder
        self._try_version = try_version

    def save(
        self, metadata: Mapping[str, Any], files: Mapping[str, bytes], data_through: datetime
    ) -> str:
        """Writes a version and returns its name; the same content is the same version.

        Args:
            metadata: plain values for the manifest.
            files: the content of each data file, by name.
            data_through: the end of the training data, aware.
        """
        data_through = data_through.astimezone(UTC)
        manifest = manifest_bytes({"format": FORMAT, **metadata}, files, data_through)
        name = f"{data_through:%Y.%m.%d}-{_digest(manifest)}"
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._is_sound(name):
            # What is there, if anything, cannot be used; the new files can.
            _remove(self._folder / name)
            self._write_version(self._folder / name, {**files, MANIFEST: manifest})
        return name

    def _is_sound(self, name: str) -> bool:
        """Whether there is such a version, every byte of it right."""
        try:
            self.verify(name)
        except (ModelCorrupted, ModelNotFound):
            return False
        return True

    def _write_version(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Writes a folder whole or not at all, its files in their order."""
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self._folder))
        try:
            for file, content in files.items():
                write_durably(unfinished / file, content)
            sync(unfinished)
            unfinished.chmod(0o755)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync(self._folder)

    def load(self, name: str) -> Version:
        """A version, every file checked against the manifest and the manifest against the name.

        Raises:
            ModelNotFound: if there is no such version.
            ModelCorrupted: if a byte differs, or a file is absent or no regular file.
        """
        manifest = self._manifest(name)
        with _naming(name):
            files = {
                file: _checked_content(self._folder / name / file, entry)
                for file, entry in manifest["files"].items()
            }
        return Version(name, manifest, files)

    def verify(self, name: str) -> Mapping[str, Any]:
        """The manifest of a version, checked as ``load`` does but without holding its files.

        Raises:
            ModelNotFound, ModelCorrupted: as ``load``.
        """
        manifest = self._manifest(name)
        with _naming(name):
            for file, entry in manifest["files"].items():
                _check_digest(self._folder / name / file, entry)
        return manifest

    def names(self) -> list[str]:
        """All finished versions, the one with the newest training data first.

        Versions that cannot be read are among them, the last ones of the day in their name.
        """
        by_day: dict[str, list[str]] = defaultdict(list)
        for name in self._finished():
            by_day[name[:_DAY_LENGTH]].append(name)
        ordered: list[str] = []
        for day in sorted(by_day, reverse=True):
            names = by_day[day]
            # The name holds the day; only several of one day need a look into their manifests.
            key = self._order_key if len(names) > 1 else None
            ordered += sorted(names, key=key, reverse=True)
        return ordered

    def _finished(self) -> Iterator[str]:
        """The names of all versions that have a manifest, of whatever kind."""
        try:
            entries = os.scandir(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and _has_manifest(Path(entry.path)):
                    yield entry.name

    def _order_key(self, name: str) -> tuple[float, str]:
        try:
            return data_through(self._manifest(name)).timestamp(), name
        except (ModelCorrupted, ModelNotFound):
            return 0.0, name

    def promoted(self) -> str | None:
        """The active version, or None."""
        history = self._history()
        return history[-1] if history else None

    def promote(self, name: str) -> None:
        """Makes a version active, in one step and only if all of it is sound.

        Raises:
            ModelNotFound: if there is no such version.
            ModelCorrupted: if it does not match its manifest, or fails when it is tried; the
                version before stays active.
        """
        self.verify(name)
        self._try_version(name)
        history = self._history()
        if not history or history[-1] != name:
            self._set_history([*history, name])

    def rollback(self) -> str:
        """Makes the version before active again, and returns it.

        Raises:
            ModelNotFound: if none was active before.
            ModelCorrupted: if that version no longer matches its manifest, or fails when it is
                tried; nothing changes then.
        """
        history = self._history()
        if len(history) < 2:
            raise ModelNotFound("no version served before this one")
        self.verify(history[-2])
        self._try_version(history[-2])
        self._set_history(history[:-1])
        return history[-2]

    def save_sidecar(self, file: str, values: Mapping[str, Any]) -> None:
        """Writes plain values into a file beside the versions, whole or not at all."""
        envelope = {
            "format": _SIDECAR_FORMAT,
            "sha256": hashlib.sha256(_canonical_json(values)).hexdigest(),
            "values": values,
        }
        write_atomically(self._folder / file, _canonical_json(envelope) + b"\n", mode=PUBLIC)

    def load_sidecar(self, file: str) -> dict[str, Any] | None:
        """Returns the values of a file beside the versions, None if there is none.

        Raises:
            ModelCorrupted: if it has another format, or its values do not match the digest in it.
        """
        path = self._folder / file
        envelope = _read_envelope(path)
        if envelope is None:
            return None
        if envelope.format != _SIDECAR_FORMAT:
            raise ModelCorrupted(
                f"{path}: format {envelope.format} is not ours: this program reads format "
                f"{_SIDECAR_FORMAT}; {TRAIN_AGAIN}"
            )
        if not envelope.is_sound:
            raise ModelCorrupted(f"{path} differs from the digest in it; {TRAIN_AGAIN}")
        return dict(envelope.values)

    def _manifest(self, name: str) -> dict[str, Any]:
        folder = self._folder / name
        status = _status(folder) if _NAME.fullmatch(name) else None
        if status is None:
            raise ModelNotFound(
                f"there is no model version {name!r} in {self._folder}; "
                "`eta models list` shows all versions"
            )
        with _naming(name):
            if not stat.S_ISDIR(status.st_mode):
                raise ModelCorrupted("it is no folder; delete it")
            try:
                content = _content(folder / MANIFEST, _MAX_MANIFEST_BYTES)
            except FileNotFoundError:
                raise ModelCorrupted("it has no manifest, it was never finished") from None
            if not name.endswith(_digest(content)):
                raise ModelCorrupted(f"its manifest was changed; {TRAIN_AGAIN}")
            return parse_manifest(content, FORMAT, name[:_DAY_LENGTH])

    def _history(self) -> list[str]:
        path = self._folder / _PROMOTED
        try:
            history = load_json(_PROMOTED, _content(path, _MAX_HISTORY_BYTES))["history"]
            if not isinstance(history, list) or not all(isinstance(name, str) for name in history):
                raise TypeError(history)
            return history
        except FileNotFoundError:
            return []
        except (ModelCorrupted, KeyError, TypeError):
            raise ModelCorrupted(
                f"{path} cannot be read; delete it and promote a version again"
            ) from None

    def _set_history(self, history: list[str]) -> None:
        content = json.dumps({"history": history}, indent=1).encode() + b"\n"
        write_atomically(self._folder / _PROMOTED, content, mode=PUBLIC)


@dataclass(frozen=True)
class _Envelope:
    """A file beside the versions: its format, its values, and whether they match their digest."""

    format: object
    values: Mapping[str, Any]
    is_sound: bool


def _read_envelope(path: Path) -> _Envelope | None:
    """The file, None if there is none."""
    try:
        content = json.loads(_content(path, _MAX_SIDECAR_BYTES))
        file_format, digest, values = content["format"], content["sha256"], content["values"]
        is_object = isinstance(values, dict)
        values_digest = hashlib.sha256(_canonical_json(values)).hexdigest()
    except FileNotFoundError:
        return None
    except ModelCorrupted as error:
        raise ModelCorrupted(f"{path}: {error}, and {TRAIN_AGAIN}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelCorrupted(f"{path} is not ours; delete it, and {TRAIN_AGAIN}") from None
    return _Envelope(file_format, values, is_object and values_digest == digest)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Names the version in errors about it."""
    try:
        yield
    except ModelCorrupted as error:
        raise ModelCorrupted(f"model version {name}: {error}") from None


def _status(path: Path) -> os.stat_result | None:
    """The status of a path itself, not of what it links to; None if there is nothing."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove(path: Path) -> None:
    """Deletes a folder, or whatever is in its place."""
    status = _status(path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        shutil.rmtree(path)
    elif status is not None:
        path.unlink()


def _has_manifest(folder: Path) -> bool:
    """Whether a folder was finished, or is something else than a folder that can be read."""
    try:
        (folder / MANIFEST).lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _checked_content(path: Path, entry: Mapping[str, Any]) -> bytes:
    """The content of a version's data file, if it has the size and the digest of its entry."""
    with _data_file(path, entry) as file:
        content = file.read(entry["bytes"])
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise _differs(path.name)
    return content


def _check_digest(path: Path, entry: Mapping[str, Any]) -> None:
    """Checks a version's data file like ``_checked_content``, a piece at a time."""
    with _data_file(path, entry) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
            raise _differs(path.name)


@contextmanager
def _data_file(path: Path, entry: Mapping[str, Any]) -> Iterator[BufferedReader]:
    """A version's data file, opened; it has the size of its entry."""
    try:
        with _opened(path, MAX_FILE_BYTES) as file:
            if os.fstat(file.fileno()).st_size != entry["bytes"]:
                raise _differs(path.name)
            yield file
    except FileNotFoundError:
        raise ModelCorrupted(f"{path.name} is missing; {TRAIN_AGAIN}") from None


@contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[BufferedReader]:
    """A regular file that is no link, opened.

    Raises:
        FileNotFoundError: if there is nothing.
        ModelCorrupted: if it is anything else, is larger than ``max_bytes`` or cannot be read.
    """
    try:
        path.lstat()
        with open_regular(path, max_bytes=max_bytes, follows_links=False) as file:
            yield cast("BufferedReader", file)
    except FileNotFoundError:
        raise
    except FileRejected as error:
        raise ModelCorrupted(f"{path.name} cannot be read: {error.problem}; delete it") from None
    except OSError as error:
        raise ModelCorrupted(f"{path.name} cannot be read: {error.strerror}") from None


def _content(path: Path, max_bytes: int) -> bytes:
    """The content of a file, which ``_opened`` opens."""
    with _opened(path, max_bytes) as file:
        return file.read(max_bytes)


def _differs(file: str) -> ModelCorrupted:
    return ModelCorrupted(f"{file} differs from its manifest; nothing of it was opened")


def _canonical_json(values: Mapping[str, Any]) -> bytes:
    """JSON, the same bytes for the same values."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:12]
