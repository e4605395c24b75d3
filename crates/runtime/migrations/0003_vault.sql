-- Patients of whom this node holds sealed records. The name stands here in the default profile only.
CREATE TABLE vault_patient (
    alias BYTEA PRIMARY KEY,
    custodian BYTEA NOT NULL,
    name TEXT,
    search TEXT NOT NULL,
    named_at BIGINT NOT NULL
);
CREATE INDEX vault_patient_search ON vault_patient (search, alias);

-- Batches: staged while `entry` is absent, anchored once the ledger has them. `place` counts the
-- anchored ones in the order in which this node learned of them: where replication has got to.
CREATE TABLE vault_batch (
    batch BYTEA PRIMARY KEY,
    alias BYTEA NOT NULL REFERENCES vault_patient (alias),
    signer BYTEA NOT NULL,
    created BIGINT NOT NULL,
    records BIGINT NOT NULL,
    anchors_root BYTEA NOT NULL,
    manifest BYTEA NOT NULL,
    command BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    staged BIGINT NOT NULL,
    entry BIGINT,
    place BIGINT UNIQUE
);
CREATE INDEX vault_batch_alias ON vault_batch (alias, entry);
CREATE INDEX vault_batch_staged ON vault_batch (staged) WHERE entry IS NULL;

-- Anchors field by field, and the record key under the class key of `key_epoch`.
CREATE TABLE vault_record (
    batch BYTEA NOT NULL REFERENCES vault_batch (batch) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    record BYTEA NOT NULL,
    version BIGINT NOT NULL,
    class BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    ciphertext BYTEA NOT NULL,
    length BIGINT NOT NULL,
    statement BYTEA,
    key_wrap BYTEA,
    key_epoch BIGINT NOT NULL,
    PRIMARY KEY (batch, position),
    UNIQUE (record, version)
);

CREATE INDEX vault_record_ciphertext ON vault_record (ciphertext);

-- Signed statements about plaintexts, by their SHA-256.
CREATE TABLE vault_statement (
    digest BYTEA PRIMARY KEY,
    envelope BYTEA NOT NULL
);

-- Class keys wrapped to the custodian (`access` empty) and to holders of grants.
CREATE TABLE vault_class_wrap (
    alias BYTEA NOT NULL,
    class BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    recipient BYTEA NOT NULL,
    access BYTEA NOT NULL,
    wrap BYTEA NOT NULL,
    PRIMARY KEY (alias, class, epoch, recipient, access)
);
CREATE INDEX vault_class_wrap_access ON vault_class_wrap (access);

-- Single record keys wrapped to single recipients; `access` is empty where no grant is needed.
CREATE TABLE vault_record_wrap (
    record BYTEA NOT NULL,
    version BIGINT NOT NULL,
    recipient BYTEA NOT NULL,
    access BYTEA NOT NULL,
    wrap BYTEA NOT NULL,
    PRIMARY KEY (record, version, recipient, access)
);
CREATE INDEX vault_record_wrap_access ON vault_record_wrap (access);

-- Large sealed blobs on their way in.
CREATE TABLE vault_upload (
    upload BYTEA PRIMARY KEY,
    digest BYTEA NOT NULL,
    length BIGINT NOT NULL,
    owner BYTEA NOT NULL,
    started BIGINT NOT NULL,
    UNIQUE (owner, digest)
);
CREATE TABLE vault_upload_part (
    upload BYTEA NOT NULL REFERENCES vault_upload (upload) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (upload, number)
);

-- How far each replica has every anchored batch.
CREATE TABLE vault_replica (
    replica BYTEA PRIMARY KEY,
    place BIGINT NOT NULL
);

-- What the scrubber found.
CREATE TABLE vault_incident (
    incident BIGINT PRIMARY KEY,
    found BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    record BYTEA,
    object TEXT NOT NULL,
    start_byte BIGINT NOT NULL,
    end_byte BIGINT NOT NULL,
    restored BOOLEAN NOT NULL
);
