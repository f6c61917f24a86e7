-- Copies of whole tables; {table} is a name from migrations.TABLES.

-- name: has_rows
SELECT 1 FROM {table} LIMIT 1;

-- name: count_rows
SELECT count(*) FROM {table};

-- name: read_rows
SELECT * FROM {table};

-- name: write_row
INSERT INTO {table} VALUES ({marks});

-- Whether a SQLite file has the tables of a store.
-- name: is_store_file
SELECT 1 FROM sqlite_master WHERE name = 'clock';
