"""The Python client of the HTTP API; it imports nothing else of this package."""

from eta.client.calls import ProblemError, Unreachable
from eta.client.client import Client

__all__ = ["Client", "ProblemError", "Unreachable"]
