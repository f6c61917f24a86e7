"""Model versions whose digests are right and whose content is damaged, made from a sound one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import socket
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.model.bundle import ARRAYS, DRIFT, HANDLING_TIMES, PLACE_EFFECTS
from eta.model.registry import MANIFEST, Registry, Version
from support.model_app import save_model

Arrays = dict[str, NDArray[Any]]

#: Values of other types, and numbers at the ends of their types.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "9" * 40, [], [None], {}, {"": {}}, -1, 0, 1.5, 2**31, 2**63, 10**40),
    *(-1e308, 1e308, 1e-320, 5e-1, [[[]]], "\x00", "../x", "2026-05-10"),
)
#: JSON that is none, or no object.
ODD_DOCUMENTS = (
    *(b"", b"null", b"[]", b"0", b'"x"', b"true", b"{", b"{}", b"\xff\xfe\x00", b"\x00" * 64),
    *(b"[" * 100_000, b'{"a":' * 50_000, b"\xef\xbb\xbf{}", b"NaN", b'{"a": 1e999}', b"1" * 9_999),
)
ODD_NUMBERS = (np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, -1.0, 1e-300)
ODD_INDICES = (-1, -2, 0, 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**20)
OTHER_TYPES = (
    *("float16", "float32", "float64", ">f4", ">f8", "int64", "int8", "uint64", ">u4"),
    *("complex128", "S8", "U3", "bool", "datetime64[us]"),
)


@dataclass
class Damaged:
    """The parts of a version, to be damaged and written; ``kind`` says how."""

    kind: str
    manifest: dict[str, Any]
    files: dict[str, bytes]
    #: The bytes of the manifest, if they are not those of ``manifest``.
    document: bytes | None = None
    #: What is done to the folder once it is written.
    finish: Callable[[Path], None] = lambda _: None
    #: The entries of the manifest that do not follow from the files.
    entries: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> str:
        """Writes the version, with all digests right, and returns its name."""
        files = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in self.files.items()
        }
        manifest = {**self.manifest, "files": files | self.entries}
        document = self.document
        if document is None:
            document = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
        name = f"2026.05.10-{hashlib.sha256(document).hexdigest()[:12]}"
        version = folder / name
        version.mkdir(parents=True, exist_ok=True)
        for file, content in self.files.items():
            (version / file).write_bytes(content)
        (version / MANIFEST).write_bytes(document)
        self.finish(version)
        return name


def save_rich_model(folder: Path) -> str:
    """Saves a small sound version none of whose parts is empty."""
    registry = Registry(folder)
    version = registry.load(save_model(folder))
    drift = json.loads(version.files[DRIFT])
    effects = {"carrier": {"post": [0.1, 0.0, -0.1, 0.2]}, "destination": {"AT-1": [0.0] * 4}}
    drift |= {"groups": effects, "group_errors": {"carrier": {"post": [0.1] * 4}}}
    places = {"handling": {"AT|1010": 0.1}, "origin": {"AT|10": -0.2}, "destination": {"AT|6": 0.3}}
    files = {
        **version.files,
        DRIFT: json.dumps(drift).encode(),
        PLACE_EFFECTS: json.dumps(places).encode(),
        HANDLING_TIMES: json.dumps({name: [[3] * 11] * 24 for name in ("", "AT-9")}).encode(),
    }
    entries = ("format", "files")
    metadata = {name: value for name, value in version.manifest.items() if name not in entries}
    return registry.save(metadata, files, version.data_through)


def damaged(version: Version, rng: random.Random) -> Damaged:
    """A random damage of a sound version."""
    name = rng.choice(list(DAMAGES))
    manifest = json.loads(json.dumps(version.manifest))
    # No two are alike, so that none shares its name with another.
    manifest["data"]["sha256"] = f"{rng.getrandbits(64):x}"
    target = Damaged(name, manifest, dict(version.files))
    DAMAGES[name](target, rng)
    return target


# Arrays.


def arrays_of(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def to_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _change_array(
    target: Damaged, rng: random.Random, change: Callable[[NDArray[Any]], NDArray[Any]], kinds: str
) -> None:
    """Replaces one array of a kind by what becomes of it."""
    arrays = arrays_of(target.files[ARRAYS])
    name = rng.choice([name for name, array in arrays.items() if array.dtype.kind in kinds])
    arrays[name] = change(arrays[name])
    target.kind += f" {name}"
    target.files[ARRAYS] = to_npz(arrays)


def _some_elements(array: NDArray[Any], rng: random.Random, value: Any) -> NDArray[Any]:
    """The array with one to five elements replaced."""
    changed = array.copy().reshape(-1)
    for _ in range(min(rng.randint(1, 5), len(changed))):
        changed[rng.randrange(len(changed))] = value
    return changed.reshape(array.shape)


def break_indices(target: Damaged, rng: random.Random) -> None:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            value = np.array(rng.choice(ODD_INDICES)).astype(array.dtype)
        near = np.array(len(array) + rng.randint(-1, 1)).astype(array.dtype)
        return _some_elements(array, rng, rng.choice([value, near]))

    _change_array(target, rng, change, "iu")


def shuffle_indices(target: Damaged, rng: random.Random) -> None:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        flat = array.copy().reshape(-1)
        first, second = rng.randrange(flat.size), rng.randrange(flat.size)
        flat[[first, second]] = flat[[second, first]]
        return flat.reshape(array.shape)

    _change_array(target, rng, change, "iub")


def break_numbers(target: Damaged, rng: random.Random) -> None:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            value = np.array(rng.choice(ODD_NUMBERS)).astype(array.dtype)
        return _some_elements(array, rng, value)

    _change_array(target, rng, change, "f")


def nudge_numbers(target: Damaged, rng: random.Random) -> None:
    """A harmless damage, as a rule."""

    def change(array: NDArray[Any]) -> NDArray[Any]:
        return (array * (1.0 + rng.uniform(-0.01, 0.01))).astype(array.dtype)

    _change_array(target, rng, change, "f")


def flip_a_bit(target: Damaged, rng: random.Random) -> None:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        content = bytearray(array.tobytes())
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        return np.frombuffer(bytes(content), array.dtype).reshape(array.shape)

    _change_array(target, rng, change, "iufb")


def reshape(target: Damaged, rng: random.Random) -> None:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        flat = array.reshape(-1)
        odd = [flat[:0], flat[:-1], np.append(flat, flat[:1]), flat[None], flat[:, None]]
        odd += [np.concatenate([flat] * 3), array.T.copy(), np.asfortranarray(array[None])]
        return rng.choice([each for each in odd if each.shape != array.shape])

    _change_array(target, rng, change, "iufbU")


def retype(target: Damaged, rng: random.Random) -> None:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        others = [name for name in OTHER_TYPES if np.dtype(name) != array.dtype]
        with np.errstate(all="ignore"):
            return np.zeros(array.shape, rng.choice(others))

    _change_array(target, rng, change, "iufbU")


def lose_or_add_arrays(target: Damaged, rng: random.Random) -> None:
    arrays = arrays_of(target.files[ARRAYS])
    if rng.random() < 0.5:
        del arrays[rng.choice(list(arrays))]
    else:
        arrays[rng.choice(["extra", "forest.", "label.x.names", "x" * 500])] = np.zeros(3)
    target.files[ARRAYS] = to_npz(arrays)


def break_texts(target: Damaged, rng: random.Random) -> None:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        if rng.random() < 0.5:
            codes = np.full(array.size * max(array.itemsize // 4, 1), 0xFFFFFFFF, dtype=np.uint32)
            return codes.view(array.dtype)[: array.size].reshape(array.shape)
        return np.repeat(array[:1], array.size)

    _change_array(target, rng, change, "U")


def break_file_of_arrays(target: Damaged, rng: random.Random) -> None:
    content = bytearray(target.files[ARRAYS])
    how = rng.randrange(4)
    if how == 0:
        content = content[: rng.randrange(len(content))]
    elif how == 1:
        for _ in range(rng.randint(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif how == 2:
        content[-rng.randint(1, 22)] ^= 0xFF
    else:
        content += bytes(rng.randrange(256) for _ in range(rng.randint(1, 100)))
    target.files[ARRAYS] = bytes(content)


def claim_a_huge_array(target: Damaged, rng: random.Random) -> None:
    shape = rng.choice([(2**32,), (2**62,), (2**20, 2**20), (-1,), (2**31, 2**31, 2**31)])
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    entry = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\x00" * 64
    _with_entry(target, "base.npy", entry)


def store_a_pickle(target: Damaged, rng: random.Random) -> None:
    content = io.BytesIO()
    np.save(content, np.array([rng.random(), None], dtype=object), allow_pickle=True)
    _with_entry(target, "values.npy", content.getvalue())


def inflate(target: Damaged, rng: random.Random) -> None:
    """A compressed array that takes a thousand times its room."""
    content = io.BytesIO()
    np.save(content, np.zeros(rng.choice([10**5, 10**6]), dtype=np.float32))
    _with_entry(target, "base.npy", content.getvalue(), zipfile.ZIP_DEFLATED)


def _with_entry(
    target: Damaged, name: str, content: bytes, compression: int = zipfile.ZIP_STORED
) -> None:
    """Replaces an entry of the file of arrays."""
    written = io.BytesIO()
    source = zipfile.ZipFile(io.BytesIO(target.files[ARRAYS]))
    with source, zipfile.ZipFile(written, "w", compression) as archive:
        for entry in source.infolist():
            if entry.filename != name:
                archive.writestr(entry.filename, source.read(entry))
        archive.writestr(name, content)
    target.files[ARRAYS] = written.getvalue()


# JSON.


def _json_files(target: Damaged) -> list[str]:
    return sorted(name for name in target.files if name.endswith(".json"))


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a value with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, child in items:
        found.append((value, key))
        if isinstance(child, dict | list):
            found += _nodes(child)
    return found


def _break_value(value: Any, rng: random.Random) -> None:
    """Changes a random place of a JSON value: another value, one more or one less."""
    container, key = rng.choice(_nodes(value))
    how = rng.random()
    if how < 0.7:
        container[key] = rng.choice(ODD_VALUES)
    elif how < 0.85:
        del container[key]
    elif isinstance(container, dict):
        container[rng.choice(["extra", "", "x" * 5_000, "|" * 1_900])] = container[key]
    else:
        container.append(container[key])


def break_a_part(target: Damaged, rng: random.Random) -> None:
    file = rng.choice(_json_files(target))
    value = json.loads(target.files[file])
    _break_value(value, rng)
    target.kind += f" {file}"
    target.files[file] = json.dumps(value).encode()


def replace_a_part(target: Damaged, rng: random.Random) -> None:
    file = rng.choice(_json_files(target))
    target.kind += f" {file}"
    target.files[file] = rng.choice(ODD_DOCUMENTS)


def store_no_number(target: Damaged, rng: random.Random) -> None:
    file = rng.choice(_json_files(target))
    value = json.loads(target.files[file])
    container, key = rng.choice(_nodes(value))
    container[key] = rng.choice([float("nan"), float("inf"), float("-inf")])
    target.files[file] = json.dumps(value).encode()


def lose_or_add_files(target: Damaged, rng: random.Random) -> None:
    if rng.random() < 0.6:
        del target.files[rng.choice(list(target.files))]
    else:
        target.files[rng.choice(["extra.json", "model.pkl", "x.npz"])] = b"{}"


# The manifest.


def break_manifest(target: Damaged, rng: random.Random) -> None:
    _break_value(target.manifest, rng)


def replace_manifest(target: Damaged, rng: random.Random) -> None:
    target.document = rng.choice(ODD_DOCUMENTS) + b" " * rng.randrange(1_000_000)


def claim_odd_files(target: Damaged, rng: random.Random) -> None:
    odd: list[dict[str, Any]] = [
        {"base.npz": {"sha256": "0" * 64, "bytes": 4 * 2**30}},
        {ARRAYS: {"sha256": "0" * 64, "bytes": 2**62}},
        {ARRAYS: {"sha256": None, "bytes": 1}},
        {ARRAYS: {"bytes": 1}},
        {"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}},
        {"a.json": [], "b.json": 1},
        {f"f{number}.json": {"sha256": "0" * 64, "bytes": 0} for number in range(1_000)},
        {f"f{number}.json": {"sha256": "0" * 64, "bytes": 2**28} for number in range(90)},
    ]
    target.entries = rng.choice(odd)


def change_parameters(target: Damaged, rng: random.Random) -> None:
    parameters = target.manifest["parameters"]
    odd = (*ODD_VALUES, 10**9, 1e12, float("nan"), float("inf"))
    parameters[rng.choice(list(parameters))] = rng.choice(odd)


def move_the_end(target: Damaged, rng: random.Random) -> None:
    odd = ["9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00", "2026-05-10", "x", 5, None]
    odd += ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z"]
    odd += ["2026-05-10T00:00:00", "2026-05-11T00:00:00+00:00", "2026-05-10T00:00:00+23:59"]
    target.manifest["data"]["through"] = rng.choice(odd)


# The folder.


def replace_a_file(target: Damaged, rng: random.Random) -> None:
    """Puts something else than a file into the place of one."""
    file = rng.choice([MANIFEST, *target.files])
    what = rng.choice(list(ODD_ENTRIES))
    target.kind += f" {what} {file}"

    def finish(folder: Path) -> None:
        path = folder / file
        aside = folder.parent / f".{folder.name}-{file}"
        path.rename(aside)
        ODD_ENTRIES[what](path, aside)

    target.finish = finish


def replace_the_folder(target: Damaged, rng: random.Random) -> None:
    """A link, a file or a pipe in the place of the folder."""
    what = rng.choice(["link", "endless link", "pipe", "empty file", "dangling link"])
    target.kind += f" {what}"

    def finish(folder: Path) -> None:
        aside = folder.parent / f".{folder.name}"
        folder.rename(aside)
        ODD_ENTRIES[what](folder, aside)

    target.finish = finish


def _socket(path: Path, _: Path) -> None:
    # The path of a socket must be short.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path.name)
    finally:
        os.chdir(here)


def _huge(path: Path, _: Path) -> None:
    with path.open("wb") as file:
        file.truncate(4 * 2**30)


def _no_permission(path: Path, aside: Path) -> None:
    path.write_bytes(aside.read_bytes())
    path.chmod(0)


def _cut(path: Path, aside: Path) -> None:
    content = aside.read_bytes()
    path.write_bytes(content[: len(content) // 2])


ODD_ENTRIES: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda path, aside: path.symlink_to(aside),
    "endless link": lambda path, _: path.symlink_to("/dev/zero"),
    "dangling link": lambda path, _: path.symlink_to("nowhere"),
    "circular link": lambda path, _: path.symlink_to(path.name),
    "pipe": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "socket": _socket,
    "huge file": _huge,
    "file without permission": _no_permission,
    "cut file": _cut,
    "empty file": lambda path, _: path.touch(),
    "nothing": lambda _, __: None,
}

#: Every kind of damage, by its name.
DAMAGES: dict[str, Callable[[Damaged, random.Random], None]] = {
    function.__name__: function
    for function in (
        *(break_indices, shuffle_indices, break_numbers, nudge_numbers, flip_a_bit, reshape),
        *(retype, lose_or_add_arrays, break_texts, break_file_of_arrays, claim_a_huge_array),
        *(store_a_pickle, inflate, break_a_part, replace_a_part, store_no_number),
        *(lose_or_add_files, break_manifest, replace_manifest, claim_odd_files),
        *(change_parameters, move_the_end, replace_a_file, replace_the_folder),
    )
}

#: Times are aware; the sound version's data end then.
THROUGH = datetime(2026, 5, 10, tzinfo=UTC)
