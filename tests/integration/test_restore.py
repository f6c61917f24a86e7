"""A backup is restored only if the service can read every row of it; else nothing changes."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from eta.domain.errors import StoreRejected, StoreUnavailable
from eta.service.storage import backup as backups
from eta.service.storage.backup import back_up, restore
from eta.service.storage.backup_rows import ROWS
from eta.store.migrations import TABLES
from eta.store.store import engine_from_url
from support.store import fresh_url

GOLDEN = Path(__file__).parents[1] / "golden" / "store" / "november_backup.sqlite.gz"

pytestmark = pytest.mark.xdist_group("stores")

#: Changes after which the service could not read a row, and what the error says.
DAMAGES = {
    "a time as text": ("UPDATE events SET occurred_at = 'soon'", "row 1 of events: occurred_at"),
    "a time of another era": ("UPDATE events SET received_at = 9e18", "of events: received_at"),
    "a negative time": ("UPDATE shipments SET created_at = -1", "row 1 of shipments: created_at"),
    "an unknown event code": ("UPDATE events SET event_code = 'flown'", "of events: event_code"),
    "an unknown status": ("UPDATE states SET status = 'x'", "of states: status"),
    "a wild offset": ("UPDATE events SET offset_minutes = 99999", "of events: offset_minutes"),
    "a flag of two": ("UPDATE states SET is_open = 2", "of states: is_open"),
    "bytes as text": ("UPDATE events SET place = x'ff00'", "of events: place"),
    "a text that is not UTF-8": ("UPDATE events SET place = CAST(x'ff' AS TEXT)", "events: a text"),
    "a NUL in a text": ("UPDATE events SET place = 'a' || char(0)", "NUL"),
    "attributes that are a list": ("UPDATE shipments SET attributes = '[]'", "attributes"),
    "attributes without a place": (
        "UPDATE shipments SET attributes = json_remove(attributes, '$.origin')",
        "origin: Field required",
    ),
    "a weight as text": (
        "UPDATE shipments SET attributes = json_set(attributes, '$.weight_kg', 'heavy')",
        "weight_kg: Input should be a valid number",
    ),
    "an impossible weight": (
        "UPDATE shipments SET attributes = json_set(attributes, '$.weight_kg', -2)",
        "weight_kg: -2 is not a size",
    ),
    "an order time without an offset": (
        "UPDATE shipment_versions SET attributes ="
        " json_set(attributes, '$.ordered_at', '2026-05-18T08:00:00')",
        "ordered_at: it is no instant",
    ),
    "an assessment without a key": (
        "UPDATE forecasts SET assessment = json_remove(assessment, '$.scan_count')",
        "row 1 of forecasts: assessment: scan_count",
    ),
    "an estimate without results": (
        "UPDATE estimates SET response = json_remove(response, '$.results')",
        "of estimates: response: results",
    ),
    "an estimate in no zone": (
        "UPDATE estimates SET response = json_set(response, '$.results[0].timezone', 'Mars/X')",
        "it is no time zone",
    ),
    "quarantine without an event": ("UPDATE quarantine SET content = '{}'", "of quarantine"),
    "a response that is no JSON": ("UPDATE responses SET body = '{'", "of responses: body"),
    "a message that is no object": ("UPDATE outbox SET payload = '1'", "of outbox: payload"),
    "an impossible probability": ("UPDATE flags SET probability = 1.5", "of flags: probability"),
    "a tenant that no key can have": ("UPDATE events SET tenant = 'a b'", "of events: tenant"),
    "a secret that is none": ("UPDATE clock SET secret = 'x'", "row 1 of clock: secret"),
    "a clock of another era": ("UPDATE clock SET last_commit_time = 9e18", "of clock"),
    "no clock": ("DELETE FROM clock", "clock does not have its one row"),
    "an event of nobody": ("UPDATE events SET event_owner = 'shp_0'", "event of no owner"),
    "a version of nobody": ("DELETE FROM shipments", "of no shipment"),
    "a shipment without a state": ("DELETE FROM states", "shipment without state"),
    "a number use of nobody": ("DELETE FROM tracking_number_uses", "of no number use"),
    "a sequence that comes again": ("UPDATE clock SET last_sequence = 0", "last sequence"),
    "a missing table": ("DROP TABLE flags", "the table flags is missing"),
    "another table": ("CREATE TABLE more (x)", "the table more is not one of ours"),
    "a trigger": (
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM shipments; END",
        "the trigger t is not one of ours",
    ),
    "a view": ("CREATE VIEW v AS SELECT 1", "the view v is not one of ours"),
    "a missing column": (
        "ALTER TABLE flags DROP COLUMN state",
        "flags.state is missing",
    ),
    "another column": ("ALTER TABLE flags ADD COLUMN x", "the column flags.x is not one of ours"),
    "a missing index": ("DROP INDEX shipments_external_id", "index"),
    "swapped columns": (
        "ALTER TABLE events RENAME COLUMN occurred_at TO x;"
        "ALTER TABLE events RENAME COLUMN received_at TO occurred_at;"
        "ALTER TABLE events RENAME COLUMN x TO received_at",
        r"the column events\.occurred_at is not as this program made it",
    ),
    "another type": (
        "CREATE TABLE e AS SELECT * FROM flags; DROP TABLE flags; ALTER TABLE e RENAME TO flags",
        "the column flags",
    ),
    "a newer version": ("INSERT INTO migrations VALUES (99)", "migrations are not those"),
    "no migrations": ("DELETE FROM migrations", "migrations are not those"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup with rows in every table; not to be changed."""
    folder = tmp_path_factory.mktemp("sound")
    november = folder / "november.sqlite"
    november.write_bytes(gzip.decompress(GOLDEN.read_bytes()))
    url = f"sqlite:{folder / 'eta.sqlite'}"
    restore(engine_from_url(url), november)
    back_up(engine_from_url(url), folder / "sound.sqlite")
    return folder / "sound.sqlite"


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    file = tmp_path / "copy.sqlite"
    file.write_bytes(sound.read_bytes())
    return file


