"""What commands read: the settings, data, and a version of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.markup import escape

from eta import bootstrap
from eta.cli.files import write_table
from eta.cli.options import NEWEST_VERSION
from eta.cli.tables import err, print_row_counts, status
from eta.cli.times import parse_instant
from eta.configuration import read_training_configuration
from eta.datasets.base import Dataset
from eta.delays import DelayPolicy
from eta.domain.access import DEFAULT_TENANT
from eta.domain.errors import InvalidValue, SourceRejected
from eta.journey.last_normal_day import last_normal_day
from eta.journey.timelines import Timelines
from eta.model.registry import Registry
from eta.service.storage.export import export_store
from eta.settings import Settings
from eta.store.engine import translate_outages
from eta.store.migrations import check_migrated
from eta.store.session import Session

#: What a command may use, apart from data.
Use = Literal["models", "store"]

#: As the folder of the data: the shipments that the service has recorded, of the tenant after it.
STORE_PREFIX = "store:"

#: Most characters of a rejected row, and most unmapped codes, that a command prints.
_EXAMPLE_LENGTH, _MAX_CODES = 120, 10

#: Most tenants that an error names.
_MAX_TENANTS = 10


def load_settings(*uses: Use) -> Settings:
    """The settings of the environment; prints the paths of what a command uses."""
    settings = bootstrap.settings(os.environ)
    locations = {"models": settings.models, "store": settings.store_location}
    if uses:
        used = ", ".join(f"{name} in {locations[name]}" for name in uses)
        err.print(f"using {escape(used)}", soft_wrap=True)
    return settings


def load_config(config: Path | None, *uses: Use) -> tuple[Settings, dict[str, Any], DelayPolicy]:
    """The settings, the parameters of the model and the delay policy."""
    settings = load_settings(*uses)
    if config is None:
        return settings, {}, DelayPolicy()
    parameters, policy = read_training_configuration("--config", str(config))
    return settings, parameters, policy


class StoreTenants(NamedTuple):
    """Whose recorded shipments a model learns from, as the options say."""

    tenant: str | None = None
    is_all: bool = False

    def of_store(self, named: str, recorded: Sequence[str]) -> list[str]:
        """The tenants, of those recorded; ``named`` is the one after ``store:``, if any.

        Raises:
            InvalidValue: if none is chosen, or two different choices are made.
        """
        chosen = {tenant for tenant in (self.tenant, named) if tenant}
        if len(chosen) + self.is_all > 1:
            raise InvalidValue("--tenant", "two choices of tenants", "make one of them")
        if self.is_all:
            return list(recorded)
        if not chosen:
            shown = ", ".join(recorded[:_MAX_TENANTS]) or "none"
            raise InvalidValue(
                "store:",
                f"a model answers all tenants alike, and the tenants recorded are: {shown}",
                "choose one with --tenant NAME, or learn from all with --all-tenants",
            )
        return list(chosen)


def read_timelines(
    data: Path, source: str, quarantine: Path, tenants: StoreTenants | None = None
) -> tuple[Dataset, Timelines]:
    """The data of a source; reports on them, and writes the rejected rows to ``quarantine``.

    ``tenants`` are those that a model is to learn from, if it is.

    Raises:
        InvalidValue: if there is no such source, or no tenant is chosen of whom to learn.
        SourceRejected: if the data hold no orders, no scans, or cannot be read.
    """
    with status(f"reading {data}"):
        dataset = read_data(data, source, tenants)
    err.print(f"read {len(dataset.shipments):,} shipments and {len(dataset.events):,} scans")
    report_warnings(dataset)
    report_rows(dataset)
    write_rejected(dataset, quarantine)
    _check_not_empty(dataset, data)
    return dataset, Timelines.from_frames(dataset.shipments, dataset.events)


def report_warnings(dataset: Dataset) -> None:
    """Prints the peculiarities of accepted rows, with their counts."""
    for warning, count in dataset.warnings.items():
        if count:
            err.print(f"  warning {count:>6,}  {escape(warning)}")


def write_rejected(dataset: Dataset, quarantine: Path) -> None:
    """Writes the rejected rows to a file if there are any, and prints where they are."""
    if len(dataset.quarantine):
        write_table(quarantine, dataset.quarantine)
        err.print(f"  rejected rows are in {escape(str(quarantine))}")


def _check_not_empty(dataset: Dataset, data: Path) -> None:
    """Refuses data without an order or without a scan.

    Raises:
        SourceRejected: if there is none; says why rows were rejected.
    """
    for name, rows in (("orders", dataset.shipments), ("scans", dataset.events)):
        if not len(rows):
            raise emptiness(dataset, data, name)


def emptiness(dataset: Dataset, data: Path, name: str) -> SourceRejected:
    """The error of data without ``orders`` or ``scans``; it says why rows were rejected."""
    rejected = dataset.rejected()
    if not rejected:
        hint = "add them" if name == "orders" else "add events, or ordered_at to the shipments"
        return SourceRejected(f"{data} holds no {name}; {hint}")
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in rejected.items())
    return SourceRejected(
        f"{data} holds no {name} that can be used: rows were rejected for {reasons};"
        " correct them, the quarantine file lists them"
    )


def report_rows(dataset: Dataset) -> None:
    """Prints what became of the rows of each file, why they were rejected, and unmapped codes."""
    if dataset.rows:
        print_row_counts(dataset.rows)
    examples = dataset.examples()
    for reason, count in dataset.rejected().items():
        example = escape(examples[reason][:_EXAMPLE_LENGTH])
        err.print(f"  [yellow]rejected[/] {count:>5,}  {escape(reason)}, such as: {example}")
    codes = sorted(dataset.unmapped_codes.items(), key=lambda item: (-item[1], item[0]))
    for code, count in codes[:_MAX_CODES]:
        err.print(f"  [yellow]unmapped[/] {count:>5,}  {escape(code) or '(no code)'}")
    if len(codes) > _MAX_CODES:
        err.print(f"  and {len(codes) - _MAX_CODES:,} more unmapped codes")


def read_data(data: Path, source: str, tenants: StoreTenants | None = None) -> Dataset:
    """The data of a source, or the recorded shipments of the tenant that follows ``store:``.

    ``tenants`` are those that a model is to learn from, if it is.

    Raises:
        InvalidValue: if there is no such source, or no tenant is chosen of whom to learn.
        SourceRejected, StoreUnavailable: if the data cannot be read.
    """
    if str(data).startswith(STORE_PREFIX):
        named = str(data).removeprefix(STORE_PREFIX)
        return read_store(load_settings("store"), named, tenants)
    if tenants is not None and (tenants.tenant or tenants.is_all):
        hint = f"leave it out, or give {STORE_PREFIX} instead of {data}"
        raise InvalidValue("--tenant", "it is for what the service has recorded", hint)
    if source not in bootstrap.SOURCES:
        hint = f"choose from {', '.join(bootstrap.SOURCES)}"
        raise InvalidValue("--source", f"{source!r} is not a source", hint)
    return bootstrap.SOURCES[source](data, now=datetime.now(UTC))


def read_store(settings: Settings, named: str, tenants: StoreTenants | None = None) -> Dataset:
    """The recorded shipments and events of the ``named`` tenant, or of those to learn from.

    Raises:
        InvalidValue: if no tenant is chosen of whom to learn.
        StoreUnavailable: if the store cannot be read, or nothing was recorded.
        StoreRejected: if it has the tables of another version.
    """
    engine = bootstrap.store_engine(settings)
    with translate_outages(engine):
        connection = engine.reader()
        try:
            check_migrated(connection, engine)
            connection.begin(writes=False)
            session = Session(connection)
            if tenants is None:
                return export_store(session, named or DEFAULT_TENANT)
            return export_store(session, *tenants.of_store(named, session.tenants()))
        finally:
            connection.close()


def resolve_version(registry: Registry, version: str) -> str:
    """The name of a version; ``newest`` is the one trained on the latest data."""
    names = registry.names()
    return names[0] if version == NEWEST_VERSION and names else version


def parse_as_of(text: str | None, dataset: Dataset, timelines: Timelines) -> datetime:
    """The moment, in UTC, that ``--as-of`` names; without it, the end of the last normal day.

    Prints that day and how many rows were received after it.

    Raises:
        InvalidValue: if the text is not a date or a time with an offset.
    """
    if text:
        return parse_instant(text, dataset.zone)
    last_day = last_normal_day(timelines.received_at, dataset.zone)
    err.print(
        f"learns through {last_day.day}, the last day with a normal number of received rows;"
        f" {last_day.rows_after:,} rows were received later"
    )
    return last_day.known_through(datetime.now(UTC))
