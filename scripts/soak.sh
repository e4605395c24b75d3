#!/bin/sh
# Slow checks: many seeded consortiums, kill -9 cycles on the real binary, on a node and on training runs, the
# networks against PyTorch, fuzzing, the coordinator's memory over 200 rounds.
# SEEDS=N seeds (default 1000), CYCLES=N kills of a node (default 100), RUNS=N killed training runs (default 20),
# FUZZ=N seconds a target (default 60).
set -eu
cd "$(dirname "$0")/.."
cargo run --release --package salus-sim --example seeds -- 0 "${SEEDS:-1000}"
cargo build --release --package salus --package salus-bench
target="${CARGO_TARGET_DIR:-target}"
python3 scripts/kill_cycles.py "$target/release/salus" "${CYCLES:-100}"
python3 bench/accuracy/kill_training.py "$target/release/salus" "${RUNS:-20}"
sh bench/accuracy/torch_check.sh "$target/release/salus"
sh fuzz/run.sh "${FUZZ:-60}"
if [ "$(id -u)" = 0 ]; then
    python3 bench/peers/rounds.py --flat --salus "$target/release/salus" --bench "$target/release/salus-bench" \
        --work "$target/peers-work"
else
    echo "The server's memory over 200 rounds is not measured: control groups and network namespaces need root." >&2
fi
