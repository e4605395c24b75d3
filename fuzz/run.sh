#!/bin/sh
# Fuzzes every decoder of bytes from outside, one after the other.
#   sh fuzz/run.sh [SECONDS for each target, 60 by default] [TARGET ...]
# Needs the nightly toolchain; without it nothing is fuzzed (the corpora are replayed by `make test` all
# the same). New inputs go to a folder under the target directory, not to the committed corpora. A finding
# ends the run with exit code 1 and its input as hexadecimal digits.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -eq 0 ] || shift
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: no nightly toolchain (rustup toolchain install nightly); nothing fuzzed"
    exit 0
fi
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-$PWD/target}
# As cargo-fuzz sets them: edge coverage, comparisons, AddressSanitizer.
RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
export RUSTFLAGS
[ $# -gt 0 ] || set -- $(ls corpus)
findings=0
for name; do
    cargo +nightly build --release --locked --target "$host" --bin "$name"
    found=$target/fuzz/$name
    mkdir -p "$found/corpus"
    rm -f "$found"/finding-*
    echo "fuzz: $name for $seconds s"
    ended=0
    "$target/$host/release/$name" "$found/corpus" "corpus/$name" -max_total_time="$seconds" \
        -artifact_prefix="$found/finding-" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
        -print_final_stats=1 >"$found/log" 2>&1 || ended=$?
    sed -n 's/^stat::number_of_executed_units: */  runs: /p; s/^stat::peak_rss_mb: */  peak MiB: /p' "$found/log"
    if [ "$ended" -ne 0 ]; then
        findings=$((findings + 1))
        echo "fuzz: $name ended with $ended (report: $found/log)"
    fi
    for finding in "$found"/finding-*; do
        [ -e "$finding" ] || continue
        echo "fuzz: FOUND in $name: $finding"
        od -An -v -tx1 "$finding" | tr -d ' \n' | cut -c1-4000
        echo
    done
done
echo "fuzz: $findings findings"
[ "$findings" -eq 0 ]
