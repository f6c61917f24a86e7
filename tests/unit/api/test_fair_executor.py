"""Large jobs: tenants and their keys take turns, and no caller fills the queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from eta.api import fair_executor
from eta.api.fair_executor import MAX_JOBS, FairExecutor
from eta.api.problem_details import ProblemError
from eta.domain.access import Principal

ONE, TWO = Principal("a", name="one"), Principal("a", name="two")
OTHER = Principal("b", name="three")


def run(work: Callable[[FairExecutor], Any], counts: dict[str, int]) -> Any:
    async def within() -> Any:
        executor = FairExecutor("test", lambda: counts)
        try:
            return await work(executor)
        finally:
            executor.close()

    return asyncio.run(asyncio.wait_for(within(), 20.0))


def test_tenants_take_turns_and_so_do_the_keys_of_each() -> None:
    async def crowd(executor: FairExecutor) -> list[str]:
        order: list[str] = []
        gate = threading.Event()
        callers = [ONE] * 4 + [TWO] * 2 + [OTHER] * 2
        first = asyncio.create_task(executor.run(ONE, lambda: gate.wait(10)))
        await asyncio.sleep(0)
        tasks = [
            asyncio.create_task(executor.run(caller, lambda name=caller.name: order.append(name)))  # type: ignore[misc]
            for caller in callers
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *tasks)
        return order

    order = run(crowd, {"a": 2, "b": 1})
    assert order[:4] == ["one", "three", "two", "three"]
    assert order == ["one", "three", "two", "three", "one", "two", "one", "one"]


def test_jobs_beyond_the_share_of_a_key_are_rejected() -> None:
    async def crowd(executor: FairExecutor) -> list[object]:
        gate = threading.Event()
        tasks = [
            asyncio.create_task(executor.run(ONE, lambda: gate.wait(10))) for _ in range(MAX_JOBS)
        ]
        await asyncio.sleep(0)
        other = asyncio.create_task(executor.run(OTHER, lambda: "other"))
        await asyncio.sleep(0)
        gate.set()
        outcomes = await asyncio.gather(other, *tasks, return_exceptions=True)
        assert await executor.run(ONE, lambda: "later") == "later"
        return list(outcomes)

    other, *outcomes = run(crowd, {"a": 1, "b": 1})
    rejected = [error for error in outcomes if isinstance(error, ProblemError)]
    assert other == "other"
    assert len(rejected) == MAX_JOBS // 2
    assert {error.status_code for error in rejected} == {429}
    assert all(1 <= int((error.headers or {})["Retry-After"]) <= 5 for error in rejected)


def test_a_full_queue_rejects_everybody() -> None:
    async def crowd(executor: FairExecutor) -> list[object]:
        gate = threading.Event()
        tasks = [
            asyncio.create_task(executor.run(ONE, lambda: gate.wait(10)))
            for _ in range(MAX_JOBS + 1)
        ]
        await asyncio.sleep(0)
        gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    *results, rejected = run(crowd, {"a": 1})
    assert results == [True] * MAX_JOBS
    assert isinstance(rejected, ProblemError)
    assert rejected.status_code == 503
    assert 1 <= int((rejected.headers or {})["Retry-After"]) <= 5


def test_what_must_be_answered_is_never_rejected() -> None:
    async def crowd(executor: FairExecutor) -> list[int]:
        tasks = [
            asyncio.create_task(executor.finish(ONE, lambda number=number: number))  # type: ignore[misc]
            for number in range(2 * MAX_JOBS)
        ]
        return list(await asyncio.gather(*tasks))

    assert run(crowd, {"a": 1}) == list(range(2 * MAX_JOBS))


def test_a_job_whose_caller_has_gone_is_not_started() -> None:
    async def leave(executor: FairExecutor) -> list[str]:
        done: list[str] = []
        gate = threading.Event()
        first = asyncio.create_task(executor.run(ONE, lambda: gate.wait(10)))
        gone = asyncio.create_task(executor.run(ONE, lambda: done.append("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        gate.set()
        await first
        await executor.run(OTHER, lambda: done.append("next"))
        return done

    assert run(leave, {"a": 1, "b": 1}) == ["next"]


def test_an_error_is_raised_to_its_caller_alone() -> None:
    def fails() -> str:
        raise KeyError("this job")

    async def call(executor: FairExecutor) -> str:
        with pytest.raises(KeyError, match="this job"):
            await executor.run(ONE, fails)
        return await executor.run(ONE, lambda: "next")

    assert run(call, {"a": 1}) == "next"


def test_a_job_that_has_waited_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_executor, "MAX_WAIT_SECONDS", 0.05)

    async def crowd(executor: FairExecutor) -> list[object]:
        gate = threading.Event()
        tasks = [
            asyncio.create_task(executor.run(ONE, lambda: gate.wait(10))),
            asyncio.create_task(executor.run(ONE, lambda: "late")),
            asyncio.create_task(executor.finish(ONE, lambda: "must be answered")),
        ]
        await asyncio.sleep(0.1)
        gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, late, finished = run(crowd, {"a": 1})
    assert (first, finished) == (True, "must be answered")
    assert isinstance(late, ProblemError)
    assert late.status_code == 503
