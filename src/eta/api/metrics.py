"""Prometheus metrics, one registry an application, and the middleware that counts requests."""

from __future__ import annotations

import logging
import traceback
from collections import Counter as CountOf
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from enum import StrEnum
from functools import partial
from math import nan
from time import perf_counter
from typing import Any

from fastapi import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from eta.api.problem_details import (
    DEFAULT_HEADERS,
    REFUSAL,
    RefusalReason,
    problem,
    to_response,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_LABELS = ("route", "method", "status")
#: A request with one shipment, and the statuses with which it is rejected.
_SHIPMENT_REQUEST, _REJECTED_STATUSES = ("POST", "/v1/shipments"), ("409", "422")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = logging.getLogger(__name__)


class RowKind(StrEnum):
    """What became of a shipment or an event that was received."""

    ACCEPTED = "kept"
    #: It was received before.
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.requests = counter("eta_http_requests", "HTTP requests.", _REQUEST_LABELS)
        self.seconds = Histogram(
            "eta_http_request_seconds",
            "Seconds until a response was sent.",
            ("route",),
            registry=self.registry,
        )
        self.refusals = counter("eta_refusals", "Requests refused by reason.", ("reason",))
        for reason in RefusalReason:
            self.refusals.labels(reason)
        self.answers = counter("eta_answers", "Results by code.", ("code",))
        self.rows = counter("eta_rows", "Shipments and events received, by outcome.", ("kind",))
        for kind in RowKind:
            self.rows.labels(kind)
        self.unmapped_codes = counter(
            "eta_unmapped_codes", "Events received with a code that is not in the vocabulary."
        )
        self.forecast_writes_failed = counter(
            "eta_forecast_writes_failed", "Forecasts returned that could not be saved."
        )
        self.model_loads = counter("eta_model_loads", "Loaded versions by outcome.", ("outcome",))
        self.model_failures = counter(
            "eta_model_failures", "Answers for which the active version failed."
        )
        self.model_active = gauge("eta_model_active", "1 for the active version.", ("version",))
        self.is_degraded = gauge(
            "eta_model_degraded",
            "1 while no model is active, or one that is outdated or was not promoted.",
        )
        self.model_age_days = gauge(
            "eta_model_age_days",
            "Days since the end of the active model's training data; NaN without a model.",
        )

        self.can_write = gauge(
            "eta_store_can_write", "1 while events can be stored; 0 while /readyz is 503."
        )
        self.clock_lead_seconds = gauge(
            "eta_clock_lead_seconds",
            "Seconds by which the clock is ahead of the steady clock; writes need at most 60.",
        )

    def count_answers(self, codes: Iterable[str]) -> None:
        """Counts the results of one request."""
        for code, count in CountOf(codes).items():
            self.answers.labels(code).inc(count)

    def count_rows(self, kinds: Iterable[RowKind], *, unmapped_codes: int = 0) -> None:
        """Counts the shipments and events of one request, and unmapped codes among them."""
        for kind, count in CountOf(kinds).items():
            self.rows.labels(kind).inc(count)
        self.unmapped_codes.inc(unmapped_codes)

    def render(self, version: str | None, *, is_degraded: bool, age_days: float | None) -> Response:
        """All metrics in the text format of Prometheus."""
        self.model_active.clear()
        if version:
            self.model_active.labels(version).set(1)
        self.is_degraded.set(is_degraded)
        self.model_age_days.set(nan if age_days is None else age_days)
        content = generate_latest(self.registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)


class MetricsMiddleware:
    """The outermost layer: counts requests, and answers unexpected errors with a 500."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        response = _ResponseStart(send)
        try:
            await self.app(scope, receive, response.send)
        except Exception as error:
            # An error's text may repeat the body, which must not be logged.
            stack = traceback.format_tb(error.__traceback__)
            log.error(
                "a request failed: %s",
                type(error).__name__,
                extra={"action": "request_failed", "route": _route(scope), "stack": stack},
            )
            if response.status:
                raise
            # The response reveals nothing about the error.
            detail = "internal error; try again, and report it if it persists"
            error_response = to_response(problem(500, detail, scope["path"]))
            await error_response(scope, receive, response.send)
        finally:
            route = _route(scope)
            method = str(scope["method"]) if scope["method"] in _METHODS else "other"
            status = str(response.status)
            self.metrics.requests.labels(route, method, status).inc()
            if reason := scope.get("state", {}).get(REFUSAL):
                self.metrics.refusals.labels(reason).inc()
            if (method, route) == _SHIPMENT_REQUEST and status in _REJECTED_STATUSES:
                self.metrics.count_rows([RowKind.REJECTED])
            self.metrics.seconds.labels(route).observe(perf_counter() - started)


class _ResponseStart:
    """Passes a response on with the default headers, and remembers its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        #: 0 until the response starts.
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            names = {name for name, _ in headers}
            missing = [header for header in DEFAULT_HEADERS.items() if header[0] not in names]
            message["headers"] = headers + missing
        await self._send(message)


def _route(scope: Scope) -> str:
    """The route's template; never the path itself, which the caller chooses."""
    return str(getattr(scope.get("route"), "path", "none"))
