-- The OPAQUE record of the account's recovery code; absent, the code opens no session.
ALTER TABLE account ADD COLUMN recovery_record BYTEA;
