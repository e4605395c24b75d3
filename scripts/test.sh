#!/bin/sh
# Installs what the tests need and runs them all: house rules, Rust, the second verifier in Python.
set -eu
cd "$(dirname "$0")/.."

if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
    else
        echo "The tests need PostgreSQL: install your distribution's package postgresql." >&2
        exit 1
    fi
fi

cargo fmt --all --check
cargo xtask check
cargo test --workspace --exclude salus-replica --exclude salus-sim
# Each of these runs whole consortiums, which would time each other out.
cargo test --package salus-replica --package salus-sim -- --test-threads=1
sh python/check.sh
