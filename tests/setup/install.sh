#!/usr/bin/env bash
# Makes present what the tests run against. Does nothing where it is; fails where it cannot.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/setup/debian.sh
source tests/setup/debian.sh
mapfile -t packages < <(
    sed -e 's/[[:space:]]*#.*//' -e '/^[[:space:]]*$/d' tests/setup/packages.txt
)
[ "${#packages[@]}" = 0 ] || debian_install "${packages[@]}"
tests/setup/consul.sh
tests/setup/docker.sh
