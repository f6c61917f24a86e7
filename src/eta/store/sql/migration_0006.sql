-- Events get the ids of their whole content, and corrections: scans with another event code that count from their receipt on.
CREATE TABLE events_with_new_ids (
    tenant TEXT NOT NULL, event_owner TEXT NOT NULL, event_id TEXT NOT NULL, event_code TEXT NOT NULL, raw_code TEXT, place TEXT,
    occurred_at BIGINT NOT NULL, offset_minutes INTEGER NOT NULL, timezone_source TEXT NOT NULL, is_ambiguous INTEGER NOT NULL,
    is_received_at_assumed INTEGER NOT NULL, received_at BIGINT NOT NULL, correction_number INTEGER NOT NULL, PRIMARY KEY (tenant, event_owner, event_id)) {clustered};
PYTHON copy_events;
DROP TABLE events;
ALTER TABLE events_with_new_ids RENAME TO events;
CREATE INDEX events_event_id ON events (tenant, event_id);
CREATE TABLE quarantine_with_new_ids (
    tenant TEXT NOT NULL, event_id TEXT NOT NULL, event_owner TEXT NOT NULL, reason TEXT NOT NULL, content TEXT NOT NULL, received_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, event_id)) {clustered};
PYTHON copy_quarantine;
DROP TABLE quarantine;
ALTER TABLE quarantine_with_new_ids RENAME TO quarantine;
