#!/bin/sh
# What a federated round costs, beside NVFLARE and Flower, which are installed from their Python packages into
# environments below the target folder. Writes bench/results/rounds.json. Needs root on Linux; 15 minutes.
# Arguments go to bench/peers/rounds.py, for example `--sizes small` or `--systems salus`.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release --package salus --package salus-bench
for peer in nvflare==2.9.0 flwr==1.41.0; do
    folder=$target/peers/${peer%%=*}
    if [ ! -e "$folder/installed" ]; then
        python3 -m venv "$folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "$peer" numpy
        touch "$folder/installed"
    fi
done
work=$target/peers-work
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
python3 bench/peers/rounds.py --salus "$target/release/salus" --bench "$target/release/salus-bench" \
    --nvflare "$target/peers/nvflare" --flower "$target/peers/flwr" --work "$work" \
    --json bench/results/rounds.json "$@"
