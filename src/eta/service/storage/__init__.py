"""Import, export, backup, retention and idempotency."""
