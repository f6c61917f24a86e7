"""What commands no longer need of their memory goes back to the operating system."""

from __future__ import annotations

import ctypes

import pyarrow as pa

#: glibc's numbers of the settings, and the size from which an array has memory of its own.
_MMAP_THRESHOLD, _ARENA_MAX, _LARGE_BYTES = -3, -8, 2**20

#: The same for the parts in which a server receives bodies, and how many heaps its threads share.
_PART_BYTES, _HEAPS = 2**15, 2


def give_back_large_arrays() -> None:
    """Makes the memory of a large array end with the array.

    Otherwise glibc takes arrays of up to 32 MB from one heap, whose gaps it holds: at its peak a
    training would take twice what it uses. Other systems are left as they are.
    """
    _set(_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back_bodies() -> None:
    """Makes the memory of a large body end with the body, and has threads share heaps.

    Otherwise a hundred large bodies leave gaps between smaller objects, which glibc holds for ever.
    """
    _set(_MMAP_THRESHOLD, _PART_BYTES)
    _set(_ARENA_MAX, _HEAPS)


def _set(setting: int, value: int) -> None:
    try:
        ctypes.CDLL(None).mallopt(setting, value)
    except (AttributeError, OSError, TypeError):
        return


def release_frames() -> None:
    """Gives back the memory of frames that were dropped, which Arrow would hold for later ones."""
    pa.default_memory_pool().release_unused()
