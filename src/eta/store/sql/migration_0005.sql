-- Since when the clock has run on without a break: old data are deleted only after a while of it.
ALTER TABLE clock ADD COLUMN uninterrupted_since BIGINT NOT NULL DEFAULT 0;
UPDATE clock SET uninterrupted_since = last_commit_time;
