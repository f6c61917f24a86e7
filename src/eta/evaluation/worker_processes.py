"""Independent tasks in worker processes, with the same results as in one process, bit for bit.

Every worker computes with one thread. Large values reach the workers through a temporary file that
they map into memory, so that one copy serves them all. Nothing that is pickled here is stored.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from threadpoolctl import threadpool_limits

#: Seconds between two reports of progress.
_REPORT_SECONDS = 0.5

T = TypeVar("T")
Key = TypeVar("Key")


class Task:
    """A call to make in a worker process."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.function, self.arguments = function, arguments


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits BLAS and OpenMP to one thread.

    The order of a threaded sum depends on the number of threads, so results would differ between
    machines and between this process and its workers.
    """
    with threadpool_limits(limits=1):
        yield


@dataclass(frozen=True)
class SharedValue(Generic[T]):
    """A value in a temporary file that worker processes map into memory."""

    path: Path

    def load(self) -> T:
        """Returns the value; a process reads it once."""
        return cast("T", _load(self.path))


@contextmanager
def share(value: T) -> Iterator[SharedValue[T]]:
    """Writes a value once for all workers; the file is deleted at the end."""
    import joblib  # only for several processes

    with tempfile.TemporaryDirectory(prefix="eta-workers-") as folder:
        path = Path(folder) / "value"
        joblib.dump(value, path)
        yield SharedValue(path)


@lru_cache(maxsize=1)
def _load(path: Path) -> object:
    import joblib

    # Copy on write: arrays stay writable, as in one process, and their pages are shared.
    return joblib.load(path, mmap_mode="c")


def run_tasks(tasks: Mapping[Key, Task], jobs: int) -> dict[Key, Any]:
    """Runs tasks in at most ``jobs`` processes, in their order, and returns their results.

    An interrupt or an error stops the workers.
    """
    import joblib

    calls = [joblib.delayed(task.function)(*task.arguments) for task in tasks.values()]
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=jobs, batch_size=1, mmap_mode="c")
        return dict(zip(tasks, parallel(calls), strict=True))


@dataclass(frozen=True)
class StepCounter:
    """Counts the steps that worker processes have finished: a file a worker, a byte a step."""

    folder: Path

    def set(self, worker: int, done: int) -> None:
        """Records that a worker has finished ``done`` steps."""
        path = self.folder / str(worker)
        path.touch()
        os.truncate(path, done)

    def count(self) -> int:
        """Returns how many steps are finished."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


@contextmanager
def step_counter(report: Callable[[int], None]) -> Iterator[StepCounter]:
    """A counter whose count is reported twice a second, from a thread of its own."""
    stopped = threading.Event()
    with tempfile.TemporaryDirectory(prefix="eta-steps-") as folder:
        counter = StepCounter(Path(folder))

        def watch() -> None:
            while not stopped.wait(_REPORT_SECONDS):
                report(counter.count())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield counter
        finally:
            stopped.set()
            watcher.join()
