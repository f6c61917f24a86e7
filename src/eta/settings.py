"""Settings, read once from the environment."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eta.domain.errors import InvalidSetting

#: Every name of ours that the environment may hold, with what it means.
NAMES: Mapping[str, str] = {
    "ETA_MODELS": "folder of the model registry (default: models)",
    "ETA_DATA": "folder of real data sets; read by tests and examples, never by the program itself",
    "ETA_API_KEYS": "SHA-256 digests of the API's keys, in hex, comma-separated: `printf %s KEY | sha256sum`",
    "ETA_DEMO": "1 serves the API without keys, on loopback only",
}

_DIGEST = re.compile("[0-9a-f]{64}")
#: What stands in examples until somebody puts a key of their own there.
_PLACEHOLDERS = frozenset(hashlib.sha256(key).hexdigest() for key in (b"", b"KEY", b"key", b"changeme", b"changethis", b"secret", b"test"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment decides."""

    models: Path
    #: SHA-256 digests, in lower-case hex, of the keys that open the API.
    api_keys: frozenset[str] = frozenset()
    #: The API needs no keys and answers on loopback only.
    is_demo: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Settings of an environment.

        Raises:
            InvalidSetting: for a name that starts with ``ETA_`` and is none of ours, so that no misspelling is silent; for
                a key that is no digest, or that of a placeholder.
        """
        unknown = sorted(name for name in env if name.startswith("ETA_") and name not in NAMES)
        if unknown:
            raise InvalidSetting(f"{unknown[0]} is no setting; there are {', '.join(NAMES)}")
        return cls(models=Path(env.get("ETA_MODELS") or "models"), api_keys=_digests(env.get("ETA_API_KEYS", "")), is_demo=_switch(env, "ETA_DEMO"))

    def require_callers(self) -> None:
        """Refuses to serve an API that nobody could call, or that anybody could.

        Raises:
            InvalidSetting: if there are neither keys nor the demo.
        """
        if not (self.api_keys or self.is_demo):
            raise InvalidSetting("ETA_API_KEYS holds no keys; set it, or serve the demo on loopback with ETA_DEMO=1 or --demo")


def is_loopback(host: str) -> bool:
    """Whether an address, or the name ``localhost``, is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digests(text: str) -> frozenset[str]:
    digests = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    for digest in digests:
        # A key itself, put here by mistake, is not repeated.
        if not _DIGEST.fullmatch(digest):
            raise InvalidSetting("ETA_API_KEYS holds something else than SHA-256 digests; write `printf %s KEY | sha256sum` for each key")
        if digest in _PLACEHOLDERS:
            raise InvalidSetting("ETA_API_KEYS holds the digest of a placeholder; choose a key of your own")
    return digests


def _switch(env: Mapping[str, str], name: str) -> bool:
    if env.get(name, "") not in ("", "0", "1"):
        raise InvalidSetting(f"{name} is neither 0 nor 1")
    return env.get(name) == "1"
