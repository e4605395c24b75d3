-- Passkeys of accounts: what is stored here signs nothing and opens nothing.
CREATE TABLE passkey (
    credential BYTEA PRIMARY KEY,
    principal BYTEA NOT NULL REFERENCES account (principal) ON DELETE CASCADE,
    name TEXT NOT NULL,
    public_key BYTEA NOT NULL,
    counter BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX passkey_principal ON passkey (principal);

-- Challenges for passkeys, each good for one use: of one principal who adds one, or of nobody yet.
CREATE TABLE passkey_challenge (
    digest BYTEA PRIMARY KEY,
    principal BYTEA,
    expires_at BIGINT NOT NULL
);
CREATE INDEX passkey_challenge_expires_at ON passkey_challenge (expires_at);
