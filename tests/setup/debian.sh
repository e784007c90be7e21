# Shared by the set-up scripts; to be sourced. `debian_install NAME…` makes packages present:
# nothing happens for those that are, and no service is started. Tries again, because mirrors fail.

debian_missing() {
    local name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed ||
            echo "$name"
    done
}

debian_install() {
    local missing attempt guard=""
    missing=$(debian_missing "$@")
    [ -n "$missing" ] || return 0
    # invoke-rc.d asks this file before it starts a service; 101 is "do not".
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        guard=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$guard"
        chmod 755 "$guard"
    fi
    for attempt in 1 2 3; do
        # shellcheck disable=SC2086 # one word a package
        if debian_try_install $missing; then break; fi
        echo "debian: attempt $attempt to install failed: ${missing//$'\n'/ }" >&2
        sleep $((attempt * 5))
    done
    [ -z "$guard" ] || rm -f "$guard"
    missing=$(debian_missing "$@")
    [ -z "$missing" ] || { echo "debian: cannot install ${missing//$'\n'/ }" >&2; return 1; }
}

debian_try_install() {
    export DEBIAN_FRONTEND=noninteractive
    local options=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=5)
    apt-get "${options[@]}" update -qq </dev/null || true # an old list may do
    apt-get "${options[@]}" install -y -qq --no-install-recommends "$@" </dev/null
}
