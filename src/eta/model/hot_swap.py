"""The model that serves: one immutable reference, swapped off the event loop when the registry changes.

A request takes the reference once and answers with it, so that every answer is exactly one
version's. A version is loaded, checked byte by byte and tried before it is swapped in; one that
fails leaves the old one serving. The lane medians beside the versions answer where none can.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic

from eta.calendars.holidays import LIBRARY, Holidays
from eta.domain.errors import EtaError, ModelCorrupted
from eta.forecast.baselines.lane_quantiles import LaneMedians
from eta.forecast.hazard.model import HazardModel
from eta.model.bundle import Answering, ServedModel
from eta.model.fallback import LANE_MEDIANS, ServedMedians, kept_medians
from eta.model.registry import Registry

#: Seconds between two looks at the registry.
LOOK_EVERY = 0.5

#: Seconds after which a version that was refused is tried again.
AGAIN_AFTER = 10.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Current:
    """What serves at a moment."""

    served: ServedModel | None = None
    data_through: datetime | None = None
    #: The version that should serve, or None if nobody has promoted one.
    promoted: str | None = None
    #: Why not the version that should serve, or none at all.
    faults: tuple[str, ...] = ()
    #: What answers where no version serves, or none in time; None before the first training.
    fallback: LaneMedians | None = None

    @property
    def answering(self) -> Answering | None:
        """What questions are answered with: the version, else the lane medians, else nothing."""
        return self.served or (ServedMedians(self.fallback) if self.fallback else None)

    def without_model(self) -> Current:
        """The same as if no version served: what an answer of the lane medians is told from."""
        return replace(self, served=None, data_through=None)

    @property
    def version(self) -> str | None:
        """The version that answers."""
        return self.served.version if self.served else None

    @property
    def learned_on(self) -> date | None:
        """The day, in UTC, up to which what answers has learned."""
        through = (
            self.fallback.data_through if self.fallback and not self.served else self.data_through
        )
        return through.astimezone(UTC).date() if through else None

    @property
    def is_degraded(self) -> bool:
        """No model answers."""
        return self.served is None


@dataclass(frozen=True)
class Known:
    """A version as the registry has it; ``refused`` says why it cannot serve."""

    version: str
    data_through: datetime | None = None
    examples: int | None = None
    refused: str | None = None


@dataclass
class Serving:
    """Watches a registry.

    ``current`` and ``versions`` are replaced, never changed: whoever has taken one keeps it whole.
    """

    folder: Path
    #: Called with each version, and the moment it was trained through, before it serves; it must not raise.
    smoke_test: Callable[[ServedModel, datetime], None]
    #: Told the outcome of each load: ``loaded`` or ``refused``.
    on_load: Callable[[str], None] = lambda _: None
    #: Those that every version keeps while it serves here.
    holidays: Holidays = LIBRARY
    current: Current = Current(faults=("the registry has not been read yet",))
    versions: tuple[Known, ...] = ()
    _seen: object = None
    _looked_at: float = -AGAIN_AFTER
    _refused: dict[str, str] = field(default_factory=dict)
    _sound: dict[str, Known] = field(default_factory=dict)
    #: The file of the lane medians as it was when read, what it held, and why not what it holds.
    _medians: tuple[object, LaneMedians | None, str | None] = (None, None, None)

    async def watch(self) -> None:
        """Looks for ever, beside the event loop; a look that fails is told and tried again."""
        while True:
            await asyncio.to_thread(self.try_to_look)
            await asyncio.sleep(LOOK_EVERY)

    def try_to_look(self) -> None:
        """Looks, and tells of whatever goes wrong: what serves must go on serving."""
        try:
            self.look()
        except Exception:
            log.exception("the registry could not be read", extra={"action": "model_look_failed"})

    def look(self) -> None:
        """Reads the registry if it has changed, and swaps the reference if another version should serve."""
        seen = _signature(self.folder)
        if seen == self._seen and not (
            self._refused and monotonic() - self._looked_at > AGAIN_AFTER
        ):
            return
        self._looked_at = monotonic()
        self._refused.clear()
        registry = Registry(self.folder)
        promoted, faults = _promoted(registry)
        names = registry.names()
        self._medians = self._read_medians(registry)
        if promoted or not faults:
            chosen = self._choose(registry, promoted, names)
        else:
            chosen = replace(
                self.current if self.current.served else self._choose(registry, None, names),
                faults=faults,
            )
        # In one step: no request may see a version without what stands in for it.
        _, fallback, fault = self._medians
        self.current = replace(
            chosen, fallback=fallback, faults=(*chosen.faults, fault) if fault else chosen.faults
        )
        self.versions = tuple(self._known(registry, name) for name in names)
        self._seen = seen

    def _read_medians(self, registry: Registry) -> tuple[object, LaneMedians | None, str | None]:
        """The lane medians, read if their file has changed; one that cannot be used leaves those that there were."""
        seen, (before, held, _) = _stat(self.folder / LANE_MEDIANS), self._medians
        if seen == before:
            return self._medians
        try:
            return seen, kept_medians(registry), None
        except ModelCorrupted as error:
            log.warning("%s", error, extra={"action": "medians_refused"})
            return seen, held, str(error)

    def _choose(self, registry: Registry, promoted: str | None, names: Iterable[str]) -> Current:
        """The version that should serve, else what serves already, else the newest that is sound."""
        if promoted:
            wanted = self._load(registry, promoted)
            if wanted:
                return replace(wanted, promoted=promoted)
            if self.current.served:
                return replace(self.current, promoted=promoted, faults=self._faults())
        found = next(
            (
                loaded
                for name in names
                if name != promoted and (loaded := self._load(registry, name))
            ),
            Current(),
        )
        return replace(
            found,
            promoted=promoted,
            faults=self._faults() or (() if found.served else ("there is no model version",)),
        )

    def _load(self, registry: Registry, name: str) -> Current | None:
        """The version, checked and tried; None if it cannot serve, with the reason noted."""
        if name == self.current.version and self.current.served:
            return replace(self.current, faults=())
        try:
            version = registry.load(name)
            served = ServedModel.unpack(version, HazardModel, self.holidays)
            self.smoke_test(served, version.data_through)
        except Exception as error:  # noqa: BLE001  # whatever a version does, the old one serves on
            self._refused[name] = (
                str(error)
                if isinstance(error, EtaError)
                else f"model version {name} cannot answer: {type(error).__name__}"
            )
            log.warning("%s", self._refused[name], extra={"action": "model_refused"})
            self.on_load("refused")
            return None
        self.on_load("loaded")
        return Current(served, version.data_through)

    def _faults(self) -> tuple[str, ...]:
        return tuple(self._refused.values())

    def _known(self, registry: Registry, name: str) -> Known:
        if name in self._refused:
            return Known(name, refused=self._refused[name])
        if name not in self._sound:
            try:
                version = registry.load(name)
            except EtaError as error:
                return Known(name, refused=str(error))
            self._sound[name] = Known(
                name, version.data_through, version.manifest["data"].get("examples")
            )
        return self._sound[name]


def _promoted(registry: Registry) -> tuple[str | None, tuple[str, ...]]:
    """The promoted version, or why it cannot be told."""
    try:
        return registry.promoted(), ()
    except EtaError as error:
        return None, (str(error),)


def _signature(folder: Path) -> tuple[object, ...]:
    """Differs whenever a version has come or gone, another one was promoted, or the lane medians are others; three stats."""
    return tuple(_stat(path) for path in (folder, folder / "promoted.json", folder / LANE_MEDIANS))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
