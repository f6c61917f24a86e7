-- The one row of the commit clock.

-- name: read_clock
SELECT last_commit_time, last_sequence, secret, uninterrupted_since FROM clock;

-- name: last_commit_time
SELECT last_commit_time FROM clock;

-- Each transaction that writes updates the row first, so writers run one after the other and
-- commit times only grow.
-- name: advance_clock
UPDATE clock SET last_commit_time =
    CASE WHEN last_commit_time < ? THEN ? ELSE last_commit_time + 1 END
WHERE id = 1 RETURNING last_commit_time, last_sequence, uninterrupted_since;

-- PostgreSQL: the same by the database's own clock, read once it is this transaction's turn. Readers
-- see by the lock whether a transaction may still be recorded.
-- name: advance_database_clock
WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(3824))
UPDATE clock SET last_commit_time = greatest(
    last_commit_time + 1, ?, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
FROM turn WHERE id = 1 RETURNING last_commit_time, last_sequence, uninterrupted_since,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- The last commit, the time when the statement began, and whether a transaction has its turn.
-- name: read_database_clock
SELECT last_commit_time, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint,
    NOT CASE WHEN pg_try_advisory_lock_shared(3824)
        THEN pg_advisory_unlock_shared(3824) ELSE false END
FROM clock;

-- name: set_uninterrupted_since
UPDATE clock SET uninterrupted_since = ?;

-- name: set_last_sequence
UPDATE clock SET last_sequence = ? WHERE id = 1;

-- name: set_clock
UPDATE clock SET last_commit_time = ?, last_sequence = ?, secret = ?, uninterrupted_since = ?;
