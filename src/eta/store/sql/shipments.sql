-- Shipments, their versions, the uses of tracking numbers, and states.
-- Columns of a SELECT and of an INSERT are those of the row's class in records.py, in its order.

-- name: shipments_by_shipment_id
SELECT shipment_id, external_id, number_use_id, attributes, created_at, changed_at
FROM shipments WHERE tenant = ? AND shipment_id IN ??;

-- name: shipments_by_external_id
SELECT shipment_id, external_id, number_use_id, attributes, created_at, changed_at
FROM shipments WHERE tenant = ? AND external_id IN ??;

-- name: shipments_by_number_use_id
SELECT shipment_id, external_id, number_use_id, attributes, created_at, changed_at
FROM shipments WHERE tenant = ? AND number_use_id IN ??;

-- name: existing_shipment_ids
SELECT shipment_id FROM shipments WHERE tenant = ? AND shipment_id IN ??;

-- name: shipments_after
SELECT shipment_id, external_id, number_use_id, attributes, created_at, changed_at
FROM shipments WHERE tenant = ? AND shipment_id > ? ORDER BY shipment_id LIMIT ?;

-- name: shipments_after_with_status
SELECT shipments.shipment_id, shipments.external_id, shipments.number_use_id,
    shipments.attributes, shipments.created_at, shipments.changed_at
FROM shipments JOIN states USING (tenant, shipment_id)
WHERE tenant = ? AND shipment_id > ? AND status = ? ORDER BY shipment_id LIMIT ?;

-- name: all_shipments
SELECT shipment_id, external_id, number_use_id, attributes, created_at, changed_at
FROM shipments WHERE tenant = ? ORDER BY shipment_id;

-- name: tenants
SELECT DISTINCT tenant FROM shipments ORDER BY tenant;

-- name: inactive_shipments
SELECT shipments.tenant, shipments.shipment_id, shipments.external_id, shipments.number_use_id,
    shipments.attributes, shipments.created_at, shipments.changed_at
FROM shipments JOIN states USING (tenant, shipment_id)
WHERE changed_at < ? AND as_of < ? LIMIT ?;

-- name: count_shipments
SELECT count(*) FROM shipments WHERE tenant = ?;

-- name: put_shipment
INSERT INTO shipments
    (tenant, shipment_id, external_id, number_use_id, attributes, created_at, changed_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, shipment_id) DO UPDATE SET
    external_id = excluded.external_id, number_use_id = excluded.number_use_id,
    attributes = excluded.attributes, created_at = excluded.created_at,
    changed_at = excluded.changed_at;

-- name: delete_shipments
DELETE FROM shipments WHERE tenant = ? AND shipment_id IN ??;

-- name: versions
SELECT shipment_id, recorded_at, number_use_id, attributes
FROM shipment_versions WHERE tenant = ? AND shipment_id IN ?? ORDER BY shipment_id, recorded_at;

-- name: number_use_shipments
SELECT number_use_id, shipment_id
FROM shipment_versions WHERE tenant = ? AND number_use_id IN ??;

-- name: put_version
INSERT INTO shipment_versions (tenant, shipment_id, recorded_at, number_use_id, attributes)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tenant, shipment_id, recorded_at) DO UPDATE SET
    number_use_id = excluded.number_use_id, attributes = excluded.attributes;

-- name: delete_versions
DELETE FROM shipment_versions WHERE tenant = ? AND shipment_id IN ??;

-- name: number_uses
SELECT number_use_id, carrier_number, use_number, started_at, shipment_id
FROM tracking_number_uses WHERE tenant = ? AND carrier_number IN ??
ORDER BY started_at, use_number;

-- name: put_number_use
INSERT INTO tracking_number_uses
    (tenant, number_use_id, carrier_number, use_number, started_at, shipment_id)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, number_use_id) DO UPDATE SET
    carrier_number = excluded.carrier_number, use_number = excluded.use_number,
    started_at = excluded.started_at, shipment_id = excluded.shipment_id;

-- name: release_numbers
UPDATE tracking_number_uses SET shipment_id = NULL WHERE tenant = ? AND shipment_id IN ??;

-- Numbers that no shipment has or had, without an event received since a moment.
-- name: unregistered_number_uses
SELECT tenant, number_use_id FROM tracking_number_uses
WHERE shipment_id IS NULL AND started_at < ?
    AND NOT EXISTS (
        SELECT 1 FROM shipment_versions v
        WHERE v.tenant = tracking_number_uses.tenant
            AND v.number_use_id = tracking_number_uses.number_use_id)
    AND NOT EXISTS (
        SELECT 1 FROM events e
        WHERE e.tenant = tracking_number_uses.tenant
            AND e.event_owner = tracking_number_uses.number_use_id AND e.received_at >= ?)
LIMIT ?;

-- name: delete_number_uses
DELETE FROM tracking_number_uses WHERE tenant = ? AND number_use_id IN ??;

-- name: states
SELECT shipment_id, as_of, status, phase, is_open, last_code, place, place_code, ordered_at,
    approved_at, handed_over_at, last_scan_at, arrived_at, abandoned_at, scan_count, exception_count
FROM states WHERE tenant = ? AND shipment_id IN ??;

-- name: statuses
SELECT shipment_id, status FROM states WHERE tenant = ? AND shipment_id IN ??;

-- name: put_state
INSERT INTO states
    (tenant, shipment_id, as_of, status, phase, is_open, last_code, place, place_code, ordered_at,
    approved_at, handed_over_at, last_scan_at, arrived_at, abandoned_at, scan_count, exception_count)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, shipment_id) DO UPDATE SET
    as_of = excluded.as_of, status = excluded.status, phase = excluded.phase,
    is_open = excluded.is_open, last_code = excluded.last_code, place = excluded.place,
    place_code = excluded.place_code, ordered_at = excluded.ordered_at,
    approved_at = excluded.approved_at, handed_over_at = excluded.handed_over_at,
    last_scan_at = excluded.last_scan_at, arrived_at = excluded.arrived_at,
    abandoned_at = excluded.abandoned_at, scan_count = excluded.scan_count,
    exception_count = excluded.exception_count;

-- name: delete_states
DELETE FROM states WHERE tenant = ? AND shipment_id IN ??;
