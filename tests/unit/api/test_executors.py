"""Timed jobs: the fallback replaces a job that takes too long, and nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from time import sleep
from typing import cast

import pytest

from eta.api import executors
from eta.api.executors import ReadPool, TimedExecutor
from eta.api.problem_details import ProblemError
from eta.store.store import Store


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Releases slow work; the end of the test releases it in any case."""
    event = threading.Event()
    yield event
    event.set()


def within(
    seconds: float, work: Callable[[], str], released: threading.Event
) -> tuple[str, str, str]:
    """The results of two callers in turn, and of a third one once the thread is idle."""

    async def call_in_turn() -> tuple[str, str, str]:
        executor = TimedExecutor()
        try:
            first = await executor.run_with_timeout(seconds, work, lambda: "fallback")
            second = await executor.run_with_timeout(60.0, lambda: "model", lambda: "fallback")
            released.set()
            while (
                third := await executor.run_with_timeout(5.0, lambda: "model", lambda: "fallback")
            ) == "fallback":
                await asyncio.sleep(0.01)
            return first, second, third
        finally:
            released.set()
            executor.close()

    return asyncio.run(asyncio.wait_for(call_in_turn(), 20.0))


def test_a_result_in_time_is_the_models(released: threading.Event) -> None:
    assert within(5.0, lambda: "model", released) == ("model", "model", "model")


def test_the_fallback_answers_after_the_timeout_and_nobody_waits(
    released: threading.Event,
) -> None:
    def slow() -> str:
        released.wait(15.0)
        return "model, too late"

    assert within(0.05, slow, released) == ("fallback", "fallback", "model")


def test_time_in_the_queue_does_not_count() -> None:
    async def crowd() -> list[str]:
        executor = TimedExecutor()

        def work() -> str:
            threading.Event().wait(0.05)
            return "model"

        answers = await asyncio.gather(
            *(executor.run_with_timeout(1.0, work, lambda: "fallback") for _ in range(30))
        )
        executor.close()
        return list(answers)

    # Together they take longer than the timeout of one.
    assert asyncio.run(crowd()) == ["model"] * 30


def test_an_error_is_raised_and_not_taken_for_a_timeout(released: threading.Event) -> None:
    def fails() -> str:
        raise TimeoutError("the model's own")

    with pytest.raises(TimeoutError, match="the model's own"):
        within(5.0, fails, released)


def test_a_cancelled_caller_blocks_nobody(
    released: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> str:
        executor = TimedExecutor()

        def fails_late() -> str:
            released.wait(15.0)
            raise RuntimeError("no caller is left")

        task = asyncio.create_task(executor.run_with_timeout(10.0, fails_late, lambda: "fallback"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            return await executor.run_with_timeout(5.0, lambda: "model", lambda: "fallback")
        finally:
            released.set()
            executor.close()

    assert asyncio.run(leave()) == "fallback"
    assert not caplog.records


def test_reads_that_have_waited_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "MAX_READ_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(executors, "_READ_THREADS", 1)
    done: list[str] = []

    async def call() -> list[object]:
        reads = ReadPool(cast("Store", None))
        late = reads.run(lambda: done.append("late"))
        outcomes = await asyncio.gather(reads.run(lambda: sleep(0.2)), late, return_exceptions=True)
        reads.close()
        return list(outcomes)

    first, second = asyncio.run(call())
    assert first is None
    assert isinstance(second, ProblemError)
    assert second.status_code == 503
    assert not done
