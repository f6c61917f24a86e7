"""HTTP over one connection, within limits of time and size for what the application never sees.

Only ``eta serve`` imports this module: the server is slow to import.
"""

from __future__ import annotations

import asyncio
import resource
from asyncio import TimerHandle
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Seconds within which the request line and the headers must arrive, and their bytes.
HEAD_TIMEOUT_SECONDS, MAX_HEAD_BYTES = 10.0, 64 * 2**10

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


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that is slow to send a request or to read its answer."""

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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads a part of a request."""
        is_waiting = self in self._waiting
        super().data_received(data)
        if self._is_discarding:
            self.flow.pause_reading()
            self.loop.call_later(REST_PAUSE_SECONDS, self._read_on)
        if is_waiting and self in self._waiting:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The headers are too large.")

    def on_message_begin(self) -> None:
        """Waits for the head of a request that has begun."""
        super().on_message_begin()
        if self._timer is None:
            self._expect(HEAD_TIMEOUT_SECONDS)
        self._waiting[self] = None

    def on_headers_complete(self) -> None:
        """Hands the request to the application, which limits the time of the body."""
        self._waiting.pop(self, None)
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Ends the wait for the rest of a body that was answered early."""
        self._is_discarding = False
        self._stop_timer()
        super().on_message_complete()

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
