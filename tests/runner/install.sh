#!/usr/bin/env bash
# Install Debian packages for parts of the tests: install.sh SET…   (parts.py names each part's sets)
. "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
declare -A sets=(
  [balancer]="${balancer_packages[*]}"
  [browser]="chromium ethtool prometheus"
  [client]="locales nftables openssh-client openssl tshark util-linux"
  [compiler]="gcc libc6-dev openssl python3-dev"
  [machines]="${machine_packages[*]} nmap"
  [own-kernel]="${own_kernel_packages[*]}"
  [shell]="shellcheck"
  [tls]="stunnel4"
)
# Unpack chrony without installing it. Its service would replace the program that sets this machine's clock.
unpack_chrony() {
  [ -x /usr/sbin/chronyd ] || [ -x "$cache/chrony/usr/sbin/chronyd" ] && return
  local into
  say "Unpacking Debian's package chrony"
  command -v apt-get >/dev/null || die "missing package: chrony; apt-get is not here, unpack it into $cache/chrony by hand"
  mkdir -p "$cache"
  into=$(mktemp -d -p "$cache")
  as_root apt-get -o DPkg::Lock::Timeout=300 update -qq
  (cd "$into" && apt-get download -qq chrony >&2 && dpkg-deb -x chrony_*.deb chrony)
  rm -rf "$cache/chrony"
  mv "$into/chrony" "$cache/chrony"
  rm -r "$into"
}
packages=()
for name; do
  is_one_of "$name" "${!sets[@]}" time
  if [ "$name" = time ]; then
    unpack_chrony
    continue
  fi
  read -ra some <<<"${sets[$name]}"
  packages+=("${some[@]}")
done
apt_packages "${packages[@]}"
