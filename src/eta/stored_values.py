"""Schemas of what a model version stores: arrays and JSON, checked before anything computes.

A digest proves that a file is the one that was written, not that it is sound. So each part of a
version declares what its arrays and values may be, and a part that is anything else is refused.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from eta.domain.errors import ModelCorrupted

#: What to do about a file that cannot be used.
TRAIN_AGAIN = "train again with `eta train DATA`"

#: The longest text that names a category, a place or a group of parcels.
MAX_NAME_LENGTH = 2_000

#: The largest count, which sums of counts can hold.
MAX_COUNT = 10**12

#: The most arrays of a file, the largest directory of them, and the highest code point of a text.
_MAX_ARRAYS, _MAX_DIRECTORY_BYTES, _MAX_CODE_POINT = 1_000, 2**20, 0x10FFFF

#: The years of stored times.
_FIRST_YEAR, _LAST_YEAR = 1970, 2200

#: How the directory of a zip file ends, and how one of more than 4 GiB does.
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _END_64_BYTES = 22, 20

#: How the header of an array is read, by its version.
_READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

#: What ``zipfile`` raises if a file is damaged.
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, struct.error, EOFError, OSError),
    *(LookupError, NotImplementedError, RuntimeError, ValueError),
)

#: A finite number.
Finite = Annotated[float, Field(allow_inf_nan=False)]
#: A finite number of 0 or more.
NonNegative = Annotated[float, Field(allow_inf_nan=False, ge=0.0)]
#: How many there are of something.
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
#: The name of a category, a place or a group.
Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]

Arrays = Mapping[str, NDArray[Any]]
T = TypeVar("T")


class StoredModel(BaseModel):
    """A JSON object with these fields and no others; nothing is converted but 1 to 1.0."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True)
class ArraySchema:
    """What an array may be. No number is NaN, or infinite unless ``may_be_infinite``.

    A dimension is a number, or a name such as "carriers" or "carriers+1": wherever a name occurs it
    is the same number.
    """

    #: The type of the elements, such as "float32"; "str" for texts of any length.
    dtype: str
    shape: tuple[int | str, ...]
    low: float | None = None
    high: float | None = None
    #: The name of a dimension that all values are below.
    below: str | None = None
    may_be_infinite: bool = False


