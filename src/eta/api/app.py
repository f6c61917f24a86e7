"""The application.

POST   /v1/estimates              dates for one lane and several carrier services, before anything
is bought GET    /v1/estimates/{id}         dates as they were shown; /schema-org says the same to
search engines POST   /v1/order-estimates        the same of an order that travels as several
parcels: when the first and the last of them arrive POST   /v1/ship-by                the latest
hand-over that brings a parcel by a wanted day POST   /v1/score                  dates and delay
flags of shipments told whole; nothing is kept POST   /v1/shipments              registers a
shipment that is to be followed GET    /v1/shipments              recorded shipments, by their ids
or page by page GET    /v1/shipments/{id}         one of them: its journey, its forecast, and what
was said of it before PATCH  /v1/shipments/{id}         corrects what was registered DELETE
/v1/shipments/{id}         erases it; DELETE /v1/shipments?external_id= does so by the shop's number
POST   /v1/events                 records scans GET    /v1/quarantine             scans that cannot
be right GET    /v1/models                 the versions there are, and which one serves GET
/livez                     the event loop turns GET    /readyz                    what serves, and
what is not as it should be GET    /metrics                   counters for Prometheus GET
/openapi.json              the contract
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI

from eta import __version__
from eta.api.auth import ApiKeyAuth
from eta.api.executors import BatchExecutor, ReadPool, WriteCompletions, log
from eta.api.metrics import Metrics, MetricsMiddleware
from eta.api.openapi import SECURITY_SCHEMES
from eta.api.problem_details import add_exception_handlers
from eta.api.rate_limit import RateLimiter
from eta.api.routes import estimates, events, health, models, scores, shipments
from eta.api.strict_route import StrictRoute
from eta.model.hot_swap import ActiveModelLoader
from eta.service.estimates.estimate_delivery import smoke_test
from eta.service.storage.retention import ERASE_BATCH_SIZE, Retention, purge_expired
from eta.settings import Settings
from eta.store.store import Store, open_store

DESCRIPTION = "Delivery dates that people can trust: windows of local dates, chances to be on time, delay flags with reasons."


def from_environment() -> FastAPI:
    """What ``eta serve`` starts."""
    return create_app(Settings.from_env(os.environ))


def _now() -> datetime:
    return datetime.now(UTC)


def create_app(settings: Settings, clock: Callable[[], datetime] = _now) -> FastAPI:
    """The application over a registry.

    Raises:
        InvalidSetting: if there are no keys and the settings do not ask for the demo.
    """
    settings.require_api_keys()
    metrics = Metrics()
    app = _Api(
        title="eta",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Operations, and with them the methods of clients, are named for the functions behind them.
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings, app.state.rate_limiter = settings, RateLimiter(settings.rate_limit)
    app.state.auth = ApiKeyAuth(settings.api_keys, settings.is_demo)
    app.state.model_loader = ActiveModelLoader(
        settings.models,
        smoke_test,
        lambda outcome: metrics.model_loads.labels(outcome).inc(),
        settings.holidays,
    )
    app.state.metrics, app.state.clock = metrics, clock
    app.router.route_class = StrictRoute
    for resource in (estimates, scores, models, shipments, events, health):
        app.include_router(resource.router)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    add_exception_handlers(app)
    return app


class _Api(FastAPI):
    """The application, whose contract says how callers are known."""

    def openapi(self) -> dict[str, Any]:
        """The contract."""
        contract = super().openapi()
        contract["components"]["securitySchemes"] = SECURITY_SCHEMES
        return contract


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Nothing is asked before the registry has been read once; then it is watched."""
    model_loader: ActiveModelLoader = app.state.model_loader
    settings: Settings = app.state.settings
    app.state.store = store = await asyncio.to_thread(
        open_store, settings.database_url, app.state.clock
    )
    app.state.read_pool, app.state.write_completions = ReadPool(store), WriteCompletions()
    # Scans do not wait behind scores.
    app.state.batch_executor, app.state.parse_executor, app.state.estimate_executor = (
        BatchExecutor(),
        BatchExecutor(),
        BatchExecutor(),
    )
    await asyncio.to_thread(model_loader.refresh_safely)
    # What stands after the start stays: a collection of garbage need not look through it while a
    # caller waits.
    gc.freeze()
    tasks = [
        asyncio.create_task(model_loader.poll()),
        asyncio.create_task(
            run_retention(store, app.state.write_completions, settings.retention_days)
        ),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        app.state.batch_executor.close()
        app.state.parse_executor.close()
        app.state.estimate_executor.close()
        app.state.read_pool.close()
        await asyncio.to_thread(store.close)


#: Seconds between two erasures of what is old.
RETENTION_INTERVAL_SECONDS = 3_600.0


async def run_retention(
    store: Store, write_completions: WriteCompletions, retention_days: int | None
) -> None:
    """Lets go of what is old, once an hour, for ever; what fails is told and tried again."""
    max_age = None if retention_days is None else retention_days * 86_400_000_000
    while True:
        try:
            while (
                await write_completions.result(store.submit(purge_expired, Retention(max_age)))
                == ERASE_BATCH_SIZE
            ):
                await asyncio.sleep(0.1)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
            log.error(
                "what is old could not be erased: %s",
                type(error).__name__,
                extra={"action": "retention_failed"},
            )
        await asyncio.sleep(RETENTION_INTERVAL_SECONDS)
