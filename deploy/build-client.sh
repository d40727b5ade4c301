#!/usr/bin/env bash
# Build the wheel of the robots' client, which `manage.py serve` offers below /static/client/. Needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

# The same files make the same bytes, so a wheel changes only with the client.
export PATH="$PWD/.venv/bin:$PATH" SOURCE_DATE_EPOCH=315532800 # 1980, the first year of a zip file
offered=robots/static/client
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# A copy, because setuptools writes into the folder, and would find modules there that have been deleted since.
cp -r LICENSE client/pyproject.toml client/README.md client/teleop_client "$build"
pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w "$build/wheel" "$build"
wheel=("$build"/wheel/*.whl)

install -D -m 644 -t "$offered" "${wheel[0]}"
find "$offered" -type f ! -name "$(basename "${wheel[0]}")" -delete
touch "$offered" # make compares its time
