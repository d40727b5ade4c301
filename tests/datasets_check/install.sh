#!/usr/bin/env bash
# Make a Python environment with real LeRobot in the folder $1. $2 is its version, 0.6.1 or 0.4.4; without $2 it is 0.6.1
# if there is a Python for it, else 0.4.4. 2 GB, or 6 GB where pip finds only a torch for graphics cards. Done once.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1 lerobot=${2:-}
here=tests/datasets_check
ready=$folder/ready # has the version once all is installed
[ "$ready" -nt $here/install.sh ] && [ "${lerobot:-$(<"$ready")}" = "$(<"$ready")" ] && exit

fail() {
    echo "LeRobot${lerobot:+ $lerobot} could not be installed: $1" >&2
    exit 1
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# Find a Python of the first of these versions that is there: LEROBOT_PYTHON, on the PATH, of pyenv or of uv.
# A command may be there and not run: pyenv has one for each of its versions, and runs those that are chosen.
find_python() {
    local candidate
    for version in "$@"; do
        for candidate in ${LEROBOT_PYTHON:-} "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python \
            "$(uv python dir 2>/dev/null || true)/cpython-$version".*/bin/python3 python3; do
            [ "$(version_of "$candidate")" = "$version" ] && python=$(command -v "$candidate") && return
        done
    done
    fail "none of Python $* found; install one, or set LEROBOT_PYTHON"
}

wanted=${lerobot:-$(version_of "${LEROBOT_PYTHON:-}" || true)}
case $wanted in
    0.6.1) find_python 3.12 3.13 3.14 ;;
    0.4.4) find_python 3.11 ;;
    3.1[1-4]) find_python "$wanted" ;;
    *) find_python 3.12 3.13 3.14 3.11 ;;
esac
[ "$version" = 3.11 ] && lerobot=0.4.4 || lerobot=0.6.1
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
    "${install[@]}" "lerobot[core-scripts,feetech]==$lerobot" websockets==17.4
fi || fail "pip's message is above"
"${install[@]}" lerobot-doctor==0.2.0 || fail "pip's message is above"
"${install[@]}" --no-deps --target "$folder/lerobot-0.3.3" -r $here/lerobot-0.3.3.txt || fail "pip's message is above"
echo $lerobot >"$ready"
