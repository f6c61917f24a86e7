"""API keys: tenants and scopes."""

from dataclasses import dataclass
from enum import StrEnum

#: The tenant of data without a named one.
DEFAULT_TENANT = "default"
#: A regular expression of the names of tenants.
TENANT_PATTERN = "[A-Za-z0-9_-]{1,64}"


class Scope(StrEnum):
    """What a key permits."""

    #: Estimates and scores; only estimates that are shown to customers are stored.
    ESTIMATE = "estimate"
    #: Recorded shipments, and the model versions.
    READ = "read"
    #: Registering shipments and recording their scans.
    INGEST = "ingest"
    #: Subscriptions to what changes.
    NOTIFY = "notify"
    #: Deleting, and reading what was put in quarantine.
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """The holder of a key: one tenant, with some of the scopes."""

    tenant: str = DEFAULT_TENANT
    scopes: frozenset[Scope] = frozenset(Scope)
    #: Identifies the key in logs and limits: the first characters of its digest.
    name: str = "demo"
