"""A write whose COMMIT was answered to nobody is neither lost nor repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import apsw
import psycopg
import pytest

from eta.domain.errors import StoreUnavailable, WriteUnconfirmed
from eta.service.estimates.estimate_delivery import SaveEstimate, save_estimates
from eta.service.tracking.record_events import RecordingStatus
from eta.service.tracking.register_shipments import RegisterShipment, register_shipments
from eta.store import store as stores
from eta.store.engine import CommitUnconfirmed
from eta.store.sqlite import SqliteConnection
from eta.store.store import SqlStore
from support.cutting_proxy import Cut, CuttingProxy, cutting_proxy
from support.store import (
    NOW,
    TENANT,
    Clock,
    fresh_url,
    opened_store,
    record,
    register,
    registration,
    require_postgres,
    scan,
)

pytestmark = pytest.mark.xdist_group("stores")


@pytest.fixture
def proxied(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[SqlStore, CuttingProxy, str]]:
    """A store behind a proxy, the proxy, and the direct URL of the database."""
    require_postgres()
    # A busy machine takes its time to connect.
    monkeypatch.setattr(stores, "CONFIRM_SECONDS", 30.0)
    with (
        fresh_url("postgresql", tmp_path, postgres) as url,
        cutting_proxy(url) as (proxy, proxied_url),
        opened_store(proxied_url, clock) as store,
    ):
        yield store, proxy, url


def anonymous(number: int) -> Any:
    """A registration without any id by which a repetition could be recognized."""
    return replace(registration(number), external_id=None, tracking_number=None)


def count(store: SqlStore, table: str) -> int:
    with store.snapshot() as session:
        rows = session._connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608, SLF001  # names of ours
    return int(rows[0][0])


@pytest.mark.parametrize("cut", list(Cut))
def test_a_shipment_is_registered_once_whatever_became_of_the_answer(
    proxied: tuple[SqlStore, CuttingProxy, str], cut: Cut
) -> None:
    store, proxy, _ = proxied
    proxy.arm(cut)
    registered = register(store, anonymous(1))
    assert proxy.made == [cut]
    assert registered.created
    with store.snapshot() as session:
        assert [row.shipment_id for row in session.all_shipments(TENANT)] == [
            registered.shipment_id
        ]


def test_an_estimate_and_an_event_are_saved_once_and_reported_as_new(
    proxied: tuple[SqlStore, CuttingProxy, str],
) -> None:
    store, proxy, _ = proxied
    proxy.arm(Cut.AFTER)
    save = SaveEstimate(TENANT, NOW, None, "{}")
    assert store.write(save_estimates, save)
    assert count(store, "estimates") == 1
    proxy.arm(Cut.AFTER)
    [outcome] = record(store, scan(1))
    assert outcome.status is RecordingStatus.STORED
    assert len(proxy.made) == 2


def test_all_writes_of_a_shared_transaction_get_their_results(
    proxied: tuple[SqlStore, CuttingProxy, str],
) -> None:
    store, proxy, _ = proxied
    proxy.arm(Cut.AFTER)
    commands = [RegisterShipment(TENANT, anonymous(number)) for number in range(20)]
    futures = [store.submit(register_shipments, command) for command in commands]
    shipment_ids = {future.result(10).shipment_id for future in futures}
    assert len(shipment_ids) == count(store, "shipments") == 20


def test_an_answer_that_is_lost_twice_is_looked_up_twice(
    proxied: tuple[SqlStore, CuttingProxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, proxy, _ = proxied
    proxy.arm(Cut.BEFORE)
    connect = type(store._engine).writer  # noqa: SLF001  # a second cut during the retry

    def armed_again(engine: Any) -> Any:
        if len(proxy.made) == 1:
            proxy.arm(Cut.AFTER)
        return connect(engine)

    monkeypatch.setattr(type(store._engine), "writer", armed_again)  # noqa: SLF001  # see above
    register(store, anonymous(1))
    assert proxy.made == [Cut.BEFORE, Cut.AFTER]
    assert count(store, "shipments") == 1


def test_a_write_that_cannot_be_looked_up_is_reported_as_unconfirmed(
    proxied: tuple[SqlStore, CuttingProxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, proxy, url = proxied
    engine = type(store._engine)  # noqa: SLF001  # the server cannot be reached any more
    proxy.arm(Cut.AFTER)

    def unreachable(_: Any) -> Any:
        raise StoreUnavailable("PostgreSQL does not respond")

    with monkeypatch.context() as patched:
        patched.setattr(stores, "CONFIRM_SECONDS", 0.2)
        patched.setattr(engine, "writer", unreachable)
        with pytest.raises(WriteUnconfirmed):
            register(store, anonymous(1))
        # What was not begun is certain not to be recorded.
        with pytest.raises(StoreUnavailable) as error:
            register(store, anonymous(2))
        assert not isinstance(error.value, WriteUnconfirmed)
    with psycopg.connect(url, autocommit=True) as connection:
        # The server commits once it comes to read the COMMIT.
        for _ in range(100):
            recorded = connection.execute("SELECT count(*) FROM shipments").fetchone()
            if recorded == (1,):
                break
            sleep(0.05)
    assert recorded == (1,)


def test_a_failed_sync_of_a_file_is_looked_up(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock) as store:
        original = SqliteConnection.commit
        failures = iter([True])

        def failing(connection: SqliteConnection) -> None:
            original(connection)
            if next(failures, False):
                raise CommitUnconfirmed from apsw.IOError("disk I/O error")

        monkeypatch.setattr(SqliteConnection, "commit", failing)
        register(store, anonymous(1))
        assert count(store, "shipments") == 1


def test_rows_of_tokens_do_not_accumulate(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:{tmp_path / 'eta.sqlite'}"
    for _ in range(4):
        with opened_store(url, clock) as store:
            register(store, anonymous(1))
            register(store, anonymous(2))
            rows = count(store, "transaction_tokens")
        clock.pass_hours(20)
    assert rows == 2
