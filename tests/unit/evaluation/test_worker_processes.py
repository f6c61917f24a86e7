"""Tasks in worker processes: their results, errors, threads, shared values and progress."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from eta.domain.errors import NoTrainingData
from eta.evaluation.worker_processes import SharedValue, StepCounter, Task, run_tasks, share


def add_in_worker(shared: SharedValue[NDArray[np.float64]], term: float) -> tuple[float, bool, int]:
    """The sum with a term, whether the array can be written to, and the most threads in use."""
    values = shared.load()
    threads = max(pool["num_threads"] for pool in threadpool_info())
    total = float(values.sum()) + term
    values[:] = -1.0
    values[:] = np.arange(len(values))
    return total, values.flags.writeable, threads


def fail_in_worker() -> None:
    raise NoTrainingData("no parcel had arrived")


def test_workers_share_a_writable_value_and_use_one_thread() -> None:
    values = np.arange(1_000.0)
    with share(values) as shared:
        results = run_tasks({term: Task(add_in_worker, shared, term) for term in (3.0, 1.0)}, 2)
        # What a worker writes stays in that worker.
        np.testing.assert_array_equal(SharedValue[NDArray[np.float64]](shared.path).load(), values)
        path = shared.path
    assert results == {term: (values.sum() + term, True, 1) for term in (3.0, 1.0)}
    assert list(results) == [3.0, 1.0]
    assert not path.exists()


def test_the_error_of_a_task_is_raised() -> None:
    with pytest.raises(NoTrainingData, match="no parcel had arrived"):
        run_tasks({"only": Task(fail_in_worker)}, 2)


def test_steps_of_all_workers_are_added_up(tmp_path: Path) -> None:
    counter = StepCounter(tmp_path)
    for worker, done in ((0, 1), (1, 4), (0, 3)):
        counter.set(worker, done)
    assert counter.count() == 7