def parse_utc(text: str) -> datetime:
    """A time with an offset, in UTC and within the years that this program handles.

    Raises:
        ValueError: if it is anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError("the time has no offset from UTC")
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"the year is outside {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment.astimezone(UTC)


def load_json(part: str, content: bytes) -> Any:
    """The values of a JSON file of a version.

    Raises:
        ModelCorrupted: if it is not JSON, is nested too deeply, or holds NaN or an infinite number.
    """
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise ModelCorrupted(f"{part} is not JSON: {error}; {TRAIN_AGAIN}") from None


def check_values(part: str, schema: TypeAdapter[T], values: object) -> T:
    """The values of a part, of the types and in the ranges of its schema.

    Raises:
        ModelCorrupted: if a value is missing, unknown, of another type or out of range.
    """
    try:
        return schema.validate_python(values, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ModelCorrupted(f"{part}: {_described(details)}; {TRAIN_AGAIN}") from None


def _described(details: Mapping[str, Any]) -> str:
    """Where a value is, and what is wrong with it."""
    path = ".".join(_shortened(str(step)) for step in details["loc"]) or "the file"
    return f"{path}: {details['msg'][:1].lower()}{details['msg'][1:]}"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def load_arrays(part: str, content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an uncompressed .npz file, whose claims are compared with its size.

    Raises:
        ModelCorrupted: if it is no such file, or an array is not as large as it claims.
    """
    _check_directory(part, content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(part, entries, len(content))
            return {
                entry.filename.removesuffix(".npy"): _array(part, entry, archive.read(entry))
                for entry in entries
            }
    except _ZIP_ERRORS as error:
        raise ModelCorrupted(f"{part} is no file of arrays: {error}; {TRAIN_AGAIN}") from None


def _check_directory(part: str, content: bytes) -> None:
    """Refuses a directory of arrays that is none, or too large to be read."""
    end = content[-_END_BYTES:]
    end_64 = content[-_END_BYTES - _END_64_BYTES : -_END_BYTES]
    if len(end) < _END_BYTES or not end.startswith(_END) or end_64.startswith(_END_64):
        raise ModelCorrupted(f"{part} is no file of arrays; {TRAIN_AGAIN}")
    count, size = struct.unpack_from("<HI", end, 10)
    if count > _MAX_ARRAYS or size > _MAX_DIRECTORY_BYTES:
        raise ModelCorrupted(f"{part} holds too many arrays; {TRAIN_AGAIN}")


def _check_entries(part: str, entries: list[zipfile.ZipInfo], size: int) -> None:
    """Refuses compressed, oversized and repeated entries before any is read."""
    names = {entry.filename.removesuffix(".npy") for entry in entries}
    is_stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    claimed = sum(entry.file_size for entry in entries)
    if len(names) < len(entries) or not is_stored or claimed > size:
        raise ModelCorrupted(
            f"{part} holds repeated, compressed or oversized arrays; {TRAIN_AGAIN}"
        )


def _array(part: str, entry: zipfile.ZipInfo, content: bytes) -> NDArray[Any]:
    """The array of an entry, in C order."""
    name = entry.filename.removesuffix(".npy")
    stream = io.BytesIO(content)
    try:
        read_header = _READ_HEADER[npy.read_magic(stream)]
        shape, is_fortran, dtype = read_header(stream)
    except (ValueError, KeyError, TypeError, SyntaxError, OverflowError, RecursionError):
        raise _corrupted(part, name, "is none") from None
    count = math.prod(shape)
    if dtype.kind not in "biufU" or is_fortran or min(shape, default=0) < 0:
        raise _corrupted(part, name, f"has the type {dtype} or an order that no array has")
    if count * dtype.itemsize != len(content) - stream.tell():
        raise _corrupted(part, name, f"is not as large as it claims: {shape}")
    return np.frombuffer(content, dtype, count, stream.tell()).reshape(shape).copy()


def check_arrays(
    part: str, arrays: Arrays, schemas: Mapping[str, ArraySchema], **dimensions: int
) -> dict[str, int]:
    """The dimensions of arrays, which are all those of the schemas and nothing else.

    ``dimensions`` are those known before.

    Raises:
        ModelCorrupted: if an array is missing, unknown, or not what its schema says.
    """
    if unknown := sorted(arrays.keys() ^ schemas.keys()):
        is_missing = unknown[0] in schemas
        raise _corrupted(part, unknown[0], "is missing" if is_missing else "is unknown")
    for find_problem in (_shape_problem, _value_problem):
        for name, schema in schemas.items():
            if wrong := find_problem(arrays[name], schema, dimensions):
                raise _corrupted(part, name, wrong)
    return dimensions


def _corrupted(part: str, name: str, problem: str) -> ModelCorrupted:
    return ModelCorrupted(f"{part}: the array {_shortened(name)!r} {problem}; {TRAIN_AGAIN}")


def _shape_problem(
    array: NDArray[Any], schema: ArraySchema, dimensions: dict[str, int]
) -> str | None:
    """What is wrong with the type and the shape; notes the dimensions that are new."""
    dtype = "str" if array.dtype.kind == "U" else array.dtype.name
    if dtype != schema.dtype or not array.dtype.isnative:
        return f"has the type {array.dtype}, not {schema.dtype}"
    expected: list[int | str] = list(schema.shape)
    for axis, (actual, size) in enumerate(zip(array.shape, schema.shape, strict=False)):
        if isinstance(size, str):
            name, _, more = size.partition("+")
            known = dimensions.setdefault(name, actual - int(more or 0))
            expected[axis] = known + int(more or 0)
    if array.shape != tuple(expected):
        return f"has the shape {array.shape}, not {tuple(expected)}"
    return None


def _value_problem(
    array: NDArray[Any], schema: ArraySchema, dimensions: dict[str, int]
) -> str | None:
    """What is wrong with the values."""
    if schema.dtype == "str":
        return _text_problem(array)
    if array.dtype.kind == "b":
        return None if (array.view(np.uint8) <= 1).all() else "holds values that are no booleans"
    if np.isnan(array).any() or not (schema.may_be_infinite or np.isfinite(array).all()):
        return "holds NaN or an infinite number"
    high = schema.high if schema.below is None else dimensions[schema.below] - 1
    if schema.low is not None and (array < schema.low).any():
        return f"holds numbers below {schema.low:g}"
    if high is not None and (array > high).any():
        return f"holds numbers above {high:g}"
    return None


def _text_problem(array: NDArray[Any]) -> str | None:
    """What is wrong with texts, which must be valid, not too long, and different."""
    length = array.dtype.itemsize // 4
    if length > MAX_NAME_LENGTH:
        return f"holds texts of more than {MAX_NAME_LENGTH:,} characters"
    code_points = array.view(np.uint32) if length else np.empty(0, np.uint32)
    if (code_points > _MAX_CODE_POINT).any():
        return "holds invalid characters"
    if len(np.unique(array)) < len(array):
        return "holds a text twice"
    return None
