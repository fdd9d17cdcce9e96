#!/bin/bash
# Make a virtual environment where there is none that works: scripts/venv.sh DIRECTORY
#
# Honours $PYTHON. A pyenv shim that stands for no version, or a python3 that is too old, is passed over. Debian's
# python3 comes without ensurepip; as root, the missing package is installed, otherwise the person is told its name.
set -euo pipefail
venv=${1:?directory}
export DEBIAN_FRONTEND=noninteractive

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

choose() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if usable "$candidate"; then echo "$candidate"; return 0; fi
  done
  echo "error: no Python >= 3.11 found" >&2
  echo "hint: install python3 (Debian 12 and later have it), or name one: make PYTHON=/path/to/python3" >&2
  return 1
}

install_ensurepip() {
  local package
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: $1 cannot make virtual environments" >&2
    echo "hint: as root, run: apt-get install $package" >&2
    return 1
  fi
  apt-get install -y -q --no-install-recommends "$package" >/dev/null 2>&1 ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends "$package"; }
}

if [ -x "$venv/bin/pip" ] && usable "$venv/bin/python"; then exit 0; fi
python=$(choose)
"$python" -c 'import ensurepip, venv' 2>/dev/null || install_ensurepip "$python"
"$python" -m venv --clear "$venv"
