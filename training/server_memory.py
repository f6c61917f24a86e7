"""The memory of a server process and its children over time."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Self

#: Seconds between two samples.
SAMPLE_SECONDS = 0.2


class MemorySampler:
    """Samples the proportional set size of a process and its descendants while it is entered."""

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id
        self._samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Starts to sample."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._samples.append((perf_counter(), memory_of(self._process_id)))

    def highest(self, start: float, end: float) -> int:
        """The largest sample in bytes between two moments of ``perf_counter``."""
        return max((size for at, size in self._samples if start <= at <= end), default=0)


def memory_of(process_id: int) -> int:
    """The proportional set size of a process and its descendants, in bytes; 0 if it is gone."""
    return sum(_set_size(member) for member in [process_id, *_descendants(process_id)])


def _descendants(process_id: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{process_id}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _set_size(process_id: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
