"""Who may ask: API keys, kept as digests and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from eta.api.problem_details import ProblemError
from eta.domain.access import Principal, Scope
from eta.settings import is_loopback

PROTECTED_PREFIX = "/v1"


@dataclass(frozen=True)
class ApiKeyAuth:
    """Who bears which key, by its SHA-256 digest in lower-case hex; in demo mode no key is needed, on loopback only."""

    principals: Mapping[str, Principal]
    is_demo: bool = False

    def principal(self, keys: list[bytes]) -> Principal | None:
        """Whoever bears one of ``keys``; the work depends on neither."""
        match = None
        for key in keys:
            presented = hashlib.sha256(key).hexdigest()
            for digest, principal in self.principals.items():
                if hmac.compare_digest(presented, digest):
                    match = principal
        return match


def authenticate(request: Request, scope: Scope | None) -> Principal:
    """Whoever asks, if they may.

    Raises:
        Refused: 401 without a key of ours, 403 for a key without the scope, or in demo mode from
            beyond this machine.
    """
    # Not the URL's path: that is put together with what the caller says the host is.
    if scope is None and not request.scope["path"].startswith(f"{PROTECTED_PREFIX}/"):
        return Principal(scopes=frozenset())
    auth: ApiKeyAuth = request.app.state.auth
    if auth.is_demo:
        if not is_loopback((request.scope.get("server") or ("",))[0]):
            raise ProblemError(
                403, "demo mode answers on loopback only; set ETA_API_KEYS and serve without --demo"
            )
        return Principal()
    principal = auth.principal(_presented_keys(request))
    if principal is None:
        raise ProblemError(
            401,
            "no valid API key; send Authorization: Bearer KEY or X-API-Key: KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if scope and scope not in principal.scopes:
        raise ProblemError(403, f"the key lacks the scope {scope}; use one that has it")
    return principal


def _presented_keys(request: Request) -> list[bytes]:
    keys = [request.headers.get("x-api-key", "")]
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        keys.append(credentials.strip())
    return [key.encode("latin-1") for key in keys if key]
