"""How the service logs: every line is a JSON object on standard error; nothing in it is a secret or tells of a person."""

from __future__ import annotations

from datetime import UTC, datetime
from logging import LogRecord
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter


class UtcJsonFormatter(JsonFormatter):
    """Times with their offset from UTC, which is none."""

    def formatTime(self, record: LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # logging's name
        """When it was logged."""
        del datefmt
        return (
            datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": UtcJsonFormatter,
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
            # uvicorn's own, for terminals.
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
