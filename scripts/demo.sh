#!/bin/sh
# Builds the portals and Salus and runs the demonstration, on the team's sample data where there is any.
set -eu
cd "$(dirname "$0")/.."
if command -v npm >/dev/null; then
    sh scripts/web.sh
else
    echo "Without Node.js the nodes serve their API and no pages." >&2
fi
cargo build --release --package salus
target="${CARGO_TARGET_DIR:-target}"
dir="${SALUS_DEMO_DIR:-demo-data}"
if [ -e "$dir" ]; then
    if [ ! -d "$dir/consortium" ]; then
        echo "$dir holds something else than a demonstration. Move it, or name another folder: SALUS_DEMO_DIR=DIR make demo" >&2
        exit 2
    fi
    echo "The folder $dir of an earlier demonstration is replaced."
    rm -rf "$dir"
fi
samples="${SALUS_SAMPLES:-../shared/data}"
if [ -d "$samples" ]; then
    set -- --samples "$samples" "$@"
fi
if [ "${SALUS_DEMO_STORY:-}" = 1 ]; then
    set -- --story "$@"
elif [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || [ "$(uname)" = Darwin ]; then
    set -- --open "$@"
fi
exec "$target/release/salus" demo --dir "$dir" "$@"
