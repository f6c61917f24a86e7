"""``eta models``: the registry of model versions."""

from __future__ import annotations

import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from eta import bootstrap
from eta.cli.files import write_json
from eta.cli.inputs import load_settings, resolve_version
from eta.cli.options import JsonFile, Version
from eta.cli.tables import checked_metric, err, figure, out, print_check
from eta.domain.errors import ModelCorrupted
from eta.evaluation.summary import HEADLINE_METRIC
from eta.model.registry import Registry

_COMPARED_METRICS = (
    HEADLINE_METRIC,
    "n",
    "crps_days",
    "mae_days",
    "coverage_80",
    "coverage_90",
    "late_auc",
    "late_ap",
)


def list_models(json_file: JsonFile = None) -> None:
    """List all versions, those trained on the latest data first."""
    registry = _registry()
    active = _active(registry)
    table = Table("version", "trained through", "examples", "CRPS at purchase, all", "active")
    rows: list[dict[str, Any]] = []
    for name in registry.names():
        try:
            manifest = registry.verify(name)
        except ModelCorrupted as error:
            table.add_row(name, "[red]rejected[/]", "", escape(str(error)), "")
            rows.append({"version": name, "rejected": str(error)})
            continue
        is_active = name == active
        data = manifest["data"]
        crps = figure(checked_metric(manifest, HEADLINE_METRIC))
        examples = f"{data['examples']:,}" if data.get("examples") else "-"
        table.add_row(name, data["through"], examples, crps, "yes" if is_active else "")
        rows.append({"version": name, "data": manifest["data"], "active": name == active})
    out.print(table)
    write_json(json_file, {"versions": rows, "active": active})


def show(version: Version, json_file: JsonFile = None) -> None:
    """Show the manifest and the check of a version."""
    registry = _registry()
    manifest = registry.verify(resolve_version(registry, version))
    print_check(manifest)
    shown = {name: value for name, value in manifest.items() if name != "check"}
    out.print_json(json.dumps(shown))
    write_json(json_file, dict(manifest))


def promote(version: Version) -> None:
    """Make a version active."""
    registry = _registry()
    name = resolve_version(registry, version)
    registry.promote(name)
    out.print(f"{name} is active")


def rollback() -> None:
    """Make the previously active version active again."""
    out.print(f"{_registry().rollback()} is active again")


def compare(version: Version, other: Version, json_file: JsonFile = None) -> None:
    """Compare the checks of two versions.

    The check of a version covers days before the end of its training data.
    """
    registry = _registry()
    names = [resolve_version(registry, name) for name in (version, other)]
    manifests = {name: registry.verify(name) for name in names}
    table = Table("at purchase; the first figure decides", *names)
    days = []
    for manifest in manifests.values():
        check = manifest.get("check")
        days.append(f"{check['from']} to {check['to']}" if check else "no earlier days")
    table.add_row("days evaluated", *days)
    for metric in _COMPARED_METRICS:
        values = [checked_metric(manifest, metric) for manifest in manifests.values()]
        table.add_row(metric, *map(figure, values))
    out.print(table)
    write_json(json_file, {name: manifest.get("check") for name, manifest in manifests.items()})


def _active(registry: Registry) -> str | None:
    """The active version; a record that cannot be read is printed and counts as none."""
    try:
        return registry.promoted()
    except ModelCorrupted as error:
        err.print(escape(str(error)), highlight=False)
        return None


def _registry() -> Registry:
    return bootstrap.registry(load_settings("models"))
