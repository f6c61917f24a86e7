-- Copies of whole tables; {table} is a name from migrations.TABLES.

-- name: has_rows
SELECT 1 FROM {table} LIMIT 1;

-- name: count_rows
SELECT count(*) FROM {table};

-- name: read_rows
SELECT * FROM {table};

-- name: write_row
INSERT INTO {table} VALUES ({marks});
