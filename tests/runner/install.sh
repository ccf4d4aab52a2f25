#!/usr/bin/env bash
# Have Debian's packages for parts of the tests: install.sh SET…   (parts.py names the sets)
. "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
declare -A sets=(
  [browser]="chromium ethtool prometheus"
  [capture]="tshark"
  [client]="locales openssh-client openssl tshark"
  [compiler]="gcc libc6-dev openssl python3-dev"
  [machines]="${machine_packages[*]}"
  [own-kernel]="${own_kernel_packages[*]}"
  [shell]="shellcheck"
)
packages=()
for name; do
  is_one_of "$name" "${!sets[@]}"
  read -ra some <<<"${sets[$name]}"
  packages+=("${some[@]}")
done
apt_packages "${packages[@]}"
