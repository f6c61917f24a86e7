"""Deterministic content hashes of events; independent of batch and process.

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

#: CPython's multiplier for tuples, and what it grows by after the first and the second item.
_MULTIPLIER, _FIRST_STEP, _SECOND_STEP = 1000003, 82526, 82524


def text_hashes(texts: Sequence[str] | NDArray[np.object_]) -> NDArray[np.uint64]:
    """The hash of each text, (N,)."""
    return hash_array(np.array(texts, dtype=object), categorize=False)


@lru_cache(maxsize=100_000)
def text_hash(text: str) -> int:
    """The hash of one text, its bits read as a signed integer; cached, as texts recur."""
    return int(text_hashes([text]).view(np.int64)[0])


@njit(cache=True)
def event_hashes(code_hashes, occurred, place_hashes):  # type: ignore[no-untyped-def]  # compiled
    """The hashes (E,) of scans, from hashes of the carrier's code and of the place, and the time.

    All are 64-bit integers; the time is in microseconds. The numbers are those of
    ``pandas.util.hash_pandas_object``: an integer is scrambled by the finaliser of splitmix64
    (Steele, Lea and Flood 2014), parts are combined like the items of a Python tuple.
    """
    result = np.empty(len(code_hashes), dtype=np.uint64)
    second = np.uint64(_MULTIPLIER + _FIRST_STEP)
    third = np.uint64(_MULTIPLIER + _FIRST_STEP + _SECOND_STEP)
    for i in range(len(code_hashes)):
        mixed = np.uint64(0x345678) ^ np.uint64(code_hashes[i])
        mixed *= np.uint64(_MULTIPLIER)
        mixed ^= _scramble(np.uint64(occurred[i]))
        mixed *= second
        mixed ^= np.uint64(place_hashes[i])
        mixed *= third
        result[i] = mixed + np.uint64(97531)
    return result


@njit(cache=True)
def _scramble(value):  # type: ignore[no-untyped-def]  # compiled
    """The finaliser of splitmix64."""
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
