"""Bytes of deleted rows in the pages of a SQLite file, where ``secure_delete`` leaves them.

A page that was split holds copies of the rows that went to another page, in the gap between its
cell pointers and its cells. They stay there when the rows are deleted. SQLite never reads a gap, so
it can be overwritten while nobody writes to the file, and the pages of the log are in it.
"""

from __future__ import annotations

import os
import struct

#: Where the page size is in the file's first page, and the length of the header before its cells.
_PAGE_SIZE_OFFSET, _FILE_HEADER_LENGTH = 16, 100
#: The length of the header of each kind of page with cells, by its first byte.
_HEADER_LENGTHS = {2: 12, 5: 12, 10: 8, 13: 8}
#: After the first byte: the first free block, the number of cells, and where cells begin.
_HEADER = struct.Struct(">xHHH")
#: Bytes of a part, for which writes wait, unless the file is so large that it has this many parts.
_PART_BYTES, _MAX_PARTS = 1 << 25, 32
#: Pages read at once.
_PAGES_AT_ONCE = 256
#: Above it a page number, which other kinds of pages begin with, can look like a kind of page.
_MAX_PAGES = 1 << 24


def overwrite_gaps(file: int, offset: int) -> int | None:
    """Overwrites the gaps of the pages of a part of the file, which begins at ``offset``.

    Returns where the next part begins, or None at the end.
    """
    page_size = int.from_bytes(os.pread(file, 2, _PAGE_SIZE_OFFSET), "big")
    page_size = 65_536 if page_size == 1 else page_size
    size = os.fstat(file).st_size
    if page_size == 0 or size // page_size > _MAX_PAGES:
        return None
    step = page_size * _PAGES_AT_ONCE
    end = offset + max(_PART_BYTES, size // _MAX_PARTS) // step * step
    for position in range(offset, min(end, size), step):
        _overwrite_in_pages(file, os.pread(file, step, position), position, page_size)
    os.fsync(file)
    return end if end < size else None


def _overwrite_in_pages(file: int, pages: bytes, position: int, page_size: int) -> None:
    for start in range(0, len(pages), page_size):
        begin, end = _gap(pages, start, page_size, is_first=position + start == 0)
        if pages[begin:end].strip(b"\0"):
            os.pwrite(file, bytes(end - begin), position + begin)


def _gap(pages: bytes, start: int, page_size: int, *, is_first: bool) -> tuple[int, int]:
    """The range of the gap of a page; empty for a page without cells, or one that is not sound."""
    header = start + _FILE_HEADER_LENGTH if is_first else start
    length = _HEADER_LENGTHS.get(pages[header])
    if length is None:
        return start, start
    _, cell_count, content = _HEADER.unpack_from(pages, header)
    begin, end = header + length + 2 * cell_count, start + (content or page_size)
    return (begin, end) if begin <= end <= start + page_size else (start, start)
