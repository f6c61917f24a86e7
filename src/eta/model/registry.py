"""Model versions in folders: written whole or not at all, checked before anything is opened.

A version's folder holds data files and, written last, ``manifest.json`` with the SHA-256 of each.
The name of the folder ends with a digest of the manifest, so that every changed byte is detected.
Nothing in a version is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eta.domain.errors import ModelCorrupted, ModelNotFound
from eta.files import PUBLIC, sync, write_atomically, write_durably

MANIFEST = "manifest.json"
FORMAT = 3
_SIDECAR_FORMAT = 2
_PROMOTED = "promoted.json"
_NAME = re.compile(r"\d{4}\.\d{2}\.\d{2}-[0-9a-f]{12}")
_FILE_NAME = re.compile(r"[a-z0-9_]+\.[a-z]+")
_MAX_MANIFEST_BYTES = 16 * 2**20
_MAX_SIDECAR_BYTES = 256 * 2**20

#: What to do about a file that cannot be used.
TRAIN_AGAIN = "train again with `eta train DATA`"


@dataclass(frozen=True)
class Version:
    """A version with every byte checked."""

    name: str
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def data_through(self) -> datetime:
        """The end of the training data, aware."""
        return datetime.fromisoformat(self.manifest["data"]["through"])


class Registry:
    """The versions under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
        manifest = _manifest_bytes(metadata, files, data_through)
        name = f"{data_through:%Y.%m.%d}-{_digest(manifest)}"
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = self._folder / name
        if folder.exists():
            try:
                return self.load(name).name
            except ModelCorrupted:
                # The version there cannot be used; the new files can.
                shutil.rmtree(folder)
        self._write_version(folder, {**files, MANIFEST: manifest})
        return name

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
            ModelCorrupted: if a byte differs, or a file is absent.
        """
        folder = self._folder / name
        if not _NAME.fullmatch(name) or not folder.is_dir():
            raise ModelNotFound(
                f"there is no model version {name!r} in {self._folder}; "
                "`eta models list` shows all versions"
            )
        manifest = self._manifest(folder)
        files = {
            file: _checked_content(folder, file, expected["sha256"])
            for file, expected in manifest["files"].items()
        }
        return Version(name, manifest, files)

    def names(self) -> list[str]:
        """All finished versions, the one with the newest training data first."""
        if not self._folder.is_dir():
            return []
        ends = []
        for folder in self._folder.iterdir():
            if not _NAME.fullmatch(folder.name) or not (folder / MANIFEST).is_file():
                continue
            try:
                through = datetime.fromisoformat(self._manifest(folder)["data"]["through"])
            except ModelCorrupted:
                # The date in the name has to do; loading this version raises the error.
                through = datetime.strptime(folder.name[:10] + " +0000", "%Y.%m.%d %z")
            ends.append((through.timestamp(), folder.name))
        return [name for _, name in sorted(ends, reverse=True)]

    def promoted(self) -> str | None:
        """The active version, or None."""
        history = self._history()
        return history[-1] if history else None

    def promote(self, name: str) -> None:
        """Makes a version active, in one step and only if all of it is sound.

        Raises:
            ModelNotFound: if there is no such version.
            ModelCorrupted: if it does not match its manifest; the version before stays active.
        """
        self.load(name)
        history = self._history()
        if not history or history[-1] != name:
            self._set_history([*history, name])

    def rollback(self) -> str:
        """Makes the version before active again, and returns it.

        Raises:
            ModelNotFound: if none was active before.
            ModelCorrupted: if that version no longer matches its manifest; nothing changes then.
        """
        history = self._history()
        if len(history) < 2:
            raise ModelNotFound("no version served before this one")
        self.load(history[-2])
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

    def _manifest(self, folder: Path) -> dict[str, Any]:
        version = f"model version {folder.name}"
        path = folder / MANIFEST
        try:
            if path.stat().st_size > _MAX_MANIFEST_BYTES:
                raise ModelCorrupted(f"{version}: its manifest is too large; {TRAIN_AGAIN}")
            content = path.read_bytes()
        except OSError:
            raise ModelCorrupted(f"{version}: it has no manifest, it was never finished") from None
        if not folder.name.endswith(_digest(content)):
            raise ModelCorrupted(f"{version}: its manifest was changed; {TRAIN_AGAIN}")
        manifest: dict[str, Any] = json.loads(content)
        if not {"format", "data", "files"} <= manifest.keys():
            raise ModelCorrupted(f"{version}: its manifest lacks entries; {TRAIN_AGAIN}")
        if manifest["format"] != FORMAT:
            raise ModelCorrupted(
                f"{version}: format {manifest['format']} is not ours: this program reads format "
                f"{FORMAT}; {TRAIN_AGAIN}"
            )
        return manifest

    def _history(self) -> list[str]:
        try:
            history = json.loads((self._folder / _PROMOTED).read_bytes())["history"]
            if not isinstance(history, list) or not all(isinstance(name, str) for name in history):
                raise TypeError(history)
            return history
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            raise ModelCorrupted(
                f"{self._folder / _PROMOTED} cannot be read; delete it and promote a version again"
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
        if path.stat().st_size > _MAX_SIDECAR_BYTES:
            raise ModelCorrupted(f"{path} is too large to be ours; delete it, and {TRAIN_AGAIN}")
        content = json.loads(path.read_bytes())
        file_format, digest, values = content["format"], content["sha256"], content["values"]
        is_object = isinstance(values, dict)
        values_digest = hashlib.sha256(_canonical_json(values)).hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelCorrupted(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelCorrupted(f"{path} is not ours; delete it, and {TRAIN_AGAIN}") from None
    return _Envelope(file_format, values, is_object and values_digest == digest)


def _manifest_bytes(
    metadata: Mapping[str, Any], files: Mapping[str, bytes], data_through: datetime
) -> bytes:
    """The manifest of a version; the same content gives the same bytes."""
    hashes = {}
    for name, content in sorted(files.items()):
        sha256 = hashlib.sha256(content).hexdigest()
        hashes[name] = {"sha256": sha256, "bytes": len(content)}
    data = {**metadata.get("data", {}), "through": data_through.isoformat()}
    manifest = {"format": FORMAT, **metadata, "data": data, "files": hashes}
    return json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def _checked_content(folder: Path, file: str, sha256: str) -> bytes:
    """The content of a version's data file, if it has this digest."""
    if not _FILE_NAME.fullmatch(file):
        raise ModelCorrupted(f"model version {folder.name}: {file!r} is no name of a data file")
    try:
        content = (folder / file).read_bytes()
    except OSError:
        raise ModelCorrupted(f"model version {folder.name}: {file} is missing") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelCorrupted(
            f"model version {folder.name}: {file} differs from its manifest; "
            "nothing of it was opened"
        )
    return content


def _canonical_json(values: Mapping[str, Any]) -> bytes:
    """JSON, the same bytes for the same values."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:12]
