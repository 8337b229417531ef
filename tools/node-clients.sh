#!/bin/bash
# Install the JavaScript SOAP client that the interoperability tests drive.
#
#   tools/node-clients.sh [--lock] FOLDER
#
# The lock file pins every package by its hash and names no registry. With
# --lock it is written anew; without npm nothing is done, and the tests say so.
set -eu

lock=no
if [ "$1" = --lock ]; then
    lock=yes
    shift
fi
cd "$1"

if ! command -v npm >/dev/null 2>&1; then
    echo "node clients: npm is not installed, so the tests that use Node.js will fail; tools/system-packages.sh test installs it"
    exit 0
fi

if [ "$lock" = yes ]; then
    rm -f package-lock.json
    npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --silent
    exit 0
fi

wanted=$(sha256sum <package-lock.json)
if [ "$(cat node_modules/holds 2>/dev/null)" != "$wanted" ]; then
    echo "node clients: installing"
    npm ci --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --silent
    echo "$wanted" >node_modules/holds
fi
