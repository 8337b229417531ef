#!/bin/bash
# Bring a virtual environment in line with one of the pinned lists.
#
#   tools/venv.sh FOLDER runtime|dev|bench|fuzz
#
# Nothing is done when the folder already holds what the list says, for this
# Python and at this place; it is built anew when the runtime list, the Python
# or the place changed. The package itself is installed as a link to the clone.
set -eu

cd "$(dirname "$0")/.."
folder=$1
list=$2
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "venv: Flying Low needs Python 3.11 or later, and '$python' is none; name one with: make PYTHON=/path/to/python ..." >&2
    exit 1
fi

# The fingerprint of a list: the list, what builds packages, the Python, the place.
fingerprint() {
    {
        cat requirements/build.txt "requirements/$1.txt"
        "$python" -c 'import sys; print(sys.version, sys.base_prefix)'
        pwd
    } | sha256sum | cut -d ' ' -f 1
}

holds() {
    [ "$(cat "$folder/holds-$1" 2>/dev/null)" = "$(fingerprint "$1")" ]
}

pip_install() {
    "$folder/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@"
}

if ! holds "$list"; then
    # The longer lists hold the shorter ones, pin by pin, so those may be built upon.
    if ! holds runtime; then
        echo "venv: creating $folder with $("$python" --version)"
        "$python" -m venv --clear "$folder" || {
            echo "venv: '$python' cannot create virtual environments; on Debian, install python3-venv" >&2
            exit 1
        }
    fi
    echo "venv: installing requirements/$list.txt into $folder"
    pip_install --require-hashes -r requirements/build.txt
    pip_install --require-hashes --no-build-isolation -r "requirements/$list.txt"
    rm -f "$folder/holds-project"
    case $list in
        runtime) held="runtime" ;;
        dev) held="runtime dev" ;;
        *) held="runtime dev $list" ;;
    esac
    for one in $held; do
        fingerprint "$one" >"$folder/holds-$one"
    done
fi

# Commands and entry points are taken from pyproject.toml at installation.
project=$(sha256sum <pyproject.toml)
if [ "$(cat "$folder/holds-project" 2>/dev/null)" != "$project" ]; then
    pip_install --no-deps --no-index --no-build-isolation -e .
    echo "$project" >"$folder/holds-project"
fi
