"""The settings that the environment holds."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.configuration import RENAMED_SETTINGS, read_file, read_promise_policy
from eta.domain.access import DEFAULT_TENANT, TENANT_PATTERN, Principal, Scope
from eta.domain.errors import FileRejected, InvalidSetting
from eta.files import read_regular
from eta.model.hot_swap import DEFAULT_MAX_AGE_DAYS
from eta.promise import DEFAULT_POLICY, PromisePolicy

DEFAULT_MAX_IDLE_DAYS = 14

#: Every name of ours that the environment may hold, with its meaning.
SETTING_DESCRIPTIONS: Mapping[str, str] = {
    "ETA_HOME": (
        "folder of the model registry, the database and the quarantine file"
        " (default: the user's data folder)"
    ),
    "ETA_MODELS": "folder of the model registry (default: models in ETA_HOME)",
    "ETA_DATA": "folder of real data sets; only tests and examples read it",
    "ETA_DATABASE_URL": (
        "where shipments and events are stored: sqlite:PATH (default: eta.sqlite in ETA_HOME),"
        " postgresql://..., or memory:"
    ),
    "ETA_API_KEYS": (
        "entries of the API's keys, comma-separated, each as DIGEST:TENANT:SCOPE+SCOPE with the"
        " SHA-256 digest of the key; `eta key` makes one"
    ),
    "ETA_API_KEYS_FILE": (
        "file with such entries, one a line, in place of ETA_API_KEYS;"
        " `eta serve` reads it again on SIGHUP"
    ),
    "ETA_RATE_LIMIT": "limit of one key, such as 1000/second (the default) or 50000/minute",
    "ETA_RETENTION_DAYS": "days after which inactive shipments are erased (default: never)",
    "ETA_MAX_MODEL_AGE_DAYS": (
        "days after the end of a version's training data from which its answers are degraded"
        f" (default: {DEFAULT_MAX_AGE_DAYS})"
    ),
    "ETA_MAX_IDLE_DAYS": (
        "days since the last write after which a start writes only with --accept-clock"
        f" (default: {DEFAULT_MAX_IDLE_DAYS})"
    ),
    "ETA_CALENDAR": (
        "TOML file with the days on which holidays of places, carriers or the shop differ"
        " (default: none)"
    ),
    "ETA_PROMISE_POLICY": (
        "TOML file of the promise policy (default: the earliest day with a probability of 90 %)"
    ),
    "ETA_SHARED_MODEL": (
        "1 serves several tenants with one registry of models, which learns from what each of them"
        " records and answers all alike"
    ),
    "ETA_DEMO": "1 serves the API without keys, on loopback only",
}

#: The field of ``Settings`` that each name sets.
_FIELDS: Mapping[str, str] = {
    "ETA_HOME": "home",
    "ETA_MODELS": "models",
    "ETA_DATABASE_URL": "database_url",
    "ETA_API_KEYS": "api_keys",
    "ETA_API_KEYS_FILE": "api_keys_file",
    "ETA_RATE_LIMIT": "rate_limit",
    "ETA_RETENTION_DAYS": "retention_days",
    "ETA_MAX_MODEL_AGE_DAYS": "max_model_age_days",
    "ETA_MAX_IDLE_DAYS": "max_idle_days",
    "ETA_CALENDAR": "holidays",
    "ETA_PROMISE_POLICY": "promise_policy",
    "ETA_SHARED_MODEL": "is_model_shared",
    "ETA_DEMO": "is_demo",
}
DEFAULT_RATE = "1000/second"

_DIGEST = re.compile("[0-9a-f]{64}")
_RATE = re.compile("([0-9]{1,9})/(second|minute|hour|day)")
_MAX_DAYS = 36_500

#: Most tenants that an error names.
_MAX_TENANTS = 10
_MAX_KEYS_FILE_BYTES = 1 << 20

#: Digests of keys that examples show.
_PLACEHOLDERS = frozenset(
    hashlib.sha256(key).hexdigest()
    for key in (b"", b"KEY", b"key", b"changeme", b"changethis", b"secret", b"test")
)


def _from_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Parses the texts of an environment; other values are left as they are."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _api_keys(text: str) -> dict[str, Principal]:
    return _principals("ETA_API_KEYS", text.split(","))


def read_api_keys(path: Path) -> dict[str, Principal]:
    """The principals of a file of entries, by the digest of their key.

    There is an entry a line; blank lines, and lines that start with ``#``, are passed over.

    Raises:
        InvalidSetting: if the file cannot be read, or holds a wrong entry or none.
    """
    name = "ETA_API_KEYS_FILE"
    try:
        text = read_regular(path, max_bytes=_MAX_KEYS_FILE_BYTES).decode()
    except FileRejected as error:
        hint = "name a file of entries, one a line"
        raise InvalidSetting(f"{name} names {path}: {error.problem}; {hint}") from None
    except UnicodeDecodeError:
        raise InvalidSetting(f"{name} names {path}: it is not text; use UTF-8") from None
    lines = [line.strip() for line in text.splitlines()]
    principals = _principals(name, [line for line in lines if not line.startswith("#")])
    if not principals:
        raise InvalidSetting(f"{name} names {path}: it holds no keys; add an entry of `eta key`")
    return principals


def _principals(setting: str, entries: Iterable[str]) -> dict[str, Principal]:
    """The principals of entries; no message repeats an entry, which may be a key by mistake."""
    principals: dict[str, Principal] = {}
    for entry in filter(None, map(str.strip, entries)):
        digest, tenant, scopes = (*entry.split(":", 2), "", "")[:3]
        digest = digest.lower()
        _check_digest(setting, digest)
        if digest in principals:
            raise InvalidSetting(f"{setting} holds a key twice; give each tenant other keys")
        if tenant and not re.fullmatch(TENANT_PATTERN, tenant):
            raise InvalidSetting(
                f"{setting} names the tenant {tenant!r}; use up to 64 letters, digits, - and _"
            )
        allowed = _scopes(setting, scopes)
        principals[digest] = Principal(tenant or DEFAULT_TENANT, allowed, digest[:12])
    return principals


def _check_digest(setting: str, digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise InvalidSetting(
            f"{setting} holds an entry without a SHA-256 digest;"
            " write `printf %s KEY | sha256sum` for each key"
        )
    if digest in _PLACEHOLDERS:
        raise InvalidSetting(f"{setting} holds the digest of a placeholder; choose another key")


def _scopes(setting: str, text: str) -> frozenset[Scope]:
    """The scopes of an entry; none is given without being named."""
    names = [name for name in text.split("+") if name]
    for name in names:
        if name not in set(Scope):
            raise InvalidSetting(
                f"{setting} names the scope {name!r}; use one of {', '.join(Scope)}"
            )
    if not names:
        raise InvalidSetting(
            f"{setting} holds an entry without scopes; write DIGEST:TENANT:SCOPE+SCOPE as"
            f" `eta key` does, with one or more of {', '.join(Scope)}"
        )
    return frozenset(map(Scope, names))


def _check_rate(text: str) -> str:
    match = _RATE.fullmatch(text)
    if not match or int(match[1]) == 0:
        raise InvalidSetting(
            "ETA_RATE_LIMIT is not a rate; write one such as 1000/second, /minute, /hour or /day"
        )
    return text


def _days(name: str, text: str) -> int:
    is_number = text.isascii() and text.isdecimal()
    if not is_number or not 0 < int(text) <= _MAX_DAYS:
        raise InvalidSetting(
            f"{name} is not a number of days; write a whole number from 1 to {_MAX_DAYS}"
        )
    return int(text)


def _is_on(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise InvalidSetting(f"{name} must be 0 or 1")
    return text == "1"


def check_shared_model(principals: Mapping[str, Principal], *, is_model_shared: bool) -> None:
    """Refuses keys of several tenants unless they are to share one registry of models.

    Raises:
        InvalidSetting: if they are not.
    """
    tenants = sorted({principal.tenant for principal in principals.values()})
    if len(tenants) > 1 and not is_model_shared:
        raise InvalidSetting(
            f"the keys are of {len(tenants)} tenants, {', '.join(tenants[:_MAX_TENANTS])}, and one"
            " model answers all of them, which may have learned from each;"
            " set ETA_SHARED_MODEL=1 if that is intended, or serve each tenant by a process with"
            " an ETA_HOME of its own"
        )


def _check_names(env: Mapping[str, str]) -> None:
    for name in sorted(name for name in env if name.startswith("ETA_")):
        if name in RENAMED_SETTINGS:
            raise InvalidSetting(f"{name} is now {RENAMED_SETTINGS[name]}; rename it")
        if name not in SETTING_DESCRIPTIONS:
            raise InvalidSetting(
                f"{name} is unknown; check the spelling or remove it;"
                f" allowed are {', '.join(SETTING_DESCRIPTIONS)}"
            )


class Settings(BaseModel):
    """Settings of the service and of the commands."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    #: Folder of all files that no other setting names.
    home: Annotated[Path, _from_text(Path)] = Path()
    #: Folder of the model registry.
    models: Annotated[Path, _from_text(Path)]
    #: The principal of each API key, by the key's SHA-256 digest in lower-case hex.
    api_keys: Annotated[Mapping[str, Principal], _from_text(_api_keys)] = Field(
        default_factory=dict
    )
    #: The file from which the keys were read, if any.
    api_keys_file: Annotated[Path | None, _from_text(Path)] = None
    #: Not shown, because it may hold a password.
    database_url: str = Field(default="memory:", repr=False)
    rate_limit: Annotated[str, AfterValidator(_check_rate)] = DEFAULT_RATE
    #: Days after which inactive shipments are erased; None for never.
    retention_days: Annotated[int | None, _from_text(partial(_days, "ETA_RETENTION_DAYS"))] = None
    #: Days after the end of a version's training data from which its answers are degraded.
    max_model_age_days: Annotated[int, _from_text(partial(_days, "ETA_MAX_MODEL_AGE_DAYS"))] = (
        DEFAULT_MAX_AGE_DAYS
    )
    #: Days since the last write after which a start writes only once the clock is accepted.
    max_idle_days: Annotated[int, _from_text(partial(_days, "ETA_MAX_IDLE_DAYS"))] = (
        DEFAULT_MAX_IDLE_DAYS
    )
    #: Public holidays, with the changes of the calendar file.
    holidays: Annotated[
        HolidayCalendar,
        _from_text(partial(read_file, "ETA_CALENDAR", parse=HolidayCalendar.from_toml)),
    ] = PUBLIC_HOLIDAYS
    promise_policy: Annotated[
        PromisePolicy, _from_text(partial(read_promise_policy, "ETA_PROMISE_POLICY"))
    ] = DEFAULT_POLICY
    #: The API needs no keys and listens on loopback only.
    is_demo: Annotated[bool, _from_text(partial(_is_on, "ETA_DEMO"))] = False
    #: Several tenants may be answered by one model.
    is_model_shared: Annotated[bool, _from_text(partial(_is_on, "ETA_SHARED_MODEL"))] = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """The settings of an environment; a name with an empty text counts as absent.

        Raises:
            InvalidSetting: for an unknown name that starts with ``ETA_``, which is usually a
                misspelling; for a value that is not allowed; for a file that cannot be read.
        """
        _check_names(env)
        home = Path(env.get("ETA_HOME", ""))
        values: dict[str, Any] = {"models": home / "models"}
        values["database_url"] = f"sqlite:{home / 'eta.sqlite'}"
        for name, field in _FIELDS.items():
            if text := env.get(name):
                values[field] = text
        if path := values.get("api_keys_file"):
            if "api_keys" in values:
                raise InvalidSetting(
                    "ETA_API_KEYS and ETA_API_KEYS_FILE are both set; set one of them"
                )
            values["api_keys"] = read_api_keys(Path(path))
        return cls.model_validate(values)

    @property
    def quarantine(self) -> Path:
        """The file for rejected rows, unless a command names one."""
        return self.home / "quarantine.csv"

    @property
    def store_location(self) -> str:
        """Where the store is, for a message; names no user and no password."""
        if self.database_url.startswith(("sqlite:", "memory:")):
            return self.database_url.removeprefix("sqlite:")
        kind = "PostgreSQL database" if self.database_url.startswith("postgres") else "database"
        return f"the {kind} of ETA_DATABASE_URL"

    def require_shared_model(self) -> None:
        """Refuses to serve several tenants unless they are to share one registry of models.

        Raises:
            InvalidSetting: if there are keys of several tenants and the setting is absent.
        """
        check_shared_model(self.api_keys, is_model_shared=self.is_model_shared)

    def require_api_keys(self) -> None:
        """Refuses to serve an API that nobody could call, or that anybody could.

        Raises:
            InvalidSetting: if there are neither keys nor the demo.
        """
        if not (self.api_keys or self.is_demo):
            raise InvalidSetting(
                "ETA_API_KEYS holds no keys;"
                " set it or ETA_API_KEYS_FILE,"
                " or serve the demo on loopback with ETA_DEMO=1 or --demo"
            )


def is_loopback(host: str) -> bool:
    """Whether an address, or the name ``localhost``, is that of this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
