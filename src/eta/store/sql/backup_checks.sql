-- Checks of a SQLite file that may be a backup: its pages, its tables, and references between rows.

-- name: integrity
PRAGMA integrity_check(1);

-- name: distrust
PRAGMA trusted_schema = OFF;

-- Whether it has the table of applied migrations.
-- name: has_migrations
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations';

-- name: migrations
SELECT number FROM migrations ORDER BY number;

-- Tables, indices, views and triggers.
-- name: objects
SELECT 'the ' || type || ' ' || name FROM sqlite_master
WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY type, name;

-- Columns, in order, with their types; the last three say whether the table is virtual, has row ids
-- and is strict.
-- name: columns
SELECT 'the column ' || m.name || '.' || c.name, c.cid, upper(c.type), c."notnull", c.dflt_value,
    c.pk, c.hidden, t.type, t.wr, t.strict
FROM sqlite_master m JOIN pragma_table_list(m.name) t JOIN pragma_table_xinfo(m.name) c
WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY m.name, c.cid;

-- name: indexed_columns
SELECT 'an index of ' || m.name, l."unique", l.origin, l.partial, i.seqno, i.name, i.coll, i."desc"
FROM sqlite_master m JOIN pragma_index_list(m.name) l JOIN pragma_index_xinfo(l.name) i
WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY m.name, l.name, i.seqno;

-- The one row of the commit clock.
-- name: clock
SELECT last_commit_time, last_sequence, secret, uninterrupted_since FROM clock;

-- name: clock_rows
SELECT count(*) FROM clock WHERE id = 1;

-- Each of the following returns the number of rows that refer to nothing, or contradict others.

-- name: version_of_no_shipment
SELECT count(*) FROM shipment_versions r WHERE NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.shipment_id);

-- name: shipment_without_version
SELECT count(*) FROM shipments s WHERE NOT EXISTS (
    SELECT 1 FROM shipment_versions r WHERE r.tenant = s.tenant AND r.shipment_id = s.shipment_id);

-- name: state_of_no_shipment
SELECT count(*) FROM states r WHERE NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.shipment_id);

-- name: shipment_without_state
SELECT count(*) FROM shipments s WHERE NOT EXISTS (
    SELECT 1 FROM states r WHERE r.tenant = s.tenant AND r.shipment_id = s.shipment_id);

-- name: forecast_of_no_shipment
SELECT count(*) FROM forecasts r WHERE NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.shipment_id);

-- name: flag_of_no_shipment
SELECT count(*) FROM flags r WHERE NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.shipment_id);

-- name: message_about_no_shipment
SELECT count(*) FROM outbox r WHERE r.shipment_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.shipment_id);

-- name: number_use_of_no_shipment
SELECT count(*) FROM tracking_number_uses r WHERE r.shipment_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.shipment_id);

-- name: number_use_with_another_name
SELECT count(*) FROM tracking_number_uses
WHERE number_use_id <> carrier_number || '|' || use_number;

-- name: shipment_of_no_number_use
SELECT count(*) FROM shipments r WHERE r.number_use_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM tracking_number_uses u
    WHERE u.tenant = r.tenant AND u.number_use_id = r.number_use_id);

-- name: event_of_no_owner
SELECT count(*) FROM events r
WHERE NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.event_owner)
AND NOT EXISTS (
    SELECT 1 FROM tracking_number_uses u
    WHERE u.tenant = r.tenant AND u.number_use_id = r.event_owner);

-- name: quarantined_event_of_no_owner
SELECT count(*) FROM quarantine r
WHERE NOT EXISTS (
    SELECT 1 FROM shipments s WHERE s.tenant = r.tenant AND s.shipment_id = r.event_owner)
AND NOT EXISTS (
    SELECT 1 FROM tracking_number_uses u
    WHERE u.tenant = r.tenant AND u.number_use_id = r.event_owner);

-- name: shipment_changed_before_it_was_created
SELECT count(*) FROM shipments WHERE changed_at < created_at;

-- name: flag_ended_before_it_was_raised
SELECT count(*) FROM flags WHERE ended_at < raised_at;

-- name: message_after_the_last_sequence
SELECT count(*) FROM outbox WHERE sequence > (SELECT max(last_sequence) FROM clock);
