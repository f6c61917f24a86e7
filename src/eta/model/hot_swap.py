"""The active model: one immutable reference, replaced off the event loop when the registry changes.

A request takes the reference once, so that its whole response comes from exactly one version. A
version is loaded, checked byte by byte and warmed up before it becomes active. If that fails, the
old version stays active. Without any version the fallback beside the versions gives dates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from eta.domain.errors import EtaError, ModelCorrupted
from eta.forecast.baselines.lane_quantiles import LaneQuantiles
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.seen_services import SeenServices
from eta.model.bundle import ModelBundle, Predictor
from eta.model.fallback import (
    FALLBACK_FILE,
    FallbackBundle,
    load_fallback,
    renamed_file_problems,
)
from eta.model.registry import Registry, Version, data_through
from eta.model.trial import VersionTrial

#: Seconds between two checks of the registry.
POLL_SECONDS = 0.5

#: Seconds after which a rejected version is tried again.
RETRY_SECONDS = 10.0

#: How many times longer than the last look the pause before the next one is, at least.
_RETRY_PAUSE = 10.0

#: Seconds for which versions are listed in one go, and for which a sound one is looked for.
LISTING_SECONDS, SEARCH_SECONDS = 1.0, 20.0

#: Days after the end of the training data from which answers are degraded, unless set otherwise.
DEFAULT_MAX_AGE_DAYS = 60
_DAY = timedelta(days=1)
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ActiveModel:
    """The version that is active, or why none is."""

    served: ModelBundle | None = None
    data_through: datetime | None = None
    #: The promoted version, or None if none was promoted.
    promoted: str | None = None
    #: Why the promoted version is not active, or why none is.
    problems: tuple[str, ...] = ()
    #: Used if no version is active, or none is fast enough; None before the first training.
    fallback: LaneQuantiles | None = None
    #: The version in whose place the fallback answers, and whether it took too long.
    replaced: ModelBundle | None = None
    is_timed_out: bool = False
    #: Whether the version has learned from simulated parcels. Their calendar is fixed, so the
    #: version is never outdated.
    is_simulated: bool = False
    max_age_days: int = DEFAULT_MAX_AGE_DAYS

    @property
    def predictor(self) -> Predictor | None:
        """The version, else the fallback, else None."""
        if self.served or not self.fallback:
            return self.served
        handling = self.replaced.handling if self.replaced else HandlingTimes()
        return FallbackBundle(self.fallback, handling, self.is_timed_out)

    def as_fallback(self, *, is_timed_out: bool = False) -> ActiveModel:
        """Returns the same without a version, for a response from the fallback."""
        return replace(
            self, served=None, data_through=None, replaced=self.served, is_timed_out=is_timed_out
        )

    @property
    def version(self) -> str | None:
        """The name of the active version."""
        return self.served.version if self.served else None

    @property
    def seen_services(self) -> SeenServices | None:
        """What the version has learned from, also while the fallback answers in its place."""
        version = self.served or self.replaced
        return version.seen_services if version else None

    @property
    def learned_through(self) -> datetime | None:
        """The end of the training data of the predictor, aware."""
        fallback = None if self.served else self.fallback
        return fallback.data_through if fallback else self.data_through

    @property
    def trained_through(self) -> date | None:
        """The day, in UTC, on which the training data of the predictor end."""
        through = self.learned_through
        return through.astimezone(UTC).date() if through else None

    @property
    def is_degraded(self) -> bool:
        """Whether no version is active."""
        return self.served is None

    def age_days(self, at: datetime) -> float | None:
        """Days from the end of the predictor's training data to a moment (aware).

        0 before that end; None without a predictor.
        """
        through = self.learned_through
        return None if through is None else age_in_days(through, at)

    def is_older_than_allowed(self, at: datetime) -> bool:
        """Whether more days than the maximum have passed since the end of the training data."""
        return (self.age_days(at) or 0.0) > self.max_age_days

    def is_outdated(self, at: datetime) -> bool:
        """Whether the predictor is too old at a moment for its answers to be trusted."""
        return self.is_older_than_allowed(at) and not self.is_simulated

    def is_degraded_at(self, at: datetime) -> bool:
        """Whether answers as of a moment are degraded: there is no version, or it is outdated."""
        return self.is_degraded or self.is_outdated(at)

    def age_problem(self, at: datetime) -> str | None:
        """What is wrong with the predictor's age at a moment, and what to do; None if nothing."""
        if not self.is_older_than_allowed(at):
            return None
        age, through = int(self.age_days(at) or 0.0), self.trained_through
        if self.is_simulated:
            return (
                f"the model has learned from simulated parcels through {through}, {age} days"
                " before; it is for trials, so train one on your own data with `eta train DATA`"
            )
        return (
            f"the model has learned from data through {through}, {age} days before, more than"
            f" {self.max_age_days}; train on newer data with `eta train DATA`"
        )


