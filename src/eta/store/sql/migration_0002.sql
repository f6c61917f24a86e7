-- The field's standard names for tables, columns and keys of stored JSON.
ALTER TABLE clock RENAME COLUMN known_through TO last_commit_time;
ALTER TABLE clock RENAME COLUMN number TO last_sequence;
ALTER TABLE trackings RENAME TO tracking_number_uses;
ALTER TABLE tracking_number_uses RENAME COLUMN tracking TO number_use_id;
ALTER TABLE tracking_number_uses RENAME COLUMN generation TO use_number;
ALTER TABLE tracking_number_uses RENAME COLUMN since TO started_at;
ALTER TABLE shipments RENAME COLUMN tracking TO number_use_id;
ALTER TABLE shipments RENAME COLUMN facts TO attributes;
ALTER TABLE shipment_versions RENAME COLUMN known_at TO recorded_at;
ALTER TABLE shipment_versions RENAME COLUMN tracking TO number_use_id;
ALTER TABLE shipment_versions RENAME COLUMN facts TO attributes;
ALTER TABLE events RENAME COLUMN subject TO event_owner;
ALTER TABLE quarantine RENAME COLUMN subject TO event_owner;
ALTER TABLE states RENAME COLUMN given_up_at TO abandoned_at;
ALTER TABLE forecasts RENAME COLUMN answer TO assessment;
ALTER TABLE estimates RENAME COLUMN answer TO response;
ALTER TABLE outbox RENAME COLUMN number TO sequence;
ALTER TABLE replies RENAME TO responses;
-- A quote inside a JSON text is escaped, so a quoted name with its colon is always a key.
UPDATE forecasts SET assessment = replace(assessment, '"version_known_at": ', '"version_recorded_at": ');
UPDATE quarantine SET content = replace(content, '"subject": ', '"event_owner": ');
UPDATE estimates SET response = replace(replace(response, '"object":"Estimate"', '"object":"estimate"'), '"is_ours":', '"is_proposed":');
