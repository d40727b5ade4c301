#!/usr/bin/env bash
# Install the missing Debian packages of a development machine. Without root, print the command that installs them.
set -euo pipefail

missing=()
for package in "$@"; do
    dpkg-query --show --showformat '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q ^ii || missing+=("$package")
done
[ ${#missing[@]} = 0 ] && exit
if [ "$(id -u)" != 0 ]; then
    echo "Needed: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# The tests create their own PostgreSQL clusters, so the package must not create one that always runs.
mkdir -p /etc/postgresql-common/createcluster.d
echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/none.conf
apt-get install -qy --no-install-recommends "${missing[@]}"
