"""Refuses a request by its head alone, while there are too many, at next to no cost.

The server asks the gate before anything else is done: before the body is read, the caller is
authenticated, or the application hears of it. Refusals are bytes that were built before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import cycle
from typing import NamedTuple

from fastapi.routing import APIRoute

from eta.api.auth import ApiKeyAuth
from eta.api.load_shedding import LoadShedder, Ticket, WorkKind
from eta.api.problem_details import DEFAULT_HEADERS, MEDIA_TYPE, problem
from eta.api.strict_route import KIND

#: The name of the gate in the state of the application.
GATE = "request_gate"

#: Seconds after which callers that are refused may come again. Those that come at the same moment
#: would only be refused again, so each is given the next of these.
RETRY_AFTER_SECONDS = (3, 1, 5, 2, 4)
_DETAIL = "more requests arrive than can be answered in time; wait, and try again"
#: Paths that are never refused, for whoever watches the service.
_PROBES = frozenset({b"/livez", b"/readyz"})
#: A path that is refused only if too many ask for it.
_METRICS = b"/metrics"
#: More of a path is repeated by no refusal, nor held in their cache.
_MAX_PATH_BYTES = 200
#: Requests without a valid key share what one caller gets.
_UNKNOWN_CALLER = ""

_Headers = Iterable[tuple[bytes, bytes]]


class Call(NamedTuple):
    """What a request is for, and for whom."""

    kind: WorkKind
    caller: str


class RequestGate:
    """Decides about requests, and counts those that are in progress.

    ``kinds`` has the kind of work by the method and the resource, such as ``/v1/estimates``.
    """

    def __init__(
        self,
        auth: ApiKeyAuth,
        shedder: LoadShedder,
        kinds: Mapping[tuple[bytes, bytes], WorkKind],
        count_refusal: Callable[[], None],
    ) -> None:
        self._auth, self._shedder, self._kinds = auth, shedder, kinds
        self._count_refusal = count_refusal
        self._turns = cycle(range(len(RETRY_AFTER_SECONDS)))

    def call(self, method: bytes, url: bytes, headers: _Headers) -> Call | None:
        """What a request is for; None if it is never refused."""
        path = url.partition(b"?")[0]
        if path in _PROBES:
            return None
        if path == _METRICS:
            return Call("read", path.decode())
        resource = b"/".join(path.split(b"/", 3)[:3])
        return Call(self._kinds.get((method, resource), "read"), self._caller(headers))

    def refusal(self, call: Call, url: bytes) -> bytes | None:
        """The response to a request for which there is no room; None if there is."""
        if self._shedder.admits(*call):
            return None
        self._count_refusal()
        path = url.partition(b"?")[0][:_MAX_PATH_BYTES]
        return _refusals(path)[next(self._turns)]

    def start(self, call: Call) -> Ticket:
        """Counts a request whose body is there, until it ends."""
        return self._shedder.start(*call)

    def end(self, ticket: Ticket) -> None:
        """Ends a request."""
        self._shedder.end(ticket)

    def _caller(self, headers: _Headers) -> str:
        """The tenant of a key, which is not authenticated by this: its scopes are not looked at."""
        if self._auth.is_demo:
            return _UNKNOWN_CALLER
        for name, value in headers:
            if name == b"authorization":
                value = value.partition(b" ")[2].strip()
            elif name != b"x-api-key":
                continue
            principal = self._auth.principals.get(hashlib.sha256(value).hexdigest())
            if principal:
                return principal.tenant
        return _UNKNOWN_CALLER


def kinds_of(routes: Iterable[object]) -> dict[tuple[bytes, bytes], WorkKind]:
    """The kind of work by the method and the resource of each route that names one."""
    kinds: dict[tuple[bytes, bytes], WorkKind] = {}
    for route in routes:
        if isinstance(route, APIRoute) and (kind := (route.openapi_extra or {}).get(KIND)):
            resource = "/".join(route.path.split("/", 3)[:3]).encode()
            kinds |= {(method.encode(), resource): kind for method in route.methods or ()}
    return kinds


@lru_cache(maxsize=1_000)
def _refusals(path: bytes) -> list[bytes]:
    """The responses to a refused request, one for each of ``RETRY_AFTER_SECONDS``."""
    content = json.dumps(problem(503, _DETAIL, path.decode("latin-1")).model_dump()).encode()
    return [_refusal(content, seconds) for seconds in RETRY_AFTER_SECONDS]


def _refusal(content: bytes, retry_after_seconds: int) -> bytes:
    headers = {
        b"content-type": MEDIA_TYPE.encode(),
        b"content-length": str(len(content)).encode(),
        b"retry-after": str(retry_after_seconds).encode(),
        **DEFAULT_HEADERS,
    }
    lines = [b"%s: %s" % header for header in headers.items()]
    return b"\r\n".join([b"HTTP/1.1 503 Service Unavailable", *lines, b"", content])
