# shellcheck shell=bash
# Sourced by every script here: the checkout's root, progress, and the Python environment.
# The environment lives outside the checkout, named by the content of what it was made from,
# so that a fresh clone finds it ready and an edited lock file gets a new one.
set -euo pipefail
shopt -s inherit_errexit

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lowlatency.trading

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "'$*' needs root: run this as root, or install sudo"
  fi
}

# apt_packages PACKAGE…: install what is not there yet; quick when nothing is to do.
apt_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing packages: ${missing[*]}; apt-get is not here, install them by hand"
  say "Installing Debian packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed (Debian 12, Ubuntu 24.04 and newer have it): apt-get install python3 python3-venv"
}

# use_venv: make the environment when it is not there, and put it first on PATH.
use_venv() {
  local python digest venv
  python=$(find_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_packages python3-venv
  digest=$( { "$python" -VV; cat "$root/requirements-dev.lock"; } | sha256sum | cut -c1-16)
  venv=$cache/venv-$digest
  mkdir -p "$cache"
  exec 9>"$cache/venv.lock"
  flock 9
  if [ ! -e "$venv/.complete" ]; then
    say "Making the Python environment (once for each lock file)"
    rm -rf "$venv" "$cache/uv"
    "$python" -m venv "$cache/uv"
    "$cache/uv/bin/pip" install -q --disable-pip-version-check uv >&2
    "$cache/uv/bin/uv" venv -q --python "$python" "$venv"
    "$cache/uv/bin/uv" pip install -q --python "$venv/bin/python" -r "$root/requirements-dev.lock" >&2
    touch "$venv/.complete"
  fi
  exec 9>&-
  export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
  export PYTHONPATH=$root/files/engine/src:$root/sandbox/src${PYTHONPATH:+:$PYTHONPATH}
  export PYTHONDONTWRITEBYTECODE=1
}
