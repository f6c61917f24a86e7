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

from eta.domain.errors import EtaError, ModelCorrupted
from eta.forecast.baselines.lane_quantiles import LaneQuantiles
from eta.model.bundle import ModelBundle, Predictor
from eta.model.fallback import FALLBACK_FILE, FallbackBundle, load_fallback
from eta.model.registry import Registry, Version

#: Seconds between two looks at the registry.
POLL_SECONDS = 0.5

#: Seconds after which a version that was refused is tried again.
RETRY_SECONDS = 10.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ActiveModel:
    """What serves at a moment."""

    served: ModelBundle | None = None
    data_through: datetime | None = None
    #: The version that should serve, or None if nobody has promoted one.
    promoted: str | None = None
    #: Why not the version that should serve, or none at all.
    problems: tuple[str, ...] = ()
    #: What answers where no version serves, or none in time; None before the first training.
    fallback: LaneQuantiles | None = None

    @property
    def predictor(self) -> Predictor | None:
        """What questions are answered with: the version, else the lane medians, else nothing."""
        return self.served or (FallbackBundle(self.fallback) if self.fallback else None)

    def as_fallback(self) -> ActiveModel:
        """The same as if no version served: what an answer of the lane medians is told from."""
        return replace(self, served=None, data_through=None)

    @property
    def version(self) -> str | None:
        """The version that answers."""
        return self.served.version if self.served else None

    @property
    def trained_through(self) -> date | None:
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
class VersionStatus:
    """A version as the registry has it; ``rejected`` says why it cannot serve."""

    version: str
    data_through: datetime | None = None
    examples: int | None = None
    rejected: str | None = None


@dataclass
class ActiveModelLoader:
    """Watches a registry.

    ``current`` and ``versions`` are replaced, never changed: whoever has taken one keeps it whole.
    """

    folder: Path
    #: Constructs the model of a version.
    load_model: Callable[[Version], ModelBundle]
    #: Called with each version, and the moment it was trained through, before it serves; it must not raise.
    smoke_test: Callable[[ModelBundle, datetime], None]
    #: Told the outcome of each load: ``loaded`` or ``rejected``.
    on_load: Callable[[str], None] = lambda _: None
    current: ActiveModel = ActiveModel(problems=("the registry has not been read yet",))
    versions: tuple[VersionStatus, ...] = ()
    _last_signature: object = None
    _refreshed_at: float = -RETRY_SECONDS
    _rejected: dict[str, str] = field(default_factory=dict)
    _valid: dict[str, VersionStatus] = field(default_factory=dict)
    #: The file of the lane medians as it was when read, what it held, and why not what it holds.
    _fallback_file: tuple[object, LaneQuantiles | None, str | None] = (None, None, None)

    async def poll(self) -> None:
        """Looks for ever, beside the event loop; a look that fails is told and tried again."""
        while True:
            await asyncio.to_thread(self.refresh_safely)
            await asyncio.sleep(POLL_SECONDS)

    def refresh_safely(self) -> None:
        """Looks, and tells of whatever goes wrong: what serves must go on serving."""
        try:
            self.refresh()
        except Exception:
            log.exception(
                "the registry could not be read", extra={"action": "model_refresh_failed"}
            )

    def refresh(self) -> None:
        """Reads the registry if it has changed, and swaps the reference if another version should serve."""
        signature = _signature(self.folder)
        if signature == self._last_signature and not (
            self._rejected and monotonic() - self._refreshed_at > RETRY_SECONDS
        ):
            return
        self._refreshed_at = monotonic()
        self._rejected.clear()
        registry = Registry(self.folder)
        promoted, problems = _promoted(registry)
        names = registry.names()
        self._fallback_file = self._read_fallback(registry)
        if promoted or not problems:
            active = self._select(registry, promoted, names)
        else:
            active = replace(
                self.current if self.current.served else self._select(registry, None, names),
                problems=problems,
            )
        # In one step: no request may see a version without what stands in for it.
        _, fallback, problem = self._fallback_file
        self.current = replace(
            active,
            fallback=fallback,
            problems=(*active.problems, problem) if problem else active.problems,
        )
        self.versions = tuple(self._status(registry, name) for name in names)
        self._last_signature = signature

    def _read_fallback(self, registry: Registry) -> tuple[object, LaneQuantiles | None, str | None]:
        """The lane medians, read if their file has changed; one that cannot be used leaves those that there were."""
        signature, (last_signature, medians, _) = (
            _stat(self.folder / FALLBACK_FILE),
            self._fallback_file,
        )
        if signature == last_signature:
            return self._fallback_file
        try:
            return signature, load_fallback(registry), None
        except ModelCorrupted as error:
            log.warning("%s", error, extra={"action": "fallback_rejected"})
            return signature, medians, str(error)

    def _select(
        self, registry: Registry, promoted: str | None, names: Iterable[str]
    ) -> ActiveModel:
        """The version that should serve, else what serves already, else the newest that is sound."""
        if promoted:
            promoted_model = self._load(registry, promoted)
            if promoted_model:
                return replace(promoted_model, promoted=promoted)
            if self.current.served:
                return replace(self.current, promoted=promoted, problems=self._problems())
        newest = next(
            (
                loaded
                for name in names
                if name != promoted and (loaded := self._load(registry, name))
            ),
            ActiveModel(),
        )
        return replace(
            newest,
            promoted=promoted,
            problems=self._problems() or (() if newest.served else ("there is no model version",)),
        )

    def _load(self, registry: Registry, name: str) -> ActiveModel | None:
        """The version, checked and tried; None if it cannot serve, with the reason noted."""
        if name == self.current.version and self.current.served:
            return replace(self.current, problems=())
        try:
            version = registry.load(name)
            served = self.load_model(version)
            self.smoke_test(served, version.data_through)
        except Exception as error:  # noqa: BLE001  # whatever a version does, the old one serves on
            self._rejected[name] = (
                str(error)
                if isinstance(error, EtaError)
                else f"model version {name} cannot answer: {type(error).__name__}"
            )
            log.warning("%s", self._rejected[name], extra={"action": "model_rejected"})
            self.on_load("rejected")
            return None
        self.on_load("loaded")
        return ActiveModel(served, version.data_through)

    def _problems(self) -> tuple[str, ...]:
        return tuple(self._rejected.values())

    def _status(self, registry: Registry, name: str) -> VersionStatus:
        if name in self._rejected:
            return VersionStatus(name, rejected=self._rejected[name])
        if name not in self._valid:
            try:
                version = registry.load(name)
            except EtaError as error:
                return VersionStatus(name, rejected=str(error))
            self._valid[name] = VersionStatus(
                name, version.data_through, version.manifest["data"].get("examples")
            )
        return self._valid[name]


def _promoted(registry: Registry) -> tuple[str | None, tuple[str, ...]]:
    """The promoted version, or why it cannot be told."""
    try:
        return registry.promoted(), ()
    except EtaError as error:
        return None, (str(error),)


def _signature(folder: Path) -> tuple[object, ...]:
    """Differs whenever a version has come or gone, another one was promoted, or the lane medians are others; three stats."""
    return tuple(_stat(path) for path in (folder, folder / "promoted.json", folder / FALLBACK_FILE))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
