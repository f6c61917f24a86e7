"""Runs work with the active model, or without it if the model fails or takes too long."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from eta.api.dependencies import Resources
from eta.api.executors import ESTIMATE_TIMEOUT_SECONDS
from eta.api.metrics import Metrics
from eta.domain.access import Principal
from eta.domain.errors import EtaError
from eta.model.hot_swap import ActiveModel

#: Batches of up to this size run at once; larger ones must not hold up an estimate.
INLINE_BATCH_SIZE = 20

log = logging.getLogger(__name__)
T = TypeVar("T")


def run_with_model(
    work: Callable[[ActiveModel], T], current: ActiveModel, metrics: Metrics
) -> tuple[T, ActiveModel]:
    """The result of ``work``, and the model that made it: the fallback if the version fails.

    Raises:
        EtaError: if the request is at fault.
    """
    if current.served is None:
        return work(current), current
    try:
        return work(current), current
    except EtaError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever fails, the fallback answers
        _log_failure(current, error)
        metrics.model_failures.inc()
    without_version = current.as_fallback()
    return work(without_version), without_version


def _log_failure(current: ActiveModel, error: Exception) -> None:
    """Logs where the version failed; the error's text may repeat the request and is left out."""
    log.error(
        "model version %s failed: %s",
        current.version,
        type(error).__name__,
        extra={"action": "model_failed", "stack": traceback.format_tb(error.__traceback__)},
    )


async def run_batch(
    work: Callable[[ActiveModel], T], resources: Resources, caller: Principal, parcels: int
) -> tuple[T, ActiveModel]:
    """The same off the event loop, if there are many parcels; takes as long as it takes.

    Raises:
        ProblemError: 429 or 503 if too many large batches are waiting.
    """
    call = partial(run_with_model, work, resources.active_model, resources.metrics)
    if parcels <= INLINE_BATCH_SIZE:
        return call()
    return await resources.batch_executor.run(caller, call)


async def finish_batch(
    work: Callable[[], T], resources: Resources, caller: Principal, parcels: int
) -> T:
    """The result of work on the results of a batch, off the event loop if they are many."""
    if parcels <= INLINE_BATCH_SIZE:
        return work()
    return await resources.batch_executor.finish(caller, work)


async def run_in_time(
    work: Callable[[ActiveModel], T], resources: Resources, caller: Principal, parcels: int
) -> tuple[T, ActiveModel]:
    """The same, but the fallback answers if the version takes longer than a customer waits.

    Without a fallback a late result is better than none: the version may take its time.
    """
    current = resources.active_model
    if not (current.served and current.fallback):
        return await run_batch(work, resources, caller, parcels)
    instead = current.as_fallback(is_timed_out=True)
    return await resources.estimate_executor.run_with_timeout(
        ESTIMATE_TIMEOUT_SECONDS,
        partial(run_with_model, work, current, resources.metrics),
        lambda: (work(instead), instead),
    )
