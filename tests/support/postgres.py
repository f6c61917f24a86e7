"""A PostgreSQL server for the tests: a cluster in a temporary folder, on a spare port.

The user ``root`` runs it as the user ``postgres``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import LiteralString

import psycopg

#: The folder of Debian's PostgreSQL programs, which are not on the path.
_DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """Returns the folder of PostgreSQL's programs, or None if it is not installed."""
    candidates = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    return candidates[-1].parent if candidates else None


@contextmanager
def cluster() -> Iterator[str]:
    """Starts a server, yields the URL of an empty database, stops it and deletes its files."""
    binaries = programs()
    assert binaries, "PostgreSQL is not installed: apt-get install postgresql"
    with tempfile.TemporaryDirectory(prefix="eta-postgres-") as name:
        folder, port = Path(name), _spare_port()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        _run(
            binaries / "initdb",
            "-D",
            folder / "data",
            "-U",
            "eta",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        _run(
            binaries / "pg_ctl",
            "-D",
            folder / "data",
            "-o",
            options,
            "-l",
            folder / "log",
            "-w",
            "start",
        )
        try:
            yield f"postgresql://eta@127.0.0.1:{port}/postgres"
        finally:
            _run(binaries / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")


def _run(*command: object) -> None:
    # The server refuses to run as root.
    prefix = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        if os.geteuid() == 0
        else []
    )
    subprocess.run(
        [*prefix, *map(str, command)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )


def _spare_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


#: A clock of the database that a test sets: functions that hide those of the server.
_SETTABLE_CLOCK: tuple[LiteralString, ...] = (
    "CREATE SCHEMA settable",
    "CREATE TABLE settable.moment (now timestamptz NOT NULL)",
    "INSERT INTO settable.moment VALUES ('epoch')",
    "CREATE FUNCTION settable.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql"
    " AS 'SELECT now FROM settable.moment'",
    "CREATE FUNCTION settable.statement_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql"
    " AS 'SELECT now FROM settable.moment'",
)


class SettableClock:
    """The clock of a database, which shows what it is set to; ``url`` is that of its users."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        for statement in _SETTABLE_CLOCK:
            self._connection.execute(statement)
        self.url = f"{url}?options=-csearch_path%3Dsettable,pg_catalog,public"

    def set(self, now: datetime) -> None:
        self._connection.execute("UPDATE settable.moment SET now = %s", [now])

    def close(self) -> None:
        self._connection.close()
