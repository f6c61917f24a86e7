-- The table of applied migrations.

-- name: create_table
CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY);

-- name: last_applied
SELECT coalesce(max(number), 0) FROM migrations;

-- name: add
INSERT INTO migrations VALUES (?);
