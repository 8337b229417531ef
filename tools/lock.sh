#!/bin/bash
# Write the pinned and hashed requirement lists anew, from pyproject.toml and requirements/*.in.
#
#   tools/lock.sh [--upgrade]
#
# The lists hold for every Python from 3.11 on (markers tell the versions apart),
# and carry no address of any registry: whoever installs from them has their own.
# Without --upgrade what is pinned stays pinned as long as it fits.
set -eu

cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet uv

lock() {
    output=$1
    shift
    "$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-config \
        --output-file "$output" "$@"
}

lock requirements/build.txt "$@" requirements/build.in
lock requirements/runtime.txt "$@" --constraint requirements/build.txt pyproject.toml requirements/build.in
lock requirements/dev.txt "$@" --constraint requirements/runtime.txt pyproject.toml requirements/build.in requirements/dev.in
lock requirements/bench.txt "$@" --constraint requirements/dev.txt \
    pyproject.toml requirements/build.in requirements/dev.in requirements/bench.in
lock requirements/fuzz.txt "$@" --constraint requirements/dev.txt \
    pyproject.toml requirements/build.in requirements/dev.in requirements/fuzz.in
