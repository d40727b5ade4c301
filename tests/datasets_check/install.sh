#!/usr/bin/env bash
# Make a Python environment with real LeRobot in the folder $1: 0.6.1 if there is a Python 3.12 or later (LEROBOT_PYTHON,
# on the PATH, of pyenv or of uv), else 0.4.4. 2 GB, or 6 GB where pip finds only a torch for graphics cards. Done once.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1
here=tests/datasets_check
ready=$folder/ready # is there once all is installed
[ "$ready" -nt $here/install.sh ] && exit

fail() {
    echo "datasets-check needs LeRobot, which could not be installed: $1" >&2
    exit 1
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# A command may be there and not run: pyenv has one for each of its versions, and runs those that are chosen.
find_python() {
    local candidate own=(python3.1{2,3,4} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-4].*/bin/python)
    own+=("$(uv python dir 2>/dev/null || true)"/cpython-3.1[2-4].*/bin/python3)
    for candidate in ${LEROBOT_PYTHON:-"${own[@]}" python3.11 python3}; do
        version=$(version_of "$candidate") && python=$(command -v "$candidate") && return
    done
    fail "no Python 3.11 or later found"
}

find_python
case $version in
    3.11) lerobot=0.4.4 ;;
    3.1[2-9]) lerobot=0.6.1 ;;
    *) fail "$python is Python $version; 3.11 or later expected" ;;
esac
echo "LeRobot $lerobot with $python (Python $version)"

packages=(ffmpeg) # torchcodec loads the libraries of FFmpeg
# torchcodec loads Python's library too; Debian has it in a package of its own.
case $(realpath "$python") in /usr/bin/*) packages+=("libpython$version") ;; esac
deploy/apt-install.sh "${packages[@]}" || fail "install ${packages[*]} first"

rm -rf "$folder"
"$python" -m venv "$folder" || fail "$python cannot make a virtual environment"
install=("$folder/bin/pip" install -q --disable-pip-version-check)
if [ $lerobot = 0.4.4 ]; then
    "${install[@]}" torch==2.13.0 && "${install[@]}" --no-deps -r $here/lerobot-0.4.4.txt
else
    "${install[@]}" "lerobot[dataset]==$lerobot"
fi || fail "pip's message is above"
"${install[@]}" lerobot-doctor==0.2.0 || fail "pip's message is above"
"${install[@]}" --no-deps --target "$folder/lerobot-0.3.3" -r $here/lerobot-0.3.3.txt || fail "pip's message is above"
touch "$ready"
