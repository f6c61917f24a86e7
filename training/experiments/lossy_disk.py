"""A simulated disk that loses unsynced writes at a power cut; SQLite writes through it.

Each file has a durable image, to which writes come when the file is synced. At a cut every sector
of 512 bytes written since may or may not have reached the disk, each for itself: writes are torn,
reordered and lost. What SQLite calls may also be made to fail from the n-th write on, as they do
when a process dies or a disk is full.
"""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path

import apsw

SECTOR = 512
_NUMBERS = count()


class Disk(apsw.VFS):
    """The disk; ``lives`` is how many writes, cuts and syncs it still bears, None for all."""

    def __init__(self) -> None:
        self.lives: int | None = None
        self.is_full = False
        self.operations = 0
        self.durable: dict[str, bytearray] = {}
        self.pending: dict[str, list[tuple[int, bytes | None]]] = {}
        # A name that no other disk has had: one that is let go of takes its name along.
        self.name = f"lossy-{next(_NUMBERS)}"
        super().__init__(self.name, "unix")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        """A file on the disk."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is not None and path not in self.durable:
            file = Path(path)
            self.durable[path], self.pending[path] = (
                bytearray(file.read_bytes() if file.exists() else b""),
                [],
            )
        return _File(self, name, flags, path)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  # SQLite's name
        """A file goes at once."""
        self.touch()
        super().xDelete(filename, syncdir)
        self.durable.pop(filename, None)
        self.pending.pop(filename, None)

    def touch(self) -> None:
        """One operation more.

        Raises:
            apsw.IOError: if the disk is gone.
        """
        if self.lives is not None and self.operations >= self.lives:
            raise apsw.IOError
        self.operations += 1

    def sync(self, path: str) -> None:
        """What was written to a file is durable."""
        for offset, data in self.pending[path]:
            _apply(self.durable[path], offset, data)
        self.pending[path].clear()

    def cut(self, folder: Path, rng: random.Random) -> None:
        """Writes what a power cut leaves of each file into a folder."""
        folder.mkdir(parents=True)
        for path, durable in self.durable.items():
            if path.endswith("-shm"):
                continue
            image = bytearray(durable)
            for offset, data in self.pending[path]:
                if data is None:
                    if rng.random() < 0.5:
                        _apply(image, offset, None)
                    continue
                start = 0
                while start < len(data):
                    end = min(start + SECTOR - (offset + start) % SECTOR, len(data))
                    if rng.random() < 0.5:
                        _apply(image, offset + start, data[start:end])
                    start = end
            (folder / Path(path).name).write_bytes(image)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int], path: str | None
    ) -> None:
        super().__init__("unix", name, flags)
        self._disk, self._path = disk, path

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        if self._path is not None:
            self._disk.touch()
            if self._disk.is_full:
                raise apsw.FullError
            self._disk.pending[self._path].append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # SQLite's name
        if self._path is not None:
            self._disk.touch()
            self._disk.pending[self._path].append((newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's name
        if self._path is not None:
            self._disk.touch()
            self._disk.sync(self._path)
        super().xSync(flags)


def _apply(image: bytearray, offset: int, data: bytes | None) -> None:
    """A write, or where there is no data, a cut to a size."""
    if data is None:
        del image[offset:]
        return
    if len(image) < offset + len(data):
        image.extend(bytes(offset + len(data) - len(image)))
    image[offset : offset + len(data)] = data
