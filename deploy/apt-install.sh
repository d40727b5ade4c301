#!/usr/bin/env bash
# Installs the Debian packages of a development machine that are missing; who is not root is told what to install.
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
# The tests make clusters of their own: none that runs all the time is wanted.
mkdir -p /etc/postgresql-common/createcluster.d
echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/none.conf
apt-get install -qy --no-install-recommends "${missing[@]}"
