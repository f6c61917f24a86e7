"""Authentication by API key. Keys are stored as digests and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import logging
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request

from eta.api.problem_details import ProblemError
from eta.domain.access import Principal, Scope
from eta.domain.errors import InvalidSetting
from eta.settings import check_shared_model, is_loopback, read_api_keys

PROTECTED_PREFIX = "/v1"
log = logging.getLogger(__name__)


class ApiKeyAuth:
    """The principals by the SHA-256 digest of their key in lower-case hex.

    In demo mode no key is needed, but the service accepts requests on loopback only.
    """

    def __init__(self, principals: Mapping[str, Principal], is_demo: bool = False) -> None:
        self.is_demo = is_demo
        self.replace(principals)

    def replace(self, principals: Mapping[str, Principal]) -> None:
        """Replaces all keys; requests that were let in go on."""
        #: The number of keys of each tenant.
        self.key_counts = Counter(principal.tenant for principal in principals.values())
        self.principals = principals

    def principal(self, keys: list[bytes]) -> Principal | None:
        """The principal of one of ``keys``; the time taken depends neither on keys nor digests."""
        match = None
        for key in keys:
            presented = hashlib.sha256(key).hexdigest()
            for digest, principal in self.principals.items():
                if hmac.compare_digest(presented, digest):
                    match = principal
        return match


def on_hang_up(auth: ApiKeyAuth, keys_file: Path | None, *, is_model_shared: bool = False) -> None:
    """Reads the keys file again on SIGHUP; without one, drains and ends the process like SIGTERM.

    A file that cannot be read, or holds a wrong entry or keys of several tenants that do not share
    a model, changes nothing.
    """
    if keys_file is None:
        signal.raise_signal(signal.SIGTERM)
        return
    try:
        principals = read_api_keys(keys_file)
        check_shared_model(principals, is_model_shared=is_model_shared)
    except InvalidSetting as error:
        extra = {"action": "keys_rejected"}
        log.error("the keys stay as they were: %s", error, extra=extra)
        return
    auth.replace(principals)
    log.info("keys were read again", extra={"action": "keys_read", "keys": len(principals)})


def authenticate(request: Request, auth: ApiKeyAuth, scope: Scope | None) -> Principal:
    """The caller, if it may use the route.

    Raises:
        ProblemError: 401 without a valid key; 403 for a key without the scope, or in demo mode
            for a request that did not arrive on loopback.
    """
    # The path of the URL would depend on the Host header, which the caller chooses.
    is_protected = request.scope["path"].startswith(f"{PROTECTED_PREFIX}/")
    if scope is None and not is_protected:
        return Principal(scopes=frozenset())
    if auth.is_demo:
        server = request.scope.get("server") or ("",)
        if not is_loopback(server[0]):
            raise ProblemError(
                403, "demo mode accepts loopback only; set ETA_API_KEYS and serve without --demo"
            )
        return Principal()
    keys = [request.headers.get("x-api-key", "")]
    authorization = request.headers.get("authorization", "")
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        keys.append(credentials.strip())
    presented_keys = [key.encode("latin-1") for key in keys if key]
    principal = auth.principal(presented_keys)
    if principal is None:
        raise ProblemError(
            401,
            "missing or invalid API key; send Authorization: Bearer KEY or X-API-Key: KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if scope and scope not in principal.scopes:
        raise ProblemError(403, f"the API key lacks the scope {scope}; use a key that has it")
    return principal
