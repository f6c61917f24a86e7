"""Who may ask: API keys, kept as digests and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from eta.api.problem_details import Refused
from eta.domain.access import Caller, Scope
from eta.settings import is_loopback

PROTECTED = "/v1"


@dataclass(frozen=True)
class Gate:
    """Who bears which key, by its SHA-256 digest in lower-case hex; in demo mode no key is needed, on loopback only."""

    callers: Mapping[str, Caller]
    is_demo: bool = False

    def caller(self, keys: list[bytes]) -> Caller | None:
        """Whoever bears one of ``keys``; the work depends on neither."""
        found = None
        for key in keys:
            presented = hashlib.sha256(key).hexdigest()
            for digest, caller in self.callers.items():
                if hmac.compare_digest(presented, digest):
                    found = caller
        return found


def authorise(request: Request, scope: Scope | None) -> Caller:
    """Whoever asks, if they may.

    Raises:
        Refused: 401 without a key of ours, 403 for a key without the scope, or in demo mode from
            beyond this machine.
    """
    # Not the URL's path: that is put together with what the caller says the host is.
    if scope is None and not request.scope["path"].startswith(f"{PROTECTED}/"):
        return Caller(scopes=frozenset())
    gate: Gate = request.app.state.gate
    if gate.is_demo:
        if not is_loopback((request.scope.get("server") or ("",))[0]):
            raise Refused(
                403, "demo mode answers on loopback only; set ETA_API_KEYS and serve without --demo"
            )
        return Caller()
    caller = gate.caller(_presented(request))
    if caller is None:
        raise Refused(
            401,
            "no valid API key; send Authorization: Bearer KEY or X-API-Key: KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if scope and scope not in caller.scopes:
        raise Refused(403, f"the key lacks the scope {scope}; use one that has it")
    return caller


def _presented(request: Request) -> list[bytes]:
    keys = [request.headers.get("x-api-key", "")]
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        keys.append(credentials.strip())
    return [key.encode("latin-1") for key in keys if key]
