-- One row. Each transaction that writes updates it first, so writers run one after the other and commit times only grow.
CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), known_through BIGINT NOT NULL, number BIGINT NOT NULL, secret TEXT NOT NULL);
INSERT INTO clock VALUES (1, 0, 0, ?);
-- Shipments as they are registered now; `facts` is JSON.
CREATE TABLE shipments (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, external_id TEXT, tracking TEXT, facts TEXT NOT NULL,
    created_at BIGINT NOT NULL, changed_at BIGINT NOT NULL, PRIMARY KEY (tenant, shipment_id));
CREATE UNIQUE INDEX shipments_external_id ON shipments (tenant, external_id);
CREATE UNIQUE INDEX shipments_tracking ON shipments (tenant, tracking);
-- The uses of carriers' tracking numbers, one after the other; without a shipment until one is registered.
CREATE TABLE trackings (
    tenant TEXT NOT NULL, tracking TEXT NOT NULL, carrier_number TEXT NOT NULL, generation INTEGER NOT NULL, since BIGINT NOT NULL, shipment_id TEXT,
    PRIMARY KEY (tenant, tracking));
CREATE UNIQUE INDEX trackings_carrier_number ON trackings (tenant, carrier_number, generation);
-- Every version of a shipment, and when it was recorded.
CREATE TABLE shipment_versions (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, known_at BIGINT NOT NULL, tracking TEXT, facts TEXT NOT NULL,
    PRIMARY KEY (tenant, shipment_id, known_at)) {clustered};
CREATE INDEX shipment_versions_tracking ON shipment_versions (tenant, tracking);
-- Events. The subject is a use of a tracking number, or a shipment for events without a number. Rows never change.
CREATE TABLE events (
    tenant TEXT NOT NULL, subject TEXT NOT NULL, event_id TEXT NOT NULL, event_code TEXT NOT NULL, raw_code TEXT, place TEXT,
    occurred_at BIGINT NOT NULL, offset_minutes INTEGER NOT NULL, timezone_source TEXT NOT NULL, is_ambiguous INTEGER NOT NULL,
    is_received_at_assumed INTEGER NOT NULL, received_at BIGINT NOT NULL, PRIMARY KEY (tenant, subject, event_id)) {clustered};
-- States, folded from the events received by `as_of`; they can be computed again at any time.
CREATE TABLE states (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, as_of BIGINT NOT NULL, status TEXT NOT NULL, phase TEXT NOT NULL, is_open INTEGER NOT NULL,
    last_code TEXT, place TEXT, place_code TEXT, ordered_at BIGINT, approved_at BIGINT, handed_over_at BIGINT, last_scan_at BIGINT, arrived_at BIGINT,
    given_up_at BIGINT, scan_count INTEGER NOT NULL, exception_count INTEGER NOT NULL, PRIMARY KEY (tenant, shipment_id)) {clustered};
-- Forecasts and estimates as they were issued; `answer` is JSON.
CREATE TABLE forecasts (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, as_of BIGINT NOT NULL, model_version TEXT, answer TEXT NOT NULL,
    PRIMARY KEY (tenant, shipment_id, as_of)) {clustered};
CREATE TABLE estimates (
    tenant TEXT NOT NULL, estimate_id TEXT NOT NULL, as_of BIGINT NOT NULL, model_version TEXT, answer TEXT NOT NULL,
    PRIMARY KEY (tenant, estimate_id)) {clustered};
-- Delay flags; the one without an end is raised now.
CREATE TABLE flags (
    tenant TEXT NOT NULL, shipment_id TEXT NOT NULL, raised_at BIGINT NOT NULL, state TEXT NOT NULL, reason_code TEXT, probability DOUBLE PRECISION,
    ended_at BIGINT, PRIMARY KEY (tenant, shipment_id, raised_at)) {clustered};
-- Messages to subscribers, in the order of their transactions.
CREATE TABLE outbox (
    number BIGINT PRIMARY KEY, tenant TEXT NOT NULL, type TEXT NOT NULL, shipment_id TEXT, created_at BIGINT NOT NULL, payload TEXT NOT NULL);
CREATE TABLE replies (
    tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, digest TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, idempotency_key)) {clustered};
CREATE INDEX replies_created_at ON replies (created_at);
-- Implausible events; no state uses them.
CREATE TABLE quarantine (
    tenant TEXT NOT NULL, event_id TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL, content TEXT NOT NULL, received_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, event_id)) {clustered};
