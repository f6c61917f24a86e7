-- One row. Whoever writes updates it first, so that writers take turns and the times of knowledge only grow.
CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), known_through BIGINT NOT NULL, number BIGINT NOT NULL, secret TEXT NOT NULL);
INSERT INTO clock VALUES (1, 0, 0, ?);
-- What the shop says of a shipment, as it is now; `facts` is JSON.
CREATE TABLE shipments (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, external_id TEXT, tracking TEXT, facts TEXT NOT NULL,
    created_at BIGINT NOT NULL, changed_at BIGINT NOT NULL, PRIMARY KEY (tenant, shipment_id));
CREATE UNIQUE INDEX shipments_external_id ON shipments (tenant, external_id);
CREATE UNIQUE INDEX shipments_tracking ON shipments (tenant, tracking);
-- The parcels that have borne a carrier's number, one after the other; without a shipment as long as nobody has registered it.
CREATE TABLE trackings (
    tenant TEXT NOT NULL, tracking TEXT NOT NULL, carrier_number TEXT NOT NULL, generation INTEGER NOT NULL, since BIGINT NOT NULL, shipment_id TEXT,
    PRIMARY KEY (tenant, tracking));
CREATE UNIQUE INDEX trackings_carrier_number ON trackings (tenant, carrier_number, generation);
-- Every version of the same, from when it was known.
CREATE TABLE shipment_versions (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, known_at BIGINT NOT NULL, tracking TEXT, facts TEXT NOT NULL,
    PRIMARY KEY (tenant, shipment_id, known_at)) {clustered};
CREATE INDEX shipment_versions_tracking ON shipment_versions (tenant, tracking);
-- Scans. The subject is a carrier's number, or a shipment for what is told of it without one. Nothing is ever changed here.
CREATE TABLE events (
    tenant TEXT NOT NULL, subject TEXT NOT NULL, event_id TEXT NOT NULL, event_code TEXT NOT NULL, raw_code TEXT, place TEXT,
    occurred_at BIGINT NOT NULL, offset_minutes INTEGER NOT NULL, timezone_source TEXT NOT NULL, is_ambiguous INTEGER NOT NULL,
    is_received_at_assumed INTEGER NOT NULL, received_at BIGINT NOT NULL, PRIMARY KEY (tenant, subject, event_id)) {clustered};
-- What the scans known at `as_of` come to; it can be made again from them at any time.
CREATE TABLE states (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, as_of BIGINT NOT NULL, status TEXT NOT NULL, phase TEXT NOT NULL, is_open INTEGER NOT NULL,
    last_code TEXT, place TEXT, place_code TEXT, ordered_at BIGINT, approved_at BIGINT, handed_over_at BIGINT, last_scan_at BIGINT, arrived_at BIGINT,
    given_up_at BIGINT, scan_count INTEGER NOT NULL, exception_count INTEGER NOT NULL, PRIMARY KEY (tenant, shipment_id)) {clustered};
-- Answers as they were given; `answer` is JSON.
CREATE TABLE forecasts (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, as_of BIGINT NOT NULL, model_version TEXT, answer TEXT NOT NULL,
    PRIMARY KEY (tenant, shipment_id, as_of)) {clustered};
CREATE TABLE estimates (
    tenant TEXT NOT NULL, estimate_id TEXT NOT NULL, as_of BIGINT NOT NULL, model_version TEXT, answer TEXT NOT NULL,
    PRIMARY KEY (tenant, estimate_id)) {clustered};
-- Delay flags; the one without an end stands.
CREATE TABLE flags (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, raised_at BIGINT NOT NULL, state TEXT NOT NULL, reason_code TEXT, probability DOUBLE PRECISION,
    ended_at BIGINT, PRIMARY KEY (tenant, shipment_id, raised_at)) {clustered};
-- What subscribers are to hear of, in the order in which it became known.
CREATE TABLE outbox (
    number BIGINT PRIMARY KEY, tenant TEXT NOT NULL, type TEXT NOT NULL, shipment_id TEXT, created_at BIGINT NOT NULL, payload TEXT NOT NULL);
CREATE TABLE replies (
    tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, digest TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, idempotency_key)) {clustered};
CREATE INDEX replies_created_at ON replies (created_at);
-- Scans that cannot be right; they count for nothing until somebody looks at them.
CREATE TABLE quarantine (
    tenant TEXT NOT NULL, event_id TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL, content TEXT NOT NULL, received_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, event_id)) {clustered};
