-- Responses as they were given: forecasts, delay flags, estimates, and those of idempotent requests.

-- name: forecasts
SELECT shipment_id, as_of, model_version, assessment
FROM forecasts WHERE tenant = ? AND shipment_id IN ?? ORDER BY shipment_id, as_of;

-- name: add_forecast
INSERT INTO forecasts (tenant, shipment_id, as_of, model_version, assessment)
VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: delete_forecasts
DELETE FROM forecasts WHERE tenant = ? AND shipment_id IN ??;

-- name: flags
SELECT shipment_id, raised_at, state, reason_code, probability, ended_at
FROM flags WHERE tenant = ? AND shipment_id IN ?? ORDER BY shipment_id, raised_at;

-- name: put_flag
INSERT INTO flags (tenant, shipment_id, raised_at, state, reason_code, probability, ended_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, shipment_id, raised_at) DO UPDATE SET
    state = excluded.state, reason_code = excluded.reason_code,
    probability = excluded.probability, ended_at = excluded.ended_at;

-- name: delete_flags
DELETE FROM flags WHERE tenant = ? AND shipment_id IN ??;

-- name: estimate
SELECT response FROM estimates WHERE tenant = ? AND estimate_id = ?;

-- name: add_estimate
INSERT INTO estimates (tenant, estimate_id, as_of, model_version, response)
VALUES (?, ?, ?, ?, ?);

-- name: purge_estimates
DELETE FROM estimates WHERE as_of < ? RETURNING 1;

-- name: responses
SELECT idempotency_key, digest, status, body, created_at
FROM responses WHERE tenant = ? AND idempotency_key IN ??;

-- name: responses_after
SELECT tenant, idempotency_key, body FROM responses
WHERE (tenant, idempotency_key) > (?, ?) ORDER BY tenant, idempotency_key LIMIT ?;

-- name: delete_responses
DELETE FROM responses WHERE tenant = ? AND idempotency_key IN ??;

-- name: put_response
INSERT INTO responses (tenant, idempotency_key, digest, status, body, created_at)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, idempotency_key) DO UPDATE SET
    digest = excluded.digest, status = excluded.status, body = excluded.body,
    created_at = excluded.created_at;

-- name: purge_responses
DELETE FROM responses WHERE created_at < ?;
