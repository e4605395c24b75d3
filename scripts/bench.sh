#!/bin/sh
# Builds release, takes every figure beside its peer, then those of the portals in a browser, prints the
# tables, and writes bench/results/ and the tables of docs/performance.md. Arguments go to `salus-bench all`;
# with --quick or --only nothing is written, and with --only the portals are left out.
#
#   SALUS_SAMPLES      folder with fhir-synthea/ (default: ../shared/data when it is there)
#   SALUS_BENCH_TOOLS  folder for the peers that cargo installs (default: below the target folder)
#   SALUS_BENCH_WORK   folder on the disk whose durability is measured (default: below the target folder)
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}

# The pages are measured as the program serves them.
if command -v npm >/dev/null; then
    sh scripts/web.sh
fi
cargo build --release --package salus --package salus-bench

tools=${SALUS_BENCH_TOOLS:-$target/bench-tools}
rage_version=0.12.1
if [ ! -x "$tools/bin/rage" ]; then
    echo "Installing rage $rage_version, the peer of salus seal and open ..." >&2
    cargo install rage --version "$rage_version" --locked --root "$tools" >&2 ||
        echo "rage cannot be installed here; its figures are left out." >&2
fi

samples=${SALUS_SAMPLES:-}
if [ -z "$samples" ] && [ -d ../shared/data/fhir-synthea ]; then
    samples=../shared/data
fi

work=${SALUS_BENCH_WORK:-$target/bench-work}
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
if ! git diff --quiet HEAD -- bench/src crates Cargo.lock 2>/dev/null; then
    revision="$revision with changes"
fi

write=yes
portals=yes
for argument in "$@"; do
    case $argument in
    --quick) write=no ;;
    --only*) write=no portals=no ;;
    esac
done
if [ "$write" = yes ]; then
    set -- --json bench/results/latest.json --table docs/performance.md "$@"
fi
if [ -x "$tools/bin/rage" ]; then
    set -- --rage "$tools/bin" "$@"
fi
if [ -n "$samples" ]; then
    set -- --samples "$samples" "$@"
fi
status=0
"$target/release/salus-bench" all --salus "$target/release/salus" --work "$work" \
    --revision "$revision" "$@" || status=$?

# The portals in a browser, where there is one.
chromium=${CHROMIUM:-/usr/bin/chromium}
if [ "$portals" = no ]; then
    exit "$status"
elif [ ! -x "$chromium" ] || ! command -v node >/dev/null; then
    echo "Without Node.js and Chromium the figures of the portals are left out." >&2
    exit "$status"
fi
set --
if [ "$write" = yes ]; then
    set -- --json bench/results/portals.json --table docs/performance.md
else
    set -- --quick
fi
SALUS_BIN="$target/release/salus" SALUS_BENCH_PROGRAM="release build" \
    node web/test/bench/run.mjs "$@" || status=$?
exit "$status"
