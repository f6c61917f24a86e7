"""What the service remembers: one store over SQLite, in a file or in memory, and PostgreSQL."""
