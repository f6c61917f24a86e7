"""Logging of the service: one JSON object a line on standard error.

Lines hold no secrets and no personal data.
"""

from __future__ import annotations

from datetime import UTC, datetime
from logging import LogRecord
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter


class UtcJsonFormatter(JsonFormatter):
    """Formats times as UTC."""

    def formatTime(self, record: LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # logging's name
        """The time of the record, in ISO 8601 with milliseconds."""
        del datefmt
        created_at = datetime.fromtimestamp(record.created, UTC)
        return created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": UtcJsonFormatter,
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
            # A field that uvicorn adds for terminals.
            "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
            "rename_fields": {"asctime": "at", "levelname": "level", "name": "logger"},
        }
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"level": "INFO", "handlers": ["stderr"]},
}
