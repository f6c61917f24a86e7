"""When the traces that deleted rows leave in files are removed."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic, sleep

from eta.store.engine import Connection, Engine

#: Seconds from a deletion until its traces in files are removed, with those of later ones.
TRACES_SECONDS = 10.0
#: Seconds between two attempts.
RETRY_SECONDS = 1.0
#: Seconds for which it is tried at the end, and between the attempts.
_SECONDS_AT_END, _PAUSE_AT_END = 4.0, 0.05


class TraceRemoval:
    """Removes traces once for all deletions of some seconds; the writer thread uses it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._has_traces = False
        #: The erasures that the removal which is going on covers.
        self._covered: int | None = None
        #: How many transactions have deleted rows.
        self.erasures = 0
        self._due_at: float | None = None
        if engine.removes_traces_at_start:
            self._due_at = monotonic() + TRACES_SECONDS

    def schedule(self) -> None:
        """Takes note of a transaction that deletes rows."""
        self.erasures += 1
        self._has_traces = True
        self._due_at = self._due_at or monotonic() + TRACES_SECONDS

    @property
    def is_pending(self) -> bool:
        """Whether it must be done some time."""
        return self._due_at is not None

    @property
    def is_due(self) -> bool:
        """Whether it must be done now."""
        return self._due_at is not None and monotonic() >= self._due_at

    def run_if_due(self, connection: Connection) -> None:
        """Removes traces if it is time; tries again later if that is not possible yet."""
        if not self.is_due:
            return
        if self._covered is None:
            self._covered = self.erasures
        if not self._engine.remove_traces(connection):
            self._due_at = monotonic() + RETRY_SECONDS
            return
        self._has_traces = self.erasures != self._covered
        self._due_at = monotonic() + TRACES_SECONDS if self._has_traces else None
        self._covered = None

    def finish(self, connection: Connection) -> None:
        """Removes the traces of this process's deletions, because the process may end."""
        deadline = monotonic() + _SECONDS_AT_END
        with suppress(Exception):
            while self._has_traces and monotonic() < deadline:
                self._due_at = 0.0
                self.run_if_due(connection)
                sleep(_PAUSE_AT_END if self._has_traces else 0.0)
