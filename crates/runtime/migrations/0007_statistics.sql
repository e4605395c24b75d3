-- The counts of each chart that left this hospital last (`docs/formats.md`, "Statistics"): they leave again
-- until enough patients have changed.
CREATE TABLE stated_counts (
    chart TEXT PRIMARY KEY CHECK (chart IN ('symptoms', 'doctors')),
    entries BIGINT NOT NULL,
    counts BYTEA NOT NULL
);
