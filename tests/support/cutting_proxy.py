"""A TCP proxy before PostgreSQL that cuts a connection at its COMMIT."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from select import select
from time import sleep
from urllib.parse import urlsplit, urlunsplit

_COMMIT = b"COMMIT\x00"
#: A statement that psycopg prepares, with its name: its text comes no more when it is executed.
_PREPARED_COMMIT = re.compile(rb"P....(_pg3_\d+\x00)COMMIT\x00", re.DOTALL)
#: The message that executes a statement.
_EXECUTE = b"E\x00\x00\x00\x09\x00"
_CHUNK = 65_536
_ANSWER_TIMEOUT_SECONDS = 10.0


class Cut(StrEnum):
    """Where a connection is cut."""

    #: The server never receives the COMMIT.
    BEFORE = "before"
    #: It receives half of it.
    WITHIN = "within"
    #: It receives it, and its answer is lost.
    AFTER = "after"


class CuttingProxy:
    """Forwards connections to a server, and cuts the next COMMIT if it is armed."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._armed: tuple[Cut, float | None] | None = None
        #: The cuts that were made.
        self.made: list[Cut] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, cut: Cut, delay_seconds: float | None = None) -> None:
        """The next COMMIT is cut after a delay; by default as soon as the server has answered."""
        with self._lock:
            self._armed = (cut, delay_seconds)

    def is_armed(self) -> bool:
        """Whether no COMMIT came since it was armed."""
        return self._armed is not None

    def close(self) -> None:
        """Accepts no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(self._target) as server:
            peers = {client: server, server: client}
            prepared: set[bytes] = set()
            while True:
                for source in select(list(peers), [], [])[0]:
                    data = source.recv(_CHUNK)
                    if not data or (
                        source is client and _commits(data, prepared) and self._is_cut(data, server)
                    ):
                        return
                    peers[source].sendall(data)

    def _is_cut(self, data: bytes, server: socket.socket) -> bool:
        with self._lock:
            armed, self._armed = self._armed, None
        if armed is None:
            return False
        cut, delay_seconds = armed
        end = {Cut.BEFORE: 0, Cut.WITHIN: len(data) // 2, Cut.AFTER: len(data)}[cut]
        server.sendall(data[:end])
        if delay_seconds is not None:
            sleep(delay_seconds)
        elif cut is Cut.AFTER:
            select([server], [], [], _ANSWER_TIMEOUT_SECONDS)
        self.made.append(cut)
        return True


def _commits(data: bytes, prepared: set[bytes]) -> bool:
    """Whether a COMMIT is executed; ``prepared`` are names of such statements of a connection."""
    if match := _PREPARED_COMMIT.search(data):
        prepared.add(match[1])
        return _EXECUTE in data
    return _COMMIT in data or (_EXECUTE in data and any(name in data for name in prepared))


@contextmanager
def cutting_proxy(url: str) -> Iterator[tuple[CuttingProxy, str]]:
    """Yields a proxy before the server of a URL, and the URL that leads through it."""
    parts = urlsplit(url)
    proxy = CuttingProxy(parts.hostname or "", parts.port or 5432)
    netloc = f"{parts.username}@127.0.0.1:{proxy.port}"
    try:
        yield proxy, urlunsplit(parts._replace(netloc=netloc))
    finally:
        proxy.close()
