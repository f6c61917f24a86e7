"""The application.

POST   /v1/estimates                  delivery dates for one lane and several carrier services
GET    /v1/estimates/{id}             a saved estimate; ``/schema-org`` has it for search engines
POST   /v1/order-estimates            delivery dates of an order that ships as several parcels
POST   /v1/ship-by                    the latest hand-over for a desired delivery date
POST   /v1/score                      dates and delay flags of shipments sent whole; stateless
POST   /v1/shipments                  registers a shipment
GET    /v1/shipments                  recorded shipments, by their ids or page by page
GET    /v1/shipments/{id}             one shipment: journey, forecast and earlier forecasts
PATCH  /v1/shipments/{id}             updates a shipment
DELETE /v1/shipments/{id}             deletes a shipment
DELETE /v1/shipments?external_id=     deletes a shipment by the shop's own number
POST   /v1/events                     records tracking events
PATCH  /v1/events/{id}                corrects the code of an event from now on
GET    /v1/quarantine                 implausible tracking events
GET    /v1/models                     the model versions, and which one is active
GET    /v1/coverage                   what the active version has learned from
GET    /livez                         liveness
GET    /readyz                        readiness: the active model and current problems
GET    /metrics                       counters for Prometheus
GET    /openapi.json                  the OpenAPI document
GET    /                              a landing page
GET    /docs                          the reference of the API, as a page
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import FastAPI

from eta import __version__, bootstrap
from eta.api.admission import CONCURRENCY_LIMITS, Admission
from eta.api.auth import ApiKeyAuth, on_hang_up
from eta.api.dependencies import Resources
from eta.api.executors import ReadPool, TimedExecutor, WriteCompletions, log
from eta.api.fair_executor import FairExecutor
from eta.api.fair_writer import FairWriter
from eta.api.load_shedding import LoadShedder
from eta.api.metrics import Metrics, MetricsMiddleware
from eta.api.openapi import SECURITY_SCHEMES
from eta.api.problem_details import RefusalReason, add_exception_handlers
from eta.api.request_gate import GATE, RequestGate, kinds_of
from eta.api.routes import (
    coverage,
    estimates,
    events,
    health,
    models,
    pages,
    scores,
    shipments,
)
from eta.api.short_pauses import collect_garbage, short_pauses
from eta.api.strict_route import StrictRoute
from eta.model.hot_swap import ActiveModelLoader
from eta.service.storage.retention import (
    ERASE_BATCH_SIZE,
    ResponsePosition,
    Retention,
    purge_expired,
    purge_orphaned_responses,
)
from eta.settings import Settings
from eta.store.store import SqlStore, Store

DESCRIPTION = (
    "Delivery date predictions: windows of local dates, on-time probabilities, "
    "and delay flags with reasons."
)

_RESOURCES = (estimates, scores, models, coverage, shipments, events, health, pages)
_ROUTERS = [resource.router for resource in _RESOURCES]
ROUTES = [route for router in _ROUTERS for route in router.routes]

#: Seconds between two purges of old data.
RETENTION_INTERVAL_SECONDS = 3_600.0
#: Seconds between two batches of a purge.
_PURGE_PAUSE_SECONDS = 1.0
#: Seconds from a deletion until stored responses that name it are searched.
_ORPHAN_PURGE_SECONDS = 10.0
_MICROSECONDS_PER_DAY = 86_400_000_000


def from_environment() -> FastAPI:
    """The application that ``eta serve`` starts, configured by environment variables."""
    settings = bootstrap.settings(os.environ)
    settings.require_shared_model()
    app = create_app(settings, bootstrap.wall_clock, bootstrap.steady_clock)
    hang_up = partial(
        on_hang_up,
        app.state.auth,
        settings.api_keys_file,
        is_model_shared=settings.is_model_shared,
    )
    signal.signal(signal.SIGHUP, lambda *_: hang_up())
    return app


def create_app(
    settings: Settings,
    clock: Callable[[], datetime] = bootstrap.wall_clock,
    steady: Callable[[], float] | None = None,
) -> FastAPI:
    """The application for a model registry and a store.

    ``clock`` is judged by ``steady``; without it, it is trusted, as one that is simulated.

    Raises:
        InvalidSetting: if there are no keys and the settings do not ask for the demo.
    """
    settings.require_api_keys()
    metrics = Metrics()
    model_loader = bootstrap.model_loader(
        settings, lambda outcome: metrics.model_loads.labels(outcome).inc()
    )
    app = _Api(
        title="eta",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lambda app: _lifespan(app, settings, clock, steady, metrics, model_loader),
        # The document, which needs milliseconds to build, is served by a route of ours.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # The name of a route's function is its operation id, and so the name of client methods.
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.auth = ApiKeyAuth(settings.api_keys, settings.is_demo)
    app.router.route_class = StrictRoute
    for router in _ROUTERS:
        app.include_router(router)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    add_exception_handlers(app)
    return app


class _Api(FastAPI):
    """The application, with the security schemes in its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        return document


