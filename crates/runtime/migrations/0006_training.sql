-- Federated jobs, offered data sets and uses of models, as the log names them. Can be made again from it.
CREATE TABLE listed_job (
    job BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL UNIQUE
);
CREATE TABLE listed_data_set (
    data_set BYTEA PRIMARY KEY,
    entry BIGINT NOT NULL UNIQUE
);
CREATE TABLE listed_use (
    entry BIGINT PRIMARY KEY,
    job BYTEA NOT NULL
);
CREATE INDEX listed_use_job ON listed_use (job, entry);
