#!/bin/sh
# Installs Consul 1.8.7, the reference of the conformance tests, from Debian bullseye.
#
# Run as root on Debian bookworm (or later). Safe to run again: does nothing when the right version
# is there. The bullseye source is pinned so low that nothing else ever comes from it.
set -eu

wanted=1.8.7
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

installed() {
    command -v consul >/dev/null 2>&1 || return 1
    consul version 2>/dev/null | grep -q "^Consul v\{0,1\}$wanted"
}

# The mirror that this machine takes its own packages from.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1
}

if installed; then
    echo "consul $wanted is already installed"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "cannot install consul $wanted: not root" >&2
    exit 1
fi

[ -n "$(mirror)" ] || apt-get update -q
cat >/etc/apt/sources.list.d/bullseye-consul.list <<LIST
deb [signed-by=$keyring] $(mirror) bullseye main
LIST
cat >/etc/apt/preferences.d/bullseye-consul <<PIN
Package: *
Pin: release n=bullseye
Pin-Priority: 1

Package: consul
Pin: release n=bullseye
Pin-Priority: 990
PIN

apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "consul=$wanted*"

if ! installed; then
    echo "cannot find consul $wanted after installing it" >&2
    exit 1
fi
echo "consul $wanted installed"