def age_in_days(data_through: datetime, at: datetime) -> float:
    """Days from the end of training data to a moment, both aware; 0 before that end."""
    return max((at - data_through) / _DAY, 0.0)


@dataclass(frozen=True)
class VersionStatus:
    """A version in the registry; ``rejected`` says why it cannot become active."""

    version: str
    data_through: datetime | None = None
    examples: int | None = None
    rejected: str | None = None

    def age_days(self, at: datetime) -> float | None:
        """Days from the end of its training data to a moment (aware); None if it is unknown."""
        return None if self.data_through is None else age_in_days(self.data_through, at)


class _FallbackFile(NamedTuple):
    """The fallback's file when it was last read, its content, and why it could not be used."""

    signature: object = None
    fallback: LaneQuantiles | None = None
    problem: str | None = None


_NOT_READ = _FallbackFile()


@dataclass
class ActiveModelLoader:
    """Watches a registry and loads the version that should be active.

    ``current`` and ``versions`` are replaced, never changed, so a reader's copy stays consistent.
    """

    folder: Path
    #: Constructs the model of a version.
    load_model: Callable[[Version], ModelBundle]
    #: Called with each version and the end of its training data before it becomes active; if it
    #: raises, the version is rejected.
    warm_up: Callable[[ModelBundle, datetime], None]
    #: Tries each version in a process of its own before it is opened.
    trial: VersionTrial
    #: Called with the outcome of each load: ``loaded`` or ``rejected``.
    on_load: Callable[[str], None] = lambda _: None
    #: Days after the end of a version's training data from which its answers are degraded.
    max_age_days: int = DEFAULT_MAX_AGE_DAYS
    current: ActiveModel = ActiveModel(problems=("the registry has not been read yet",))
    versions: tuple[VersionStatus, ...] = ()
    _last_signature: object = None
    _retry_at: float = 0.0
    _rejected: dict[str, str] = field(default_factory=dict)
    #: The versions that were listed, by name: sound ones for ever, others until the next look.
    _listed: dict[str, VersionStatus] = field(default_factory=dict)
    _is_listing_complete: bool = False
    _fallback_file: _FallbackFile = _NOT_READ

    async def poll(self) -> None:
        """Refreshes for ever in a thread beside the event loop; failures are logged."""
        while True:
            await asyncio.to_thread(self.refresh_safely)
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Ends what a refresh in progress waits for."""
        self.trial.close()

    def refresh_safely(self) -> None:
        """Refreshes and logs any error: the active version must stay active."""
        try:
            self.refresh()
        except Exception:
            log.exception(
                "the registry could not be read", extra={"action": "model_refresh_failed"}
            )

    def refresh(self) -> None:
        """Reads the registry if it has changed, and replaces ``current`` if need be."""
        folder = self.folder
        signature = tuple(
            _stat(path) for path in (folder, folder / "promoted.json", folder / FALLBACK_FILE)
        )
        registry, started = Registry(folder), monotonic()
        is_changed = signature != self._last_signature
        if is_changed or (self._rejected and started > self._retry_at):
            self._forget_listed(is_changed=is_changed)
            self._reread(registry)
            # Looking at many broken versions must not take all the time there is.
            pause = max(RETRY_SECONDS, _RETRY_PAUSE * (monotonic() - started))
            self._last_signature, self._retry_at = signature, monotonic() + pause
        elif self._is_listing_complete:
            return
        self._list_versions(registry)

    def _reread(self, registry: Registry) -> None:
        """Replaces ``current``; no other version can delay the promoted one."""
        self._rejected.clear()
        self._fallback_file = self._read_fallback(registry)
        active = self._active_version(registry)
        problem = self._fallback_file.problem
        file_problems = [*([problem] if problem else []), *renamed_file_problems(self.folder)]
        # In one step: no request may see a version without its fallback.
        self.current = replace(
            active,
            fallback=self._fallback_file.fallback,
            max_age_days=self.max_age_days,
            problems=(*active.problems, *file_problems),
        )

    def _forget_listed(self, *, is_changed: bool) -> None:
        """Forgets rejected versions, and after a change of the registry all unsound ones."""
        self._listed = {
            name: status
            for name, status in self._listed.items()
            if name not in self._rejected and not (is_changed and status.rejected)
        }

    def _list_versions(self, registry: Registry) -> None:
        """Replaces ``versions``; of very many, some are looked at in the next polls."""
        deadline = monotonic() + LISTING_SECONDS
        try:
            names = registry.names()
        except OSError as error:
            log.warning("%s cannot be listed: %s", self.folder, error.strerror)
            names = []
        self._listed |= {
            name: VersionStatus(name, rejected=reason) for name, reason in self._rejected.items()
        }
        for name in names:
            if name not in self._listed and monotonic() < deadline:
                self._listed[name] = _status(registry, name)
        self.versions = tuple(self._listed.get(name, VersionStatus(name)) for name in names)
        self._is_listing_complete = all(name in self._listed for name in names)

    def _active_version(self, registry: Registry) -> ActiveModel:
        """The version to activate; if the promoted one cannot be read, the one before stays."""
        try:
            promoted = registry.promoted()
        except EtaError as error:
            current = self.current if self.current.served else self._select(registry, None)
            return replace(current, problems=(str(error),))
        return self._select(registry, promoted)

    def _read_fallback(self, registry: Registry) -> _FallbackFile:
        """The fallback, read if its file has changed; an unusable file leaves the one before."""
        signature = _stat(self.folder / FALLBACK_FILE)
        before = self._fallback_file
        if signature == before.signature:
            return before
        try:
            return _FallbackFile(signature, load_fallback(registry))
        except ModelCorrupted as error:
            log.warning("%s", error, extra={"action": "fallback_rejected"})
            return _FallbackFile(signature, before.fallback, str(error))

    def _select(self, registry: Registry, promoted: str | None) -> ActiveModel:
        """The promoted version, else the active one, else the newest that is sound."""
        if promoted:
            promoted_model = self._load(registry, promoted)
            if promoted_model:
                return replace(promoted_model, promoted=promoted)
            if self.current.served:
                problems = tuple(self._rejected.values())
                return replace(self.current, promoted=promoted, problems=problems)
        newest = self._newest(registry, promoted)
        problems = (*newest.problems, *self._rejected.values())
        if not problems and not newest.served:
            problems = ("there is no model version",)
        return replace(newest, promoted=promoted, problems=problems)

    def _newest(self, registry: Registry, promoted: str | None) -> ActiveModel:
        """The newest sound version but the promoted one, looked for no longer than is allowed."""
        deadline = monotonic() + SEARCH_SECONDS
        try:
            names = registry.names()
        except OSError as error:
            reason = f"{self.folder} cannot be listed: {error.strerror}; let the service read it"
            return ActiveModel(problems=(reason,))
        for name in names:
            if name != promoted and (loaded := self._load(registry, name)):
                return loaded
            if monotonic() > deadline:
                break
        return ActiveModel()

    def _load(self, registry: Registry, name: str) -> ActiveModel | None:
        """The version, checked and warmed up; None if it is rejected, with the reason noted."""
        if name == self.current.version and self.current.served:
            return replace(self.current, problems=())
        try:
            version = registry.load(name)
            self.trial.check(name)
            served = self.load_model(version)
            self.warm_up(served, version.data_through)
        except Exception as error:  # noqa: BLE001  # whatever fails, the old one stays active
            is_expected = isinstance(error, EtaError)
            reason = f"model version {name} cannot predict: {type(error).__name__}"
            self._rejected[name] = str(error) if is_expected else reason
            log.warning("%s", self._rejected[name], extra={"action": "model_rejected"})
            self.on_load("rejected")
            return None
        self.on_load("loaded")
        is_simulated = bool(version.manifest["data"].get("is_simulated"))
        return ActiveModel(served, version.data_through, is_simulated=is_simulated)


def _status(registry: Registry, name: str) -> VersionStatus:
    """The status of a version, every file of it checked."""
    try:
        manifest = registry.verify(name)
    except EtaError as error:
        return VersionStatus(name, rejected=str(error))
    return VersionStatus(name, data_through(manifest), manifest["data"].get("examples"))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
