"""Which version scores past parcels, and why it is not the promoted one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from eta.domain.errors import ModelCorrupted, ModelNotFound
from eta.model.bundle import ModelBundle
from eta.model.registry import Registry, Version


@dataclass(frozen=True)
class VersionChoice:
    """The version to use for one moment and source."""

    #: None if there is no version to use.
    bundle: ModelBundle | None
    #: The promoted version, and why it is not used; None if it is, or if none is promoted.
    promoted: str | None
    why_not_promoted: str | None
    #: What is wrong with the versions that cannot be opened, by their names.
    problems: Mapping[str, str]


def choose_version(
    registry: Registry, as_of: datetime, source: str, load: Callable[[Version], ModelBundle]
) -> VersionChoice:
    """The newest sound version of a source whose data do not reach beyond ``as_of`` (aware)."""
    bundle, problems = None, dict[str, str]()
    for name in registry.names():
        try:
            version = registry.load(name)
            if _why_unusable(version, as_of, source) is None:
                bundle = load(version)
                break
        except ModelCorrupted as error:
            problems[name] = str(error)
    promoted, why_not = _promoted(registry, bundle, as_of, source)
    return VersionChoice(bundle, promoted, problems.get(promoted or "", why_not), problems)


def _why_unusable(version: Version, as_of: datetime, source: str) -> str | None:
    """Why a version cannot score what was known at a moment; None if it can."""
    trained_on = version.manifest["data"].get("source")
    if trained_on != source:
        return f"it was trained on the source {trained_on}, not on {source}"
    if version.data_through > as_of:
        through = version.data_through.isoformat()
        return f"it was trained on data through {through}, which is after --as-of"
    return None


def _promoted(
    registry: Registry, used: ModelBundle | None, as_of: datetime, source: str
) -> tuple[str | None, str | None]:
    """The promoted version, and why it is not the one used."""
    name = None
    try:
        name = registry.promoted()
        if name is None or (used is not None and used.version == name):
            return name, None
        version = registry.load(name)
        reason = _why_unusable(version, as_of, source)
    except (ModelNotFound, ModelCorrupted) as error:
        return name, str(error)
    return name, reason or "a newer version was trained on data through a later moment"
