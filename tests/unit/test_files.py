"""Files: what may be read, and who may read what is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from eta.domain.errors import FileRejected
from eta.files import PUBLIC, open_regular, read_regular, write_atomically


def test_a_regular_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, max_bytes=100) == b"x" * 100
    with pytest.raises(FileRejected, match=r"larger than 0 MiB, the limit; split it"):
        read_regular(path, max_bytes=99)


def test_what_is_no_regular_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a pipe"), ("zero", "a device")):
        with pytest.raises(FileRejected, match=f"it is {kind}; name a file"):
            read_regular(tmp_path / name, max_bytes=1_000)
    with pytest.raises(FileRejected, match="Is a directory"):
        read_regular(tmp_path, max_bytes=1_000)
    with pytest.raises(FileRejected, match="No such file"):
        read_regular(tmp_path / "absent", max_bytes=1_000)


def test_a_file_of_the_kernel_without_a_size_is_read_up_to_the_limit() -> None:
    with pytest.raises(FileRejected, match="larger than"):
        read_regular(Path("/proc/self/maps"), max_bytes=10)


def test_a_link_is_opened_only_where_it_is_permitted(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert read_regular(tmp_path / "link", max_bytes=1) == b"x"
    with pytest.raises(FileRejected, match="it is a link; name the file itself"):
        open_regular(tmp_path / "link", follows_links=False)


def test_a_written_file_is_private_and_replaces_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"old")
    path = tmp_path / "scores.csv"
    path.symlink_to(tmp_path / "victim")
    write_atomically(path, b"new")
    assert (path.is_symlink(), path.read_bytes()) == (False, b"new")
    assert (tmp_path / "victim").read_bytes() == b"old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_atomically(path, b"new", mode=PUBLIC)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
