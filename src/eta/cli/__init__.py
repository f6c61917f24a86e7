"""The command line ``eta``."""

from eta.cli.program import app, main

__all__ = ["app", "main"]
