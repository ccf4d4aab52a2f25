# shellcheck shell=bash
# Every script here sources this. It sets the checkout's root, and has functions for messages and for the Python
# environment. That is outside the checkout, and its name is computed from the Python version and the lock file. So a
# fresh clone uses an existing environment, and a changed lock file gets a new one.
set -euo pipefail
shopt -s inherit_errexit

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lowlatency.trading
uv_version=0.13.9
uv=$cache/uv-$uv_version/bin/uv
# Debian packages for compiling the engine on this machine.
compiler_packages=(gcc libc6-dev python3-dev)
# Debian packages that machines of the embedded EC2 need on this machine, including those for a deployment to them.
# shellcheck disable=SC2034  # used by the scripts that source this
machine_packages=("${compiler_packages[@]}" debian-archive-keyring iproute2 mmdebstrap mount nftables procps systemd-container util-linux)
# shellcheck disable=SC2034
own_kernel_packages=(e2fsprogs qemu-system-x86)
# The Debian package of the program that acts as a load balancer. Only scripts that create load balancers install it.
# shellcheck disable=SC2034
balancer_packages=(haproxy)

# sudo drops the environment, so the proxies for package downloads are passed on explicitly.
proxies=()
for proxy in {http,https,all,no}_proxy {HTTP,HTTPS,ALL,NO}_PROXY; do
  [ -z "${!proxy:-}" ] || proxies+=("$proxy=${!proxy}")
done

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo -H env "${proxies[@]}" "$@"
  else die "'$*' needs root: run this as root, or install sudo"
  fi
}

# apt_packages PACKAGE…: install the packages that are missing. It is fast when none is.
apt_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local lock
  mkdir -p "$cache"
  exec {lock}>"$cache/apt.lock"
  flock "$lock"
  command -v apt-get >/dev/null || die "missing packages: ${missing[*]}; apt-get is not here, install them by hand"
  say "Installing Debian packages: ${missing[*]}"
  as_root apt-get -o DPkg::Lock::Timeout=300 update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
    "${missing[@]}" >&2
  exec {lock}>&-
}

# find_python: print the path of a suitable Python. The distribution's own is preferred, because it is built with the
# compiler's optimisations. Without them (pyenv's default) the same engine takes 1.4 times as long.
find_python() {
  local candidate
  for candidate in /usr/bin/python3 python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed (Debian 12, Ubuntu 24.04 and newer have it): apt-get install python3 python3-venv"
}

# need_uv PYTHON: install the installer uv at the path $uv, unless it exists.
need_uv() {
  [ ! -x "$uv" ] || return 0
  "$1" -m venv "${uv%/bin/uv}"
  "${uv%uv}pip" install -q --disable-pip-version-check "uv==$uv_version" >&2
}

# require_space DIRECTORY MEGABYTES: end with a message when the directory's disk has less free space.
require_space() {
  local free
  free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$2" ] || die "$1 has $free MB free, $2 MB are needed: make room there (XDG_CACHE_HOME names another place)"
}

# use_venv: make the Python environment unless it exists, and put it first on PATH.
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
    rm -rf "$venv"
    require_space "$cache" 1200
    need_uv "$python"
    "$uv" venv -q --python "$python" "$venv"
    # The lock file has all dependencies except those that files/engine/overrides.txt removes. So --no-deps is needed.
    "$uv" pip install -q --no-deps --python "$venv/bin/python" -r "$root/requirements-dev.lock" >&2
    touch "$venv/.complete"
  fi
  exec 9>&-
  export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
  export PYTHONPATH=$root/files/engine/src:$root/sandbox/src${PYTHONPATH:+:$PYTHONPATH}
  export PYTHONPYCACHEPREFIX=$cache/pycache  # every Ansible task imports boto3: compiled once, and not into the checkout
  unset PYTHONDONTWRITEBYTECODE              # of an image that saves its own space: each task would compile all of it anew
}

# packages_apart DIRECTORY LOCK: install exactly the packages of a lock file into a directory, for use in PYTHONPATH.
packages_apart() {
  local wanted
  wanted=$(python -VV; cat "$2")
  [ ! -e "$1/.made-of" ] || [ "$(cat "$1/.made-of")" != "$wanted" ] || return 0
  say "Installing what ${2#"$root/"} names"
  rm -rf "$1"
  need_uv python
  "$uv" pip install -q --python "$(command -v python)" --target "$1" --no-deps --require-hashes -r "$2"
  printf '%s\n' "$wanted" >"$1/.made-of"
}

# is_one_of WORD CHOICE…: end with a message unless the word is one of the choices.
is_one_of() {
  local word=$1 choice
  shift
  for choice; do [ "$choice" != "$word" ] || return 0; done
  die "no part '$word'; there are: $*"
}

# build_collection DIRECTORY: build the tarball in the directory and print its path. The same files give the same bytes.
build_collection() {
  local made
  mkdir -p "$1"
  rm -f "$1"/lowlatency-trading-*.tar.gz
  ansible-galaxy collection build --output-path "$1" "$root" >/dev/null
  made=$(compgen -G "$1/lowlatency-trading-*.tar.gz")
  python "$root/scripts/same_bytes.py" "$made"
  printf '%s\n' "$made"
}

# install_collection DIRECTORY: build the tarball and install it in the directory, as a user would.
# The collections on which it depends are linked from the package `ansible`.
install_collection() {
  local into=$1 site tarball
  mkdir -p "$into"
  tarball=$(build_collection "$into/tarball")
  site=$(python -c 'import ansible_collections; print(ansible_collections.__path__[0])')
  mkdir -p "$into/ansible_collections"
  for namespace in amazon ansible community; do
    ln -sfn "$site/$namespace" "$into/ansible_collections/$namespace"
  done
  ansible-galaxy collection install --force --no-deps --offline -p "$into" "$tarball" >/dev/null
}
