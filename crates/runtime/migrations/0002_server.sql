-- Accounts of the people who registered at this node. The password record and the keyring are of no
-- use to whoever reads them without the password.
CREATE TABLE account (
    principal BYTEA PRIMARY KEY,
    login TEXT NOT NULL UNIQUE,
    password_record BYTEA NOT NULL,
    keyring BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Who the people are; erasable, never on the ledger.
CREATE TABLE profile (
    principal BYTEA PRIMARY KEY REFERENCES account (principal) ON DELETE CASCADE,
    body BYTEA NOT NULL,
    salt BYTEA NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Open sessions by the SHA-256 of their token; the token itself is nowhere.
CREATE TABLE session (
    token_digest BYTEA PRIMARY KEY,
    principal BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL
);
CREATE INDEX session_principal ON session (principal);
CREATE INDEX session_expires_at ON session (expires_at);

-- Logins between their two steps, each good for one use.
CREATE TABLE handshake (
    digest BYTEA PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('password', 'key')),
    principal BYTEA,
    subject BYTEA,
    state BYTEA,
    expires_at BIGINT NOT NULL
);
CREATE INDEX handshake_expires_at ON handshake (expires_at);

-- Attempts to log in or register, by the digest of an account's name or of an address.
CREATE TABLE throttle (
    subject BYTEA PRIMARY KEY,
    attempts BIGINT NOT NULL,
    window_start BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL
);
CREATE INDEX throttle_window_start ON throttle (window_start);

-- Answers to writes that named an idempotency key.
CREATE TABLE idempotency (
    principal BYTEA NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest BYTEA NOT NULL,
    status BIGINT,
    content_type TEXT,
    body BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (principal, idempotency_key)
);
CREATE INDEX idempotency_created_at ON idempotency (created_at);

-- Refused attempts, counted by caller, target, reason, address and hour; `who` is empty if unknown.
CREATE TABLE attempt (
    who BYTEA NOT NULL,
    what TEXT NOT NULL,
    why TEXT NOT NULL,
    place TEXT NOT NULL,
    period BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    occurrences BIGINT NOT NULL,
    PRIMARY KEY (who, what, why, place, period)
);
CREATE INDEX attempt_last_at ON attempt (last_at);

-- How far each reader of the log has come: the index of the next entry it will take.
CREATE TABLE log_position (
    reader TEXT PRIMARY KEY,
    next_entry BIGINT NOT NULL
);

-- Listings: what the log says, indexed for lists. Everything here can be made again from the log.
CREATE TABLE listed_principal (
    principal BYTEA PRIMARY KEY,
    ordinal BIGINT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    organisation BYTEA NOT NULL,
    standing TEXT NOT NULL
);
CREATE TABLE listed_patient (
    alias BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL UNIQUE,
    custodian BYTEA NOT NULL,
    patient BYTEA
);
CREATE INDEX listed_patient_patient ON listed_patient (patient);
CREATE INDEX listed_patient_custodian ON listed_patient (custodian, entry);
CREATE TABLE listed_batch (
    batch BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL UNIQUE,
    alias BYTEA NOT NULL
);
CREATE INDEX listed_batch_alias ON listed_batch (alias, entry);
CREATE TABLE listed_access (
    access BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL UNIQUE,
    alias BYTEA NOT NULL,
    custodian BYTEA NOT NULL,
    holder BYTEA NOT NULL,
    status TEXT NOT NULL
);
CREATE INDEX listed_access_holder ON listed_access (holder, entry);
CREATE INDEX listed_access_custodian ON listed_access (custodian, entry);
CREATE TABLE listed_consultation (
    consultation BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL UNIQUE,
    patient BYTEA NOT NULL,
    doctor BYTEA NOT NULL,
    prescriptions BIGINT NOT NULL
);
CREATE INDEX listed_consultation_patient ON listed_consultation (patient, entry);
CREATE INDEX listed_consultation_doctor ON listed_consultation (doctor, entry);
CREATE TABLE listed_receipt (
    entry BIGINT PRIMARY KEY,
    alias BYTEA NOT NULL
);
CREATE INDEX listed_receipt_alias ON listed_receipt (alias, entry);
CREATE TABLE listed_proposal (
    proposal BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL UNIQUE
);
CREATE TABLE listed_command (
    digest BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL
);

-- What changed, for those whom it concerns: everybody of `custodian`, and the audience.
CREATE TABLE event (
    entry BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    custodian BYTEA
);
CREATE TABLE event_audience (
    principal BYTEA NOT NULL,
    entry BIGINT NOT NULL REFERENCES event (entry),
    PRIMARY KEY (principal, entry)
);
