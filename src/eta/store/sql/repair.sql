-- Moves stamps that are later than now; {table} and {column} are names from stamps.STAMPS.

-- name: stamps_after
SELECT DISTINCT {column} FROM {table} WHERE {column} > ?;

-- name: count_after
SELECT count(*) FROM {table} WHERE {column} > ?;

-- name: last_until
SELECT max({column}) FROM {table} WHERE {column} <= ?;

-- name: create_moves
CREATE TEMPORARY TABLE moved_stamps (before BIGINT PRIMARY KEY, after BIGINT NOT NULL);

-- name: add_move
INSERT INTO moved_stamps (before, after) VALUES (?, ?);

-- name: move_stamps
UPDATE {table} SET {column} = (SELECT after FROM moved_stamps WHERE before = {table}.{column})
WHERE {column} > ?;

-- name: drop_moves
DROP TABLE moved_stamps;

-- name: forecasts
SELECT tenant, shipment_id, as_of, assessment FROM forecasts;

-- name: set_forecast
UPDATE forecasts SET assessment = ? WHERE tenant = ? AND shipment_id = ? AND as_of = ?;

-- name: quarantine
SELECT tenant, event_id, content FROM quarantine WHERE received_at > ?;

-- name: set_quarantine
UPDATE quarantine SET content = ? WHERE tenant = ? AND event_id = ?;

-- name: set_clock
UPDATE clock SET last_commit_time = ?, uninterrupted_since = ?;
