#!/bin/sh
# Trains the accuracy tables of docs/accuracy.md (hours); arguments choose tables.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --package salus
target="${CARGO_TARGET_DIR:-target}"
exec bash bench/accuracy/run.sh "$target/release/salus" "${SALUS_SAMPLES:-../shared/data}" bench/accuracy/reports "$@"
