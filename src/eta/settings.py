"""Settings, read once from the environment."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.domain.access import DEFAULT_TENANT, Principal, Scope
from eta.domain.errors import InvalidSetting
from eta.promise import DEFAULT_POLICY, PromisePolicy

#: Every name of ours that the environment may hold, with what it means.
SETTING_DESCRIPTIONS: Mapping[str, str] = {
    "ETA_MODELS": "folder of the model registry (default: models)",
    "ETA_DATA": "folder of real data sets; read by tests and examples, never by the program itself",
    "ETA_DATABASE_URL": "where shipments and scans are kept: sqlite:PATH (default: sqlite:eta.sqlite), postgresql://..., or memory:",
    "ETA_API_KEYS": "SHA-256 digests of the API's keys, comma-separated, each as DIGEST, DIGEST:TENANT or DIGEST:TENANT:SCOPE+SCOPE; see `eta key`",
    "ETA_RATE_LIMIT": "requests that one key may make, such as 1000/second (the default) or 50000/minute",
    "ETA_RETENTION_DAYS": "days after which shipments that nobody has heard of are erased (default: kept)",
    "ETA_CALENDAR": "TOML file with the days on which the shop's holidays differ from the public ones (default: none)",
    "ETA_PROMISE_POLICY": "TOML file that says which day to promise (default: the earliest with a chance of 90 %)",
    "ETA_DEMO": "1 serves the API without keys, on loopback only",
}

T = TypeVar("T")

DEFAULT_RATE = "1000/second"

_DIGEST = re.compile("[0-9a-f]{64}")
_TENANT = re.compile("[A-Za-z0-9_-]{1,64}")
_RATE = re.compile("([0-9]{1,9})/(second|minute|hour|day)")
#: What stands in examples until somebody puts a key of their own there.
_PLACEHOLDERS = frozenset(
    hashlib.sha256(key).hexdigest()
    for key in (b"", b"KEY", b"key", b"changeme", b"changethis", b"secret", b"test")
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment decides."""

    models: Path
    #: Who bears a key, by its SHA-256 digest in lower-case hex.
    api_keys: Mapping[str, Principal] = field(default_factory=dict)
    database_url: str = "memory:"
    rate_limit: str = DEFAULT_RATE
    #: Days after which shipments that nobody has heard of are erased.
    retention_days: int | None = None
    #: The public ones, and what the calendar file changes.
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS
    promise_policy: PromisePolicy = DEFAULT_POLICY
    #: The API needs no keys and answers on loopback only.
    is_demo: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Settings of an environment.

        Raises:
            InvalidSetting: for a name that starts with ``ETA_`` and is none of ours, so that no
                misspelling is silent; for a key that is no digest, or that of a placeholder; for a
                calendar file that cannot be read as one.
        """
        unknown = sorted(
            name for name in env if name.startswith("ETA_") and name not in SETTING_DESCRIPTIONS
        )
        if unknown:
            raise InvalidSetting(
                f"{unknown[0]} is no setting; there are {', '.join(SETTING_DESCRIPTIONS)}"
            )
        return cls(
            models=Path(env.get("ETA_MODELS") or "models"),
            api_keys=_keys(env.get("ETA_API_KEYS", "")),
            database_url=env.get("ETA_DATABASE_URL") or "sqlite:eta.sqlite",
            rate_limit=_rate(env.get("ETA_RATE_LIMIT") or DEFAULT_RATE),
            retention_days=_retention_days(env.get("ETA_RETENTION_DAYS") or None),
            holidays=read_setting("ETA_CALENDAR", calendar, HolidayCalendar.from_toml)
            if (calendar := env.get("ETA_CALENDAR"))
            else PUBLIC_HOLIDAYS,
            promise_policy=read_setting("ETA_PROMISE_POLICY", policy, PromisePolicy.from_toml)
            if (policy := env.get("ETA_PROMISE_POLICY"))
            else DEFAULT_POLICY,
            is_demo=_switch(env, "ETA_DEMO"),
        )

    def require_api_keys(self) -> None:
        """Refuses to serve an API that nobody could call, or that anybody could.

        Raises:
            InvalidSetting: if there are neither keys nor the demo.
        """
        if not (self.api_keys or self.is_demo):
            raise InvalidSetting(
                "ETA_API_KEYS holds no keys; set it, or serve the demo on loopback with ETA_DEMO=1 or --demo"
            )


def is_loopback(host: str) -> bool:
    """Whether an address, or the name ``localhost``, is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _keys(text: str) -> dict[str, Principal]:
    keys = {}
    for entry in (part.strip() for part in text.split(",") if part.strip()):
        digest, tenant, scopes = (*entry.split(":", 2), "", "")[:3]
        digest = digest.lower()
        # A key itself, put here by mistake, is not repeated.
        if not _DIGEST.fullmatch(digest):
            raise InvalidSetting(
                "ETA_API_KEYS holds something else than SHA-256 digests; write `printf %s KEY | sha256sum` for each key"
            )
        if digest in _PLACEHOLDERS:
            raise InvalidSetting(
                "ETA_API_KEYS holds the digest of a placeholder; choose a key of your own"
            )
        if digest in keys:
            raise InvalidSetting("ETA_API_KEYS holds a key twice; give each tenant keys of its own")
        if tenant and not _TENANT.fullmatch(tenant):
            raise InvalidSetting(
                f"ETA_API_KEYS names the tenant {tenant!r}; use up to 64 letters, digits, - and _"
            )
        keys[digest] = Principal(tenant or DEFAULT_TENANT, _scopes(scopes), digest[:12])
    return keys


def _scopes(text: str) -> frozenset[Scope]:
    names = [name for name in text.split("+") if name]
    unknown = [name for name in names if name not in set(Scope)]
    if unknown:
        raise InvalidSetting(
            f"ETA_API_KEYS names the scope {unknown[0]!r}; there are {', '.join(Scope)}"
        )
    return frozenset(map(Scope, names)) or frozenset(Scope)


def _rate(text: str) -> str:
    match = _RATE.fullmatch(text)
    if not match or int(match[1]) == 0:
        raise InvalidSetting(
            "ETA_RATE_LIMIT is no rate; write one such as 1000/second, /minute, /hour or /day"
        )
    return text


def _retention_days(text: str | None) -> int | None:
    if text is not None and not (text.isascii() and text.isdecimal() and 0 < int(text) <= 36_500):
        raise InvalidSetting("ETA_KEEP_DAYS is no number of days; write a whole number above 0")
    return None if text is None else int(text)


def read_setting(name: str, path: str, parse: Callable[[str], T]) -> T:
    """What the file that a setting or an option names says.

    Raises:
        InvalidSetting: if it cannot be read, or says what cannot be.
    """
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSetting(
            f"{name} names {path}: {error.strerror}; name a TOML file that can be read"
        ) from None
    except UnicodeDecodeError:
        raise InvalidSetting(f"{name} names {path}: it is no text; write it in UTF-8") from None
    except InvalidSetting as error:
        raise InvalidSetting(f"{name} names {path}: {error}") from None


def _switch(env: Mapping[str, str], name: str) -> bool:
    if env.get(name, "") not in ("", "0", "1"):
        raise InvalidSetting(f"{name} is neither 0 nor 1")
    return env.get(name) == "1"
