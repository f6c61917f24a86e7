"""The commands on the store: ingest, export, backup, restore, erase and key."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.markup import escape

from eta import bootstrap
from eta.cli.inputs import (
    emptiness,
    load_settings,
    read_data,
    read_store,
    report_rows,
    report_warnings,
    write_rejected,
)
from eta.cli.options import SOURCE, AcceptClock, Folder, Quarantine, Source
from eta.cli.tables import err, out, progress_bar
from eta.domain.access import DEFAULT_TENANT, TENANT_PATTERN, Scope
from eta.domain.errors import InvalidValue, NotFound
from eta.files import write_atomically
from eta.journey.last_normal_day import last_normal_day
from eta.journey.timelines import Timelines
from eta.model.fallback import fit_fallback
from eta.service.storage.backup import back_up
from eta.service.storage.backup import restore as restore_store
from eta.service.storage.import_dataset import RejectedRow, import_dataset
from eta.service.storage.retention import (
    EraseShipments,
    erase_shipments,
    purge_all_orphaned_responses,
)
from eta.settings import Settings
from eta.store.store import SqlStore

ImportedData = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder of the data.", show_default=False)
]
NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="A new file.", show_default=False)]
BackupFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A file that `eta backup` wrote.", show_default=False),
]
Tenant = Annotated[str, typer.Option(help="Tenant that owns the shipments.")]
ExternalIds = Annotated[
    list[str],
    typer.Argument(metavar="EXTERNAL_ID...", help="The shop's own numbers.", show_default=False),
]
Scopes = Annotated[
    list[Scope], typer.Option(help="What the key may do; repeat the option for several scopes.")
]
_ALL_SCOPES = list(Scope)
#: Most rejected rows that are named on the screen.
_MAX_NAMED = 20


def ingest(
    data: ImportedData,
    source: Source = SOURCE,
    tenant: Tenant = DEFAULT_TENANT,
    quarantine: Quarantine = None,
    accept_clock: AcceptClock = False,
) -> None:
    """Record the shipments and events of a source.

    Each is recorded with the time at which the source knew of it.
    """
    _check_tenant(tenant)
    dataset = read_data(data, source)
    settings = load_settings("models", "store")
    opened = closing(open_configured_store(settings, accept_clock=accept_clock))
    with opened as store, progress_bar() as progress:
        imported = import_dataset(dataset, store, tenant, progress)
    for name, count in sorted(imported.counts.items()):
        out.print(f"{count:>9,}  {name}")
    rejected = pd.concat([dataset.quarantine, imported.quarantine()], ignore_index=True)
    dataset = replace(dataset, rows=imported.rows, quarantine=rejected)
    report_warnings(dataset)
    report_rows(dataset)
    _print_rejected(imported.rejected)
    write_rejected(dataset, quarantine or settings.quarantine)
    if not imported.has_shipments:
        raise emptiness(dataset, data, "orders")
    _fit_fallback_if_untrained(settings, tenant)


def _check_tenant(tenant: str) -> None:
    """Rejects a name that no key can have.

    Raises:
        InvalidValue: if it is one.
    """
    if not re.fullmatch(TENANT_PATTERN, tenant):
        hint = "use up to 64 letters, digits, - and _"
        raise InvalidValue("--tenant", f"{tenant!r} is no name of a tenant", hint)


def _print_rejected(rejected: Sequence[RejectedRow]) -> None:
    """Names the rows that the store rejected, and says what to do."""
    named = [row for row in rejected if row.message]
    for row in named[:_MAX_NAMED]:
        err.print(f"  [yellow]rejected[/] {escape(f'{row.shipment_id}: {row.message}')}")
    if len(named) > _MAX_NAMED:
        err.print(f"  and {len(named) - _MAX_NAMED:,} more")


def _fit_fallback_if_untrained(settings: Settings, tenant: str) -> None:
    """Fits the fallback to the recorded events if the registry has no model version."""
    registry = bootstrap.registry(settings)
    if registry.names():
        return
    dataset = read_store(settings, tenant)
    if dataset.events.empty:
        return
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    last_day = last_normal_day(timelines.received_at, dataset.zone)
    groups = fit_fallback(timelines, registry, last_day.known_through(datetime.now(UTC)))
    if groups:
        out.print(
            f"until `eta train` has written a version, estimates use the quantiles of {groups:,}"
            " lanes and other groups, and are marked as `degraded`"
        )


def export(folder: Folder, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Write the recorded shipments and events as Parquet.

    The files have the layout `tabular`, which every command reads.
    """
    dataset = read_store(load_settings("store"), tenant)
    if dataset.shipments.empty:
        raise NotFound(f"there are no shipments of the tenant {tenant}")
    for name, frame in (("shipments", dataset.shipments), ("events", dataset.events)):
        write_atomically(folder / f"{name}.parquet", frame.to_parquet(index=False))
    counts = f"{len(dataset.shipments):,} shipments and {len(dataset.events):,} events"
    out.print(f"wrote {counts} to {escape(str(folder))}")


def backup(file: NewFile) -> None:
    """Copy the store into one file; the service may run."""
    engine = bootstrap.store_engine(load_settings("store"))
    with progress_bar() as progress:
        counts = back_up(engine, file, progress)
    out.print(f"copied {_describe(counts)} to {escape(str(file))}")


def restore(file: BackupFile) -> None:
    """Fill an empty store, of either database, from a backup."""
    engine = bootstrap.store_engine(load_settings("store"))
    with progress_bar() as progress:
        counts = restore_store(engine, file, progress)
    out.print(f"restored {_describe(counts)}")


def _describe(counts: Mapping[str, int]) -> str:
    return f"{counts['shipments']:,} shipments and {counts['events']:,} events"


def erase(
    external_id: ExternalIds,
    tenant: Tenant = DEFAULT_TENANT,
    accept_clock: AcceptClock = False,
) -> None:
    """Erase shipments with all their events and forecasts."""
    settings = load_settings("store")
    with closing(open_configured_store(settings, accept_clock=accept_clock)) as store:
        missing = []
        for number in external_id:
            request = EraseShipments(tenant, "external_id", number)
            if store.write(erase_shipments, request):
                out.print(f"erased {escape(number)}")
            else:
                missing.append(number)
        purge_all_orphaned_responses(store)
        if missing:
            raise NotFound(f"there is no shipment {', '.join(missing)}")


def key(tenant: Tenant = DEFAULT_TENANT, scope: Scopes = _ALL_SCOPES) -> None:
    """Create an API key, and its entry for `ETA_API_KEYS`."""
    _check_tenant(tenant)
    api_key = f"eta_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(api_key.encode()).hexdigest()
    entry = f"{digest}:{tenant}:{'+'.join(scope)}"
    # Raises if the service would reject the entry.
    Settings.from_env({"ETA_API_KEYS": entry})
    err.print("the key, which is shown only once and stored nowhere:")
    typer.echo(api_key)
    err.print("its entry in ETA_API_KEYS, separated by commas, or a line of ETA_API_KEYS_FILE:")
    typer.echo(entry)


def open_configured_store(settings: Settings, *, accept_clock: bool = False) -> SqlStore:
    """The store that the settings name; ``accept_clock`` trusts the clock after an idle time.

    Raises:
        ClockRefused: if the clock is accepted and differs from the database's.
        InvalidSetting: if it names none.
        StoreLocked, StoreUnavailable, StoreRejected: if it cannot be used.
    """
    store = bootstrap.store(settings, bootstrap.wall_clock, bootstrap.steady_clock)
    if accept_clock:
        try:
            store.accept_clock()
        except BaseException:
            store.close()
            raise
    return store
