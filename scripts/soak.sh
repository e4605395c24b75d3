#!/bin/sh
# Slow checks: many seeded consortiums, kill -9 cycles on the real binary, fuzzing.
# SEEDS=N seeds (default 1000), CYCLES=N kills (default 100), FUZZ=N seconds a target (default 60).
set -eu
cd "$(dirname "$0")/.."
cargo run --release --package salus-sim --example seeds -- 0 "${SEEDS:-1000}"
cargo build --release --package salus
target="${CARGO_TARGET_DIR:-target}"
python3 scripts/kill_cycles.py "$target/release/salus" "${CYCLES:-100}"
sh fuzz/run.sh "${FUZZ:-60}"
