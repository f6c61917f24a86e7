"""The memory of long commands: what they no longer need goes back to the operating system."""

from __future__ import annotations

import ctypes

import pyarrow as pa

#: glibc's number of the setting, and the size from which an array has memory of its own.
_MMAP_THRESHOLD, _LARGE_BYTES = -3, 2**20


def give_back_large_arrays() -> None:
    """Makes the memory of a large array end with the array.

    Otherwise glibc takes arrays of up to 32 MB from one heap, whose gaps it holds: at its peak a
    training would take twice what it uses. Other systems are left as they are.
    """
    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
    except (AttributeError, OSError, TypeError):
        return


def release_frames() -> None:
    """Gives back the memory of frames that were dropped, which Arrow would hold for later ones."""
    pa.default_memory_pool().release_unused()
