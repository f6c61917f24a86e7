"""Files: only regular ones are read, each up to a limit; each is written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

from eta.domain.errors import FileRejected

#: Permissions of a file that may hold customers' data, and of one that other users may read.
PRIVATE, PUBLIC = 0o600, 0o644

#: Limits of a file of data: its size and the length of a text in bytes, its rows and columns.
#: Larger data are recorded folder by folder, and read from the store.
MAX_FILE_BYTES, MAX_TEXT_BYTES = 1 << 30, 1_000
MAX_ROWS, MAX_COLUMNS = 5_000_000, 1_000

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_MIB = 1 << 20


def open_regular(
    path: Path, *, max_bytes: int | None = None, follows_links: bool = True
) -> BinaryIO:
    """Opens a regular file to read, without waiting; ``follows_links`` permits a link to one.

    Raises:
        FileRejected: if it is absent, something else than a regular file, or larger than
            ``max_bytes``.
    """
    try:
        descriptor = _open(path, follows_links=follows_links)
    except OSError as error:
        raise _unreadable(path, error) from None
    file = os.fdopen(descriptor, "rb")
    try:
        found = os.fstat(descriptor)
        _check_kind(path, found)
        _check_size(path, found.st_size, max_bytes)
    except BaseException:
        file.close()
        raise
    return file


def _open(path: Path, *, follows_links: bool) -> int:
    if not follows_links and path.is_symlink():
        raise FileRejected(str(path), "it is a link", "name the file itself")
    # Opening a device can have effects, so it is looked at before.
    _check_kind(path, path.stat())
    link_flag = 0 if follows_links else os.O_NOFOLLOW
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | link_flag)


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Returns the content of a regular file.

    Raises:
        FileRejected: if it cannot be read, is no regular file, or is larger than ``max_bytes``.
    """
    with open_regular(path, max_bytes=max_bytes) as file:
        try:
            content = file.read(max_bytes + 1)
        except OSError as error:
            raise _unreadable(path, error) from None
    # A file may grow, and files of the kernel have no size.
    _check_size(path, len(content), max_bytes)
    return content


def write_atomically(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Writes a file whole or not at all: a reader sees the old content or the new.

    A link of that name is replaced, not followed. Only its owner can read the file unless ``mode``
    permits more.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".unfinished-", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        write_durably(unfinished, content)
        unfinished.chmod(mode)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file through to the disk; if interrupted, a part of it may be there."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Writes a file, or the names in a folder, through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise _unreadable(path, OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")
        raise FileRejected(str(path), f"it is {kind}", "name a file")


def _check_size(path: Path, size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        problem = f"it is larger than {max_bytes // _MIB:,} MiB, the limit"
        raise FileRejected(str(path), problem, "split it")


def _unreadable(path: Path, error: OSError) -> FileRejected:
    return FileRejected(str(path), error.strerror or type(error).__name__)
