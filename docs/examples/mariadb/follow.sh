#!/bin/bash
# Brings this member to replicate from the holder of the lock, if it does not yet. Runs again and
# again.
. /opt/mariadb/lib.sh
holder=${CONTAINERPILOT_LOCK_PRIMARY_HOLDER:-}
token=${CONTAINERPILOT_LOCK_PRIMARY_TOKEN:-}

[ -n "$holder" ] && [ "$holder" != "$SELF" ] || exit 0
LIMIT=2 here 'SELECT 1' >/dev/null 2>&1 || exit 0

status() { here 'SHOW SLAVE STATUS\G'; }
follows() {
    local now
    now=$(status) || return 1
    [ "$(field Master_Host <<<"$now")" = "$holder" ] &&
        [ "$(field Slave_IO_Running <<<"$now")" = Yes ] &&
        [ "$(field Slave_SQL_Running <<<"$now")" = Yes ]
}
follows && exit 0

promised=$(here 'SELECT token FROM node.promise') && [ "$promised" -le "$token" ] || exit 0
theirs=$(at "$holder" 'SELECT COALESCE((SELECT id FROM cluster.identity), "-"),
    (SELECT COALESCE(MAX(token), 0) FROM cluster.terms)' 2>/dev/null) || exit 0
read -r id term <<<"$theirs"
read -r own _ <<<"$(here "$position")"
# Whoever has begun a term has, by a majority's word, all that was ever acknowledged.
leads() { [ "$term" = "$token" ]; }
if [ "$own" != - ] && [ "$id" != - ] && [ "$own" != "$id" ]; then
    ! leads || declare_unfit "it is of cluster $own, not $id"
    exit 0
fi

# One at a time, and never while primary.sh is at work.
exec 8>"$run/replication.lock"
flock --nonblock 8 || exit 0

# What was received has been acknowledged perhaps: it is applied before the link changes.
here 'STOP SLAVE IO_THREAD'
settle here || say "cannot apply all that was received"
here "CALL node.follow($token, '$holder', '$REPLICATION_PASSWORD')" || exit 0
for _ in {1..30}; do
    if follows; then
        say "following $holder, term $token"
        exit 0
    fi
    now=$(status)
    if is_diverged "$now"; then
        # Histories differ, or the leader has not kept what is missing here.
        ! leads || declare_unfit "$(why "$now")"
        exit 0
    fi
    sleep 0.1
done
exit 0
