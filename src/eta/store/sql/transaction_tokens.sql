-- The token of the last committed transaction of each writer.

-- name: put
INSERT INTO transaction_tokens (writer_id, token, commit_time) VALUES (?, ?, ?)
ON CONFLICT (writer_id) DO UPDATE SET
    token = excluded.token, commit_time = excluded.commit_time;

-- name: last
SELECT token FROM transaction_tokens WHERE writer_id = ?;

-- name: purge
DELETE FROM transaction_tokens WHERE commit_time < ?;
