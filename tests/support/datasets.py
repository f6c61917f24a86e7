"""What tests of readers share."""

from datetime import UTC, datetime

#: When the files of tests are read.
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
