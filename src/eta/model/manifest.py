"""The manifest of a model version: what it may say, as a schema, and its bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter

from eta.domain.errors import ModelCorrupted
from eta.stored_values import (
    TRAIN_AGAIN,
    Finite,
    Name,
    StoredModel,
    check_values,
    load_json,
    parse_utc,
)

#: The largest data file, and the largest version.
MAX_FILE_BYTES, MAX_VERSION_BYTES = 256 * 2**20, 512 * 2**20

_FILE_NAME = re.compile(r"[a-z0-9_]+\.[a-z]+")
_MAX_FILES = 100


def _is_time(text: str) -> str:
    """The text, if it is a time with an offset."""
    parse_utc(text)
    return text


def _are_file_names(files: dict[str, _StoredFile]) -> dict[str, _StoredFile]:
    """The files, if their names are no paths and they are not too large together."""
    for file in files:
        if not _FILE_NAME.fullmatch(file):
            raise ValueError(f"{file!r} is no name of a data file")
    if sum(file.bytes for file in files.values()) > MAX_VERSION_BYTES:
        raise ValueError(f"they are larger than {MAX_VERSION_BYTES:,} bytes")
    return files


_Time = Annotated[str, AfterValidator(_is_time)]
_Figure = Finite | int | bool | None


class _StoredFile(StoredModel):
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]


class _Data(StoredModel):
    """The training data."""

    through: _Time
    source: Name | None = None
    sha256: Name | None = None
    examples: Annotated[int, Field(ge=0)] | None = None
    is_simulated: bool = False


class _CheckedRow(StoredModel, extra="allow"):
    """Figures of a model at a moment, or of a segment of it."""

    __pydantic_extra__: dict[str, _Figure | list[Finite | None]]
    model: Name
    moment: Name
    segment: Name | None = None
    value: Name | None = None


class _Difference(StoredModel, extra="allow"):
    """The difference of a metric from that of a baseline."""

    __pydantic_extra__: dict[str, _Figure]
    model: Name
    against: Name
    moment: Name
    metric: Name
    mean: Finite | None
    low: Finite | None
    high: Finite | None


class _Check(StoredModel):
    """The check against earlier days."""

    from_: Annotated[Name, Field(alias="from")]
    to: Name
    rows: list[_CheckedRow]
    differences: list[_Difference]
    by_segment: list[_CheckedRow]


class _Update(StoredModel):
    """What `eta update` started from."""

    fitted: Name
    fitted_through: _Time
    sha256: Name


class _Manifest(StoredModel):
    format: int
    files: Annotated[
        dict[str, _StoredFile], Field(max_length=_MAX_FILES), AfterValidator(_are_file_names)
    ]
    data: _Data
    kind: Name | None = None
    parameters: dict[Name, _Figure] | None = None
    columns: dict[Name, list[Name]] | None = None
    check: _Check | None = None
    silence_level: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    quality: dict[Name, Any] | None = None
    updated: _Update | None = None


_MANIFEST = TypeAdapter(_Manifest)


def manifest_bytes(
    metadata: Mapping[str, Any], files: Mapping[str, bytes], data_through: datetime
) -> bytes:
    """The manifest of a version; the same content gives the same bytes."""
    hashes = {}
    for name, content in sorted(files.items()):
        sha256 = hashlib.sha256(content).hexdigest()
        hashes[name] = {"sha256": sha256, "bytes": len(content)}
    data = {**metadata.get("data", {}), "through": data_through.isoformat()}
    manifest = {**metadata, "data": data, "files": hashes}
    return json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def parse_manifest(content: bytes, file_format: int, day: str) -> dict[str, Any]:
    """The manifest, of this format, of a version whose name begins with a day as "2026.05.10".

    Raises:
        ModelCorrupted: if it is of another format, or not what it must be.
    """
    manifest = load_json("its manifest", content)
    stated = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(stated, int) and stated != file_format:
        raise ModelCorrupted(
            f"format {stated} is not ours: this program reads format {file_format}; {TRAIN_AGAIN}"
        )
    checked = check_values("its manifest", _MANIFEST, manifest)
    if f"{parse_utc(checked.data.through):%Y.%m.%d}" != day:
        raise ModelCorrupted(f"its manifest is of another day than {day}; {TRAIN_AGAIN}")
    return dict(manifest)