def change(file: Path, sql: str) -> None:
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute(sql)


def content(url: str) -> dict[str, int] | None:
    """The rows of each table of a store; None if it was never written."""
    try:
        engine = engine_from_url(url)
        with closing(engine), closing(engine.reader()) as reader:
            return {
                table: reader.execute(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608  # names of ours
                for table in TABLES
            }
    except StoreUnavailable:
        return None


def test_every_table_and_column_has_a_rule(sound: Path) -> None:
    with closing(apsw.Connection(str(sound))) as connection:
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert columns == list(ROWS[table].__annotations__)
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() != [(0,)]  # noqa: S608  # names of ours


def test_a_sound_backup_is_restored_as_a_whole(copy: Path, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'new.sqlite'}"
    counts = restore(engine_from_url(url), copy)
    assert content(url) == counts
    assert min(counts.values()) > 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_changes_nothing(copy: Path, tmp_path: Path, damage: str) -> None:
    sql, message = DAMAGES[damage]
    change(copy, sql)
    url = f"sqlite:{tmp_path / 'new.sqlite'}"
    with pytest.raises(StoreRejected, match=message) as error:
        restore(engine_from_url(url), copy)
    assert "name another file" in str(error.value)
    assert content(url) is None
    assert [path.name for path in tmp_path.iterdir()] == ["copy.sqlite"]


@pytest.mark.parametrize("table", TABLES)
def test_no_column_takes_bytes(copy: Path, table: str) -> None:
    for column in ROWS[table].__annotations__:
        before = copy.read_bytes()
        change(copy, f"UPDATE OR REPLACE {table} SET {column} = x'00ff'")  # noqa: S608  # names of ours
        with pytest.raises(StoreRejected, match=f"{table}: {column}|of no|without"):
            restore(engine_from_url("memory:"), copy)
        copy.write_bytes(before)


def test_damaged_pages_are_found(copy: Path) -> None:
    pages = bytearray(copy.read_bytes())
    # Somewhere in the middle, after the pages that hold the schema.
    pages[len(pages) // 2 : len(pages) // 2 + 3_000] = b"\x07" * 3_000
    copy.write_bytes(pages)
    with pytest.raises(StoreRejected, match="no copy that `eta backup` wrote"):
        restore(engine_from_url("memory:"), copy)


@pytest.mark.parametrize("size", [0, 1, 100, 5_000])
def test_a_part_of_a_backup_is_refused(copy: Path, size: int) -> None:
    copy.write_bytes(copy.read_bytes()[:size])
    with pytest.raises(StoreRejected, match="no copy that `eta backup` wrote"):
        restore(engine_from_url("memory:"), copy)


def test_links_and_pipes_are_not_read(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(copy)
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (("link", "it is a link"), ("pipe", "it is a pipe")):
        with pytest.raises(StoreRejected, match=problem):
            restore(engine_from_url("memory:"), tmp_path / name)


def test_a_link_in_the_place_of_the_store_is_not_followed(copy: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "eta.sqlite").symlink_to(victim)
    with pytest.raises(StoreRejected, match="is a link; name the file of the store itself"):
        restore(engine_from_url(f"sqlite:{tmp_path / 'eta.sqlite'}"), copy)
    assert not victim.exists()


def test_planted_links_beside_the_files_are_not_followed(copy: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in (".copy.sqlite.restoring", ".second.sqlite.part", "second.sqlite"):
        (tmp_path / name).symlink_to(victim)
    url = f"sqlite:{tmp_path / 'new.sqlite'}"
    restore(engine_from_url(url), copy)
    with pytest.raises(StoreRejected, match="there already"):
        back_up(engine_from_url(url), tmp_path / "second.sqlite")
    back_up(engine_from_url(url), tmp_path / "third.sqlite")
    assert victim.read_bytes() == b"precious"
    assert stat.S_IMODE((tmp_path / "third.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_interrupted_restore_leaves_an_empty_store(
    copy: Path,
    tmp_path: Path,
    postgres: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    def interrupt(table: str, *_: int) -> None:
        if table == TABLES[-1]:
            raise KeyboardInterrupt

    with fresh_url(kind, tmp_path / "new", postgres) as url:
        with pytest.raises(KeyboardInterrupt):
            restore(engine_from_url(url), copy, interrupt)
        assert set((content(url) or {}).values()) == {0}
        monkeypatch.setattr(backups, "BATCH_SIZE", 1)
        assert restore(engine_from_url(url), copy) == content(url)


KILLED = """
import os, signal, sys
from pathlib import Path
from eta.service.storage.backup import restore
from eta.store.store import engine_from_url

def progress(table, count, total):
    if table == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

restore(engine_from_url(sys.argv[2]), Path(sys.argv[1]), progress)
"""


def test_a_killed_restore_can_be_repeated(copy: Path, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'new.sqlite'}"
    for table in ("shipments", TABLES[-1]):
        command = [sys.executable, "-c", KILLED, str(copy), url, table]
        assert subprocess.run(command, check=False).returncode == -9
        assert set((content(url) or {}).values()) == {0}
    assert restore(engine_from_url(url), copy) == content(url)
