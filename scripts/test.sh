#!/bin/sh
# Installs what the tests need and runs them all: house rules, Rust, the portals in a browser, the second
# verifier in Python.
set -eu
cd "$(dirname "$0")/.."

# Installs Debian packages ($2...) for what $1 says, or tells that they are missing.
install() {
    what=$1
    shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    else
        echo "The tests need $what: install your distribution's package $1." >&2
        exit 1
    fi
}

ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || install PostgreSQL postgresql
command -v npm >/dev/null || install Node.js nodejs npm
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || install Chromium chromium fonts-liberation

cargo fmt --all --check
cargo xtask check
sh scripts/web.sh
(cd web && npm run --silent check && npm run --silent test)
# One selection of packages, so that everything is compiled once; the browser's tests run the same program.
cargo test --workspace
(cd web && npm run --silent e2e)
sh python/check.sh
