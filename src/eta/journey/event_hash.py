"""Hashes of what was told: the same for one scan as for ten million, in any company and in any run.

Texts are hashed by SipHash (``pandas.util.hash_array``), a scan by mixing the hashes of its parts
as pandas mixes those of a row's columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pandas.util import hash_array


def text_hashes(texts: Sequence[str] | NDArray[np.object_]) -> NDArray[np.uint64]:
    """The hash of each text, (N,)."""
    return hash_array(np.array(texts, dtype=object), categorize=False)


@lru_cache(maxsize=100_000)
def text_hash(text: str) -> int:
    """The hash of one text, its bits read as a signed integer; carriers say the same few things again and again."""
    return int(text_hashes([text]).view(np.int64)[0])


@njit(cache=True)
def event_hashes(code_hashes, occurred, place_hashes):  # type: ignore[no-untyped-def]  # compiled
    """The hash (E,) of scans: hashes of what the carrier said and of where, and when, in microseconds; 64-bit integers.

    The numbers are those of ``pandas.util.hash_pandas_object``: an integer is scrambled by the
    finaliser of splitmix64 (Steele, Lea and Flood 2014), parts are combined like the items of a
    Python tuple.
    """
    result = np.empty(len(code_hashes), dtype=np.uint64)
    for i in range(len(code_hashes)):
        mixed_time = np.uint64(occurred[i])
        mixed_time = (mixed_time ^ (mixed_time >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed_time = (mixed_time ^ (mixed_time >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed_time ^= mixed_time >> np.uint64(31)
        mixed = (np.uint64(0x345678) ^ np.uint64(code_hashes[i])) * np.uint64(1000003)
        mixed = (mixed ^ mixed_time) * np.uint64(1000003 + 82526)
        mixed = (mixed ^ np.uint64(place_hashes[i])) * np.uint64(1000003 + 82526 + 82524)
        result[i] = mixed + np.uint64(97531)
    return result
