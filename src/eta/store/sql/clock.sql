-- The one row of the commit clock.

-- name: read_clock
SELECT last_commit_time, last_sequence, secret FROM clock;

-- name: last_commit_time
SELECT last_commit_time FROM clock;

-- Each transaction that writes updates the row first, so writers run one after the other and
-- commit times only grow.
-- name: advance_clock
UPDATE clock SET last_commit_time =
    CASE WHEN last_commit_time < ? THEN ? ELSE last_commit_time + 1 END
WHERE id = 1 RETURNING last_commit_time, last_sequence;

-- name: set_last_sequence
UPDATE clock SET last_sequence = ? WHERE id = 1;

-- name: set_clock
UPDATE clock SET last_commit_time = ?, last_sequence = ?, secret = ?;
