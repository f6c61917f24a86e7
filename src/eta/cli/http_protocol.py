"""HTTP over one connection, within limits of time and size for what the application never sees.

Only ``eta serve`` imports this module: the server is slow to import.
"""

from __future__ import annotations

import asyncio
import resource
from asyncio import TimerHandle
from functools import partial
from typing import Any, ClassVar, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

#: The names of the gate in the state of the application, and of a ticket in that of a request.
GATE, TICKET = "request_gate", "request_ticket"

#: Seconds within which the request line and the headers must arrive, and their bytes and number.
HEAD_TIMEOUT_SECONDS, MAX_HEAD_BYTES, MAX_HEADERS = 10.0, 64 * 2**10, 100

#: Seconds within which the rest of a body must arrive after its request was answered, and the pause
#: after each part of it: callers that send on cost the service nothing else.
REST_TIMEOUT_SECONDS, REST_PAUSE_SECONDS = 10.0, 0.5

#: Seconds within which a caller must have read what does not fit into the buffers.
READ_TIMEOUT_SECONDS = 30.0

#: Open connections, beyond which those that have waited longest for a request are closed.
MAX_CONNECTIONS = 4_000

#: Open files beside connections.
_OTHER_FILES = 200


def limit_connections() -> int:
    """How many connections may be open; raises the limit of open files so far as it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(soft - _OTHER_FILES, 1)
    return MAX_CONNECTIONS


class RequestGate(Protocol):
    """The part of the application that decides about requests by their heads."""

    def call(self, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]) -> Any:
        """What a request is for; None if it is never refused."""

    def refusal(self, call: Any, url: bytes) -> bytes | None:
        """The response to a request for which there is no room; None if there is."""

    def start(self, call: Any) -> Any:
        """Counts a request whose body is there; returns a ticket."""

    def end(self, ticket: Any) -> None:
        """Ends what was counted."""


class _RefusedCycle:
    """Takes the place of a request and its response after a refusal by its head."""

    response_complete = more_body = True
    disconnected = False
    message_event = asyncio.Event()


class BoundedProtocol(HttpToolsProtocol):
    """Refuses requests while there are too many, and closes connections that are slow.

    A connection may be slow to send a request, or to read its answer.
    """

    #: How many connections may be open.
    max_connections: ClassVar[int] = MAX_CONNECTIONS

    #: Connections that wait for the head of a request; those that have waited longest come first.
    _waiting: ClassVar[dict[BoundedProtocol, None]] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._is_discarding = False
        #: None if the application has no gate.
        self._gate: RequestGate | None = self.app_state.get(GATE)
        #: What the present request is for.
        self._call: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the head of the first request."""
        super().connection_made(transport)
        self._expect(HEAD_TIMEOUT_SECONDS)
        self._waiting[self] = None
        if len(self.connections) > self.max_connections:
            next(iter(self._waiting)).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops all timers."""
        self._waiting.pop(self, None)
        self._stop_timer()
        self.resume_writing()
        for cycle, _ in self.pipeline:
            # It will never be started.
            self._end_count(cycle.scope)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads a part of a request."""
        is_waiting = self in self._waiting
        super().data_received(data)
        if self._is_discarding:
            if self._timer is None:
                self._expect(REST_TIMEOUT_SECONDS)
            self.flow.pause_reading()
            self.loop.call_later(REST_PAUSE_SECONDS, self._read_on)
        if self._timer is None and self in self._waiting:
            self._expect(HEAD_TIMEOUT_SECONDS)
        if is_waiting and self in self._waiting:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The headers are too large.")

    def on_message_begin(self) -> None:
        """Waits for the head of a request that has begun."""
        super().on_message_begin()
        self._waiting[self] = None

    def on_headers_complete(self) -> None:
        """Hands the request to the application, which limits the time of the body.

        Raises:
            ValueError: if there are too many headers; the server answers 400.
        """
        if len(self.headers) > MAX_HEADERS:
            raise ValueError("too many headers")
        self._waiting.pop(self, None)
        self._head_bytes = 0
        self._stop_timer()
        if refusal := self._ask_gate():
            self._refuse(refusal)
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Counts a request once its body is there; it may have been answered before."""
        self._is_discarding = False
        self._stop_timer()
        super().on_message_complete()
        if self._gate and self._call and not self.cycle.response_complete:
            self.cycle.scope["state"][TICKET] = self._gate.start(self._call)

    def _ask_gate(self) -> bytes | None:
        """The response to a request that is refused; None if it is not."""
        if self._gate is None:
            return None
        self._call = call = self._gate.call(self.parser.get_method(), self.url, self.headers)
        if call is None or (self.cycle and not self.cycle.response_complete):
            # A request that waits for the one before it on its connection is counted alone.
            return None
        return self._gate.refusal(call, self.url)

    def _refuse(self, refusal: bytes) -> None:
        self.transport.write(refusal)
        if not self.parser.should_keep_alive():
            self.transport.close()
        self.cycle = _RefusedCycle()  # type: ignore[assignment]
        # Mostly the body has come with the head, and needs no time limit.
        self._is_discarding = True
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(self._run_counted, app) if self._gate else app)

    async def _run_counted(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        """Runs the application, and ends what the gate has counted."""
        try:
            await app(scope, receive, send)
        finally:
            self._end_count(scope)

    def _end_count(self, scope: Any) -> None:
        ticket = scope["state"].pop(TICKET, None)
        if self._gate and ticket:
            self._gate.end(ticket)

    def on_response_complete(self) -> None:
        """Waits for the rest of the body, or for the caller to read the answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            # Closed once the caller has read the answer.
            self.loop.call_later(READ_TIMEOUT_SECONDS, self.transport.abort)
        elif self.cycle.more_body and self.cycle.response_complete:
            self._is_discarding = True
            self._expect(REST_TIMEOUT_SECONDS)

    def pause_writing(self) -> None:
        """Waits until the caller reads."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(READ_TIMEOUT_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Goes on once the caller has read enough."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _expect(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
