"""A client of the HTTP interface, for shops; it imports nothing else of ours, so that it starts at once."""

from eta.client.calls import ProblemError, Unreachable
from eta.client.client import Client

__all__ = ["Client", "ProblemError", "Unreachable"]
