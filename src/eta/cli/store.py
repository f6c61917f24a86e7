"""The shell's door to what is recorded: ``eta ingest``, ``eta export``, ``eta backup``, ``eta restore``, ``eta erase`` and ``eta key``."""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from eta import bootstrap
from eta.cli.tables import err, out, progress_bar
from eta.datasets.base import Dataset
from eta.domain.access import DEFAULT_TENANT, Scope
from eta.domain.errors import InvalidValue, NotFound
from eta.journey.timelines import Timelines
from eta.model.fallback import fit_fallback
from eta.model.registry import Registry, write_atomically
from eta.service.storage.backup import back_up
from eta.service.storage.backup import restore as restore_store
from eta.service.storage.export import export_store
from eta.service.storage.import_dataset import import_dataset
from eta.service.storage.retention import EraseShipments, erase_shipments
from eta.settings import Settings
from eta.store.engine import translate_outages
from eta.store.session import Session
from eta.store.store import SqlStore, engine_from_url, open_store

#: Stands for the data of a command: what the service has recorded.
STORE_PREFIX = "store:"
Tenant = Annotated[str, typer.Option(help="Whose shipments.")]


def read_data(data: Path, source: str) -> Dataset:
    """A source's data, or what the service has recorded for the tenant that follows ``store:``.

    Raises:
        InvalidValue: if there is no such source.
        SourceRejected, StoreUnavailable: if the data cannot be read.
    """
    if str(data).startswith(STORE_PREFIX):
        return _read_store(str(data).removeprefix(STORE_PREFIX) or DEFAULT_TENANT)
    if source not in bootstrap.SOURCES:
        raise InvalidValue(
            "--source", f"{source!r} is no source", f"choose from {', '.join(bootstrap.SOURCES)}"
        )
    return bootstrap.SOURCES[source](data)


def _read_store(tenant: str) -> Dataset:
    engine = engine_from_url(_url())
    with translate_outages(engine):
        connection = engine.reader()
        try:
            connection.begin(writes=False)
            return export_store(Session(connection), tenant)
        finally:
            connection.close()


def ingest(
    data: Annotated[Path, typer.Argument(help="Folder of the data.", show_default=False)],
    source: Annotated[
        str, typer.Option(help=f"Layout of the data: {', '.join(bootstrap.SOURCES)}.")
    ] = "tabular",
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Record the shipments and scans of a source, with the times at which they had become known there."""
    dataset = read_data(data, source)
    store = open_configured_store()
    try:
        with progress_bar() as progress:
            counts = import_dataset(dataset, store, tenant, progress)
    finally:
        store.close()
    for what, count in sorted(counts.items()):
        out.print(f"{count:>9,}  {what}")
    for reason, count in dataset.rejected().items():
        err.print(f"  [yellow]rejected[/] {count:>5,}  {reason}")
    _train_fallback_if_empty(tenant)


def _train_fallback_if_empty(tenant: str) -> None:
    """Before anything was trained, checkouts are answered from what is recorded."""
    registry = Registry(Settings.from_env(os.environ).models)
    if registry.names():
        return
    dataset = _read_store(tenant)
    if not dataset.events.empty and (
        groups := fit_fallback(Timelines.from_frames(dataset.shipments, dataset.events), registry)
    ):
        out.print(
            f"estimates have dates by the medians of {groups:,} lanes and other groups, and say `degraded`, until `eta train` has made a version"
        )


def export(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to write to.", show_default=False)
    ],
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Write what is recorded as `shipments.parquet` and `events.parquet`, which every command reads."""
    dataset = _read_store(tenant)
    if dataset.shipments.empty:
        raise NotFound(f"there are no shipments of the tenant {tenant}")
    for name, frame in (("shipments", dataset.shipments), ("events", dataset.events)):
        write_atomically(folder / f"{name}.parquet", frame.to_parquet(index=False))
    out.print(
        f"wrote {len(dataset.shipments):,} shipments and {len(dataset.events):,} events to {escape(str(folder))}"
    )


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.", show_default=False)],
) -> None:
    """Copy all that is recorded into one file, while the service runs."""
    with progress_bar() as progress:
        counts = back_up(engine_from_url(_url()), file, progress)
    out.print(
        f"copied {counts['shipments']:,} shipments and {counts['events']:,} events to {escape(str(file))}"
    )


def restore(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A file that `eta backup` wrote.", show_default=False),
    ],
) -> None:
    """Fill an empty store, of either database, from a copy."""
    with progress_bar() as progress:
        counts = restore_store(engine_from_url(_url()), file, progress)
    out.print(f"restored {counts['shipments']:,} shipments and {counts['events']:,} events")


def erase(
    external_id: Annotated[
        list[str],
        typer.Argument(
            metavar="EXTERNAL_ID...", help="The shop's own numbers.", show_default=False
        ),
    ],
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Erase shipments with all that was told and said of them."""
    store = open_configured_store()
    try:
        missing = []
        for number in external_id:
            if store.write(erase_shipments, EraseShipments(tenant, "external_id", number)):
                out.print(f"erased {escape(number)}")
            else:
                missing.append(number)
        if missing:
            raise NotFound(f"there is no shipment {', '.join(missing)}")
    finally:
        store.close()


def key(
    tenant: Tenant = DEFAULT_TENANT,
    scope: Annotated[
        list[Scope], typer.Option(help="What the key opens; give it once for each scope.")
    ] = list(Scope),  # noqa: B006  # typer copies it
) -> None:
    """Make an API key, and the entry by which `ETA_API_KEYS` knows it."""
    if not tenant:
        raise InvalidValue("--tenant", "it is empty", "name whose data the key opens")
    api_key = f"eta_{secrets.token_urlsafe(32)}"
    entry = f"{hashlib.sha256(api_key.encode()).hexdigest()}:{tenant}:{'+'.join(scope)}"
    # An entry that the service would refuse is refused here.
    Settings.from_env({"ETA_API_KEYS": entry})
    err.print("the key, which is shown this once and kept nowhere:")
    typer.echo(api_key)
    err.print("its entry in ETA_API_KEYS; entries are separated by commas:")
    typer.echo(entry)


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    for command in (ingest, export, backup, restore, erase, key):
        app.command()(command)


def open_configured_store() -> SqlStore:
    """The store that the environment names.

    Raises:
        InvalidSetting: if it names none.
        StoreLocked, StoreUnavailable, StoreRejected: if it cannot be used.
    """
    return open_store(_url(), _now)


def _url() -> str:
    return Settings.from_env(os.environ).database_url


def _now() -> datetime:
    return datetime.now(UTC)
