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
from eta.api.auth import Gate
from eta.api.executors import Readers, Workers, Written, log
from eta.api.metrics import Metrics, Observed
from eta.api.openapi import SECURITY_SCHEMES
from eta.api.problem_details import install
from eta.api.rate_limit import Admission
from eta.api.routes import estimates, events, health, models, scores, shipments
from eta.api.strict_route import StrictRoute
from eta.model.hot_swap import Serving
from eta.service.estimates.estimate_delivery import smoke_test
from eta.service.storage.retention import AT_ONCE, Retaining, let_go_of_the_old
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
    settings.require_callers()
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
    app.state.settings, app.state.admission = settings, Admission(settings.rate_limit)
    app.state.gate = Gate(settings.api_keys, settings.is_demo)
    app.state.serving = Serving(
        settings.models,
        smoke_test,
        lambda outcome: metrics.loads.labels(outcome).inc(),
        settings.holidays,
    )
    app.state.metrics, app.state.clock = metrics, clock
    app.router.route_class = StrictRoute
    for resource in (estimates, scores, models, shipments, events, health):
        app.include_router(resource.router)
    app.add_middleware(Observed, metrics=metrics)
    install(app)
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
    serving: Serving = app.state.serving
    settings: Settings = app.state.settings
    app.state.store = store = await asyncio.to_thread(
        open_store, settings.database_url, app.state.clock
    )
    app.state.readers, app.state.written = Readers(store), Written()
    # Scans do not wait behind scores.
    app.state.workers, app.state.parsers, app.state.quotes = Workers(), Workers(), Workers()
    await asyncio.to_thread(serving.try_to_look)
    # What stands after the start stays: a collection of garbage need not look through it while a
    # caller waits.
    gc.freeze()
    tasks = [
        asyncio.create_task(serving.watch()),
        asyncio.create_task(retain(store, app.state.written, settings.keep_days)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        app.state.workers.close()
        app.state.parsers.close()
        app.state.quotes.close()
        app.state.readers.close()
        await asyncio.to_thread(store.close)


#: Seconds between two erasures of what is old.
RETAIN_EVERY = 3_600.0


async def retain(store: Store, written: Written, keep_days: int | None) -> None:
    """Lets go of what is old, once an hour, for ever; what fails is told and tried again."""
    kept_for = None if keep_days is None else keep_days * 86_400_000_000
    while True:
        try:
            while (
                await written.result(store.submit(let_go_of_the_old, Retaining(kept_for)))
                == AT_ONCE
            ):
                await asyncio.sleep(0.1)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
            log.error(
                "what is old could not be erased: %s",
                type(error).__name__,
                extra={"action": "retention_failed"},
            )
        await asyncio.sleep(RETAIN_EVERY)
