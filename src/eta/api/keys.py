"""Who may ask: API keys, kept as digests and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from fastapi import Request

from eta.api.problems import Refused
from eta.settings import is_loopback

PROTECTED = "/v1"


@dataclass(frozen=True)
class Gate:
    """SHA-256 digests, in lower-case hex, of the keys that open ``/v1``; in demo mode none is needed, on loopback only."""

    digests: frozenset[str]
    is_demo: bool = False

    def opens_to(self, keys: list[bytes]) -> bool:
        """Whether any of ``keys`` is one of ours; the work depends on neither."""
        found = False
        for key in keys:
            presented = hashlib.sha256(key).hexdigest()
            for digest in self.digests:
                found |= hmac.compare_digest(presented, digest)
        return found


def authorise(request: Request) -> None:
    """Lets a request through, or not.

    Raises:
        Refused: 401 without a key of ours, 403 in demo mode from beyond this machine.
    """
    if not request.url.path.startswith(f"{PROTECTED}/"):
        return
    gate: Gate = request.app.state.gate
    if gate.is_demo:
        if not is_loopback((request.scope.get("server") or ("",))[0]):
            raise Refused(403, "demo mode answers on loopback only; set ETA_API_KEYS and serve without --demo")
        return
    if not gate.opens_to(_presented(request)):
        raise Refused(401, "no valid API key; send Authorization: Bearer KEY or X-API-Key: KEY", headers={"WWW-Authenticate": "Bearer"})


def _presented(request: Request) -> list[bytes]:
    keys = [request.headers.get("x-api-key", "")]
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        keys.append(credentials.strip())
    return [key.encode("latin-1") for key in keys if key]