@asynccontextmanager
async def _lifespan(
    app: FastAPI,
    settings: Settings,
    clock: Callable[[], datetime],
    steady: Callable[[], float] | None,
    metrics: Metrics,
    model_loader: ActiveModelLoader,
) -> AsyncIterator[dict[str, RequestGate]]:
    """Opens the resources and loads the model before the first request; closes them at the end."""
    store = await asyncio.to_thread(bootstrap.store, settings, clock, steady)
    resources = _resources(app.state.auth, settings, store, metrics, model_loader)
    app.state.resources = resources
    await asyncio.to_thread(model_loader.refresh_safely)
    retention = run_retention(resources.store, resources.write_completions, settings.retention_days)
    garbage = collect_garbage(lambda: resources.admission.is_idle)
    orphans = run_orphan_purge(resources.store, resources.write_completions)
    loops = (model_loader.poll(), retention, orphans, garbage)
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        with short_pauses():
            yield {GATE: _gate(resources)}
    finally:
        model_loader.close()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(resources.close)


def _gate(resources: Resources) -> RequestGate:
    count_refusal = resources.metrics.refusals.labels(RefusalReason.OVERLOAD).inc
    return RequestGate(resources.auth, LoadShedder(), kinds_of(ROUTES), count_refusal)


def _resources(
    auth: ApiKeyAuth,
    settings: Settings,
    store: SqlStore,
    metrics: Metrics,
    model_loader: ActiveModelLoader,
) -> Resources:
    paths = {"models": str(settings.models), "store": settings.store_location}
    log.info("started", extra={"action": "started", **paths})

    def key_counts() -> Mapping[str, int]:
        return auth.key_counts

    completions = WriteCompletions()
    parser = FairExecutor("eta-parser", key_counts)
    checkout_parser = FairExecutor("eta-checkout-parser", key_counts)
    return Resources(
        settings=settings,
        auth=auth,
        admission=Admission(settings.rate_limit, key_counts),
        model_loader=model_loader,
        metrics=metrics,
        clock=store.now,
        store=store,
        read_pool=ReadPool(store),
        write_completions=completions,
        writer=FairWriter(store, completions, key_counts),
        batch_executor=FairExecutor("eta-batch", key_counts),
        parsers={
            kind: checkout_parser if kind == "checkout" else parser for kind in CONCURRENCY_LIMITS
        },
        estimate_executor=TimedExecutor(),
    )


async def run_retention(
    store: Store, write_completions: WriteCompletions, retention_days: int | None
) -> None:
    """Purges old data once an hour, for ever; a purge that fails is logged and tried again."""
    max_age = None if retention_days is None else retention_days * _MICROSECONDS_PER_DAY
    while True:
        try:
            while True:
                future = store.submit(purge_expired, Retention(max_age))
                if await write_completions.result(future) != ERASE_BATCH_SIZE:
                    break
                # Other writes get their turn.
                await asyncio.sleep(_PURGE_PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next hour tries again
            log.error(
                "old data could not be purged: %s",
                type(error).__name__,
                extra={"action": "retention_failed"},
            )
        await asyncio.sleep(RETENTION_INTERVAL_SECONDS)


async def run_orphan_purge(store: SqlStore, write_completions: WriteCompletions) -> None:
    """Deletes stored responses that name deleted shipments, soon after each deletion, for ever."""
    seen = -1
    while True:
        erasures = store.erasures
        try:
            position = ResponsePosition() if erasures != seen else None
            while position:
                future = store.submit(purge_orphaned_responses, position)
                position = await write_completions.result(future)
            seen = erasures
        except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
            extra = {"action": "orphan_purge_failed"}
            log.error("stored responses could not be purged: %s", type(error).__name__, extra=extra)
        await asyncio.sleep(_ORPHAN_PURGE_SECONDS)
