-- One row a writing process: the token of its last committed transaction.
CREATE TABLE transaction_tokens (writer_id TEXT PRIMARY KEY, token BIGINT NOT NULL, commit_time BIGINT NOT NULL) {clustered};
