#!/bin/sh
# Builds the portals into web/dist/app, where the node's build embeds them. Needs Node.js 20.19 or later.
set -eu
cd "$(dirname "$0")/../web"
# Installed anew only when the locked versions have changed.
stamp=node_modules/.package-lock.json
if [ ! -f "$stamp" ] || [ package-lock.json -nt "$stamp" ]; then
    npm ci --no-audit --no-fund
fi
npm run --silent build
