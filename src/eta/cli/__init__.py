"""The shell's door."""

from eta.cli.commands import app, main

__all__ = ["app", "main"]
