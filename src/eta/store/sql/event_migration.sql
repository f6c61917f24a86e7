-- Copies of the events and of the quarantine, by the migration that gives them new ids.

-- Of two events that become one, the one that was received first stays.
-- name: read_events
SELECT tenant, event_owner, event_id, event_code, raw_code, place, occurred_at, offset_minutes,
    timezone_source, is_ambiguous, is_received_at_assumed, received_at
FROM events ORDER BY tenant, event_owner, received_at, event_id;

-- name: write_event
INSERT INTO events_with_new_ids
    (tenant, event_owner, event_id, event_code, raw_code, place, occurred_at, offset_minutes,
    timezone_source, is_ambiguous, is_received_at_assumed, received_at, correction_number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: read_quarantine
SELECT tenant, event_id, event_owner, reason, content, received_at
FROM quarantine ORDER BY tenant, received_at, event_id;

-- name: write_quarantined
INSERT INTO quarantine_with_new_ids
    (tenant, event_id, event_owner, reason, content, received_at)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;
