-- What this node reports on the ledger as incidents: `body` is the evidence, which stays here, and
-- `evidence` its SHA-256. `subject` keeps one thing from being reported twice; `entry` is absent until
-- the report is final.
CREATE TABLE incident_report (
    subject BYTEA PRIMARY KEY,
    evidence BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    body BYTEA NOT NULL,
    made_at BIGINT NOT NULL,
    entry BIGINT
);
CREATE INDEX incident_report_waiting ON incident_report (made_at) WHERE entry IS NULL;
