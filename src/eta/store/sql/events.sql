-- Events, quarantined events, and the outbox.

-- name: events
SELECT event_owner, event_id, event_code, raw_code, place, occurred_at, offset_minutes,
    timezone_source, is_ambiguous, is_received_at_assumed, received_at, correction_number
FROM events WHERE tenant = ? AND event_owner IN ??;

-- name: events_by_id
SELECT event_owner, event_id, event_code, raw_code, place, occurred_at, offset_minutes,
    timezone_source, is_ambiguous, is_received_at_assumed, received_at, correction_number
FROM events WHERE tenant = ? AND event_id IN ??;

-- name: all_events
SELECT event_owner, event_id, event_code, raw_code, place, occurred_at, offset_minutes,
    timezone_source, is_ambiguous, is_received_at_assumed, received_at, correction_number
FROM events WHERE tenant = ?;

-- name: count_events
SELECT count(*) FROM events WHERE tenant = ?;

-- name: add_event
INSERT INTO events
    (tenant, event_owner, event_id, event_code, raw_code, place, occurred_at, offset_minutes,
    timezone_source, is_ambiguous, is_received_at_assumed, received_at, correction_number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_events
DELETE FROM events WHERE tenant = ? AND event_owner IN ??;

-- An event that was quarantined, and was stored when it came again later, is left out.
-- name: quarantined
SELECT event_id, event_owner, reason, content, received_at FROM quarantine
WHERE tenant = ? AND event_id > ?
    AND NOT EXISTS (
        SELECT 1 FROM events
        WHERE events.tenant = quarantine.tenant AND events.event_owner = quarantine.event_owner
            AND events.event_id = quarantine.event_id)
ORDER BY event_id LIMIT ?;

-- name: quarantined_by_id
SELECT event_id, event_owner, reason, content, received_at FROM quarantine
WHERE tenant = ? AND event_id IN ??;

-- name: count_quarantine
SELECT count(*) FROM quarantine WHERE tenant = ?;

-- name: add_quarantined
INSERT INTO quarantine (tenant, event_id, event_owner, reason, content, received_at)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: delete_quarantined
DELETE FROM quarantine WHERE tenant = ? AND event_owner IN ??;

-- name: purge_quarantined
DELETE FROM quarantine WHERE received_at < ? RETURNING 1;

-- name: outbox
SELECT sequence, type, shipment_id, created_at, payload
FROM outbox WHERE tenant = ? ORDER BY sequence;

-- name: add_outbox
INSERT INTO outbox (sequence, tenant, type, shipment_id, created_at, payload)
VALUES (?, ?, ?, ?, ?, ?);

-- name: delete_outbox
DELETE FROM outbox WHERE tenant = ? AND shipment_id IN ??;
