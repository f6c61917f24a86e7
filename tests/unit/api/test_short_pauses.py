"""Threads take turns quickly while large batches are worked on, and at no other time."""

from __future__ import annotations

import asyncio
import sys

import pytest

from eta.api.fair_executor import FairExecutor
from eta.api.short_pauses import SWITCH_SECONDS, quick_turns
from eta.domain.access import Principal


def test_turns_are_quick_until_the_last_batch_has_ended() -> None:
    before = sys.getswitchinterval()
    with quick_turns():
        with quick_turns():
            assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    assert sys.getswitchinterval() == pytest.approx(before)


def test_a_job_has_quick_turns_even_if_it_fails() -> None:
    before, seen = sys.getswitchinterval(), []

    def fail() -> None:
        seen.append(sys.getswitchinterval())
        raise ValueError("a bug")

    async def call() -> None:
        executor = FairExecutor("test", lambda: {"a": 1})
        with pytest.raises(ValueError, match="a bug"):
            await executor.run(Principal("a"), fail)
        executor.close()

    asyncio.run(call())
    assert seen == [pytest.approx(SWITCH_SECONDS)]
    assert sys.getswitchinterval() == pytest.approx(before)
