"""What is counted, and the middleware that counts it. One registry an application, so that several can live in one process."""

from __future__ import annotations

import logging
import traceback
from collections import Counter as CountOf
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
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

from eta.api.problem_details import problem, to_response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Sent with every answer: it is data, for this caller, and no page.
#: Of every answer that does not say otherwise.
_HEADERS = {b"x-content-type-options": b"nosniff", b"cache-control": b"no-store"}

log = logging.getLogger(__name__)


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "eta_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "eta_http_request_seconds",
            "Seconds until an answer was sent.",
            ("route",),
            registry=self.registry,
        )
        self.answers = Counter(
            "eta_answers", "Results told, by code.", ("code",), registry=self.registry
        )
        self.forecast_writes_failed = Counter(
            "eta_forecast_writes_failed",
            "Answers given that could not be kept.",
            registry=self.registry,
        )
        self.model_loads = Counter(
            "eta_model_loads", "Versions loaded and refused.", ("outcome",), registry=self.registry
        )
        self.model_active = Gauge(
            "eta_model_active",
            "1 for the version that serves.",
            ("version",),
            registry=self.registry,
        )
        self.is_degraded = Gauge(
            "eta_model_degraded",
            "1 while no model answers, or another than was promoted.",
            registry=self.registry,
        )

    def count_answers(self, codes: Iterable[str]) -> None:
        """Counts the results of one request."""
        for code, count in CountOf(codes).items():
            self.answers.labels(code).inc(count)

    def render(self, version: str | None, *, is_degraded: bool) -> Response:
        """All of them, as Prometheus reads them."""
        self.model_active.clear()
        if version:
            self.model_active.labels(version).set(1)
        self.is_degraded.set(is_degraded)
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class MetricsMiddleware:
    """The outermost layer: counts every request, and turns what nobody foresaw into a bare problem."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), 0

        async def count(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                header_names = {name for name, _ in headers}
                message["headers"] = [
                    *headers,
                    *(header for header in _HEADERS.items() if header[0] not in header_names),
                ]
            await send(message)

        try:
            await self.app(scope, receive, count)
        except Exception as error:
            # The caller learns nothing of our inside, and the log nothing of the body, which an
            # error may repeat.
            stack = traceback.format_tb(error.__traceback__)
            log.error(
                "a request failed: %s",
                type(error).__name__,
                extra={"action": "request_failed", "route": _route(scope), "stack": stack},
            )
            if status:
                raise
            await to_response(
                problem(
                    500,
                    "something went wrong here; try again, and tell us if it stays",
                    scope["path"],
                )
            )(scope, receive, count)
        finally:
            self.metrics.requests.labels(_route(scope), _method(scope), str(status)).inc()
            self.metrics.seconds.labels(_route(scope)).observe(perf_counter() - started)


def _route(scope: Scope) -> str:
    """The route's template: never the path itself, which is anybody's."""
    return str(getattr(scope.get("route"), "path", "none"))


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return (
        method
        if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
        else "other"
    )
