-- Where each sealed blob lies. Without a pack, the blob is a large object of its own.
CREATE TABLE blob (
    digest BYTEA PRIMARY KEY,
    length BIGINT NOT NULL CHECK (length >= 0),
    pack BYTEA,
    pack_offset BIGINT,
    CHECK ((pack IS NULL) = (pack_offset IS NULL))
);
CREATE INDEX blob_pack ON blob (pack) WHERE pack IS NOT NULL;
