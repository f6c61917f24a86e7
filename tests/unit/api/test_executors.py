"""Answers that take too long: another one is given, and nobody waits behind them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from eta.api.executors import BatchExecutor


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Lets slow work end; at the end of the test it does in any case."""
    event = threading.Event()
    yield event
    event.set()


def within(
    seconds: float, work: Callable[[], str], released: threading.Event
) -> tuple[str, str, str]:
    """What two callers get one after the other, the second as soon as the first is told, and a third once the thread is idle."""

    async def ask() -> tuple[str, str, str]:
        workers = BatchExecutor()
        try:
            first = await workers.run_with_timeout(seconds, work, lambda: "medians")
            second = await workers.run_with_timeout(60.0, lambda: "model", lambda: "medians")
            released.set()
            while (
                third := await workers.run_with_timeout(5.0, lambda: "model", lambda: "medians")
            ) == "medians":
                await asyncio.sleep(0.01)
            return first, second, third
        finally:
            released.set()
            workers.close()

    return asyncio.run(asyncio.wait_for(ask(), 20.0))


def test_an_answer_in_time_is_the_models(released: threading.Event) -> None:
    assert within(5.0, lambda: "model", released) == ("model", "model", "model")


def test_over_the_budget_the_other_answers_and_who_comes_next_does_not_wait(
    released: threading.Event,
) -> None:
    def slow() -> str:
        released.wait(15.0)
        return "model, too late"

    assert within(0.05, slow, released) == ("medians", "medians", "model")


def test_a_wait_for_those_before_does_not_count() -> None:
    async def crowd() -> list[str]:
        workers = BatchExecutor()

        def work() -> str:
            threading.Event().wait(0.05)
            return "model"

        answers = await asyncio.gather(
            *(workers.run_with_timeout(1.0, work, lambda: "medians") for _ in range(30))
        )
        workers.close()
        return list(answers)

    # All of them together take longer than each may.
    assert asyncio.run(crowd()) == ["model"] * 30


def test_a_fault_is_no_delay(released: threading.Event) -> None:
    def fails() -> str:
        raise TimeoutError("the model's own")

    with pytest.raises(TimeoutError, match="the model's own"):
        within(5.0, fails, released)


def test_a_caller_that_goes_away_holds_nobody_up(
    released: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> str:
        workers = BatchExecutor()

        def fails_late() -> str:
            released.wait(15.0)
            raise RuntimeError("nobody is there to hear it")

        task = asyncio.create_task(workers.run_with_timeout(10.0, fails_late, lambda: "medians"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            return await workers.run_with_timeout(5.0, lambda: "model", lambda: "medians")
        finally:
            released.set()
            workers.close()

    assert asyncio.run(leave()) == "medians"
    assert not caplog.records
