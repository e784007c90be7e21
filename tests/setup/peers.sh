#!/usr/bin/env bash
# Installs the programs that the benchmark compares steersman with: tini, dumb-init, s6, runit and
# supervisor from Debian, Horust from the Rust registry (into target/peers). Needs root for
# Debian's. A peer that cannot be installed is left out of the tables; the benchmark says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/setup/debian.sh
source tests/setup/debian.sh

debian_install tini dumb-init s6 runit supervisor ||
    echo "peers: not all Debian peers are there" >&2

if [ ! -x target/peers/bin/horust ]; then
    cargo install horust --root target/peers --target-dir target/peers-build --locked \
        || echo "peers: cannot build horust" >&2
fi
