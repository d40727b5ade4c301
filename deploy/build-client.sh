#!/usr/bin/env bash
# Build the wheels of the robots' client and of its plugin for LeRobot, which `manage.py serve` offers below
# /static/client/. Needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

# The same files make the same bytes, so a wheel changes only with its package.
export PATH="$PWD/.venv/bin:$PATH" SOURCE_DATE_EPOCH=315532800 # 1980, the first year of a zip file
offered=robots/static/client
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# Copies, because setuptools writes into the folder, and would find modules there that have been deleted since.
mkdir "$build/client" "$build/plugin"
cp -r LICENSE client/pyproject.toml client/README.md client/teleop_client "$build/client"
cp -r LICENSE client/lerobot_plugin/{pyproject.toml,README.md,lerobot_robot_teleop} "$build/plugin"
for package in client plugin; do
    pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w "$build/wheels" "$build/$package"
done

mkdir -p "$offered"
find "$offered" -type f -delete
install -m 644 -t "$offered" "$build"/wheels/*.whl
touch "$offered" # make compares its time
