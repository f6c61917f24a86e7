"""Who asks, and what they may."""

from dataclasses import dataclass
from enum import StrEnum

#: Whose data there is where nobody says otherwise.
DEFAULT_TENANT = "default"


class Scope(StrEnum):
    """What a key opens."""

    #: Estimates and scores, of which nothing is kept but the estimates shown.
    ESTIMATE = "estimate"
    #: Recorded shipments, and the model versions.
    READ = "read"
    #: Registering shipments and telling scans of them.
    INGEST = "ingest"
    #: Subscriptions to what changes.
    NOTIFY = "notify"
    #: Erasing, and looking at what was put aside.
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """Whoever bears a key: one tenant's, with some of the scopes."""

    tenant: str = DEFAULT_TENANT
    scopes: frozenset[Scope] = frozenset(Scope)
    #: Names the key in logs and limits: the first characters of its digest.
    name: str = "demo"
