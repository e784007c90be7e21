#!/bin/bash
# Makes this member's database the primary, for one term of the lock: runs exactly while it is held.
. /opt/mariadb/lib.sh
token=$CONTAINERPILOT_LOCK_PRIMARY_TOKEN
record=${CLUSTER:-ledger}/identity

# From here on follow.sh keeps its hands off; the kernel gives the lock back when this process ends.
exec 8>"$run/replication.lock"
flock --timeout 10 8 || die "replication is being changed for too long"

server=$(cat "$run/mariadbd.pid" 2>/dev/null)
LIMIT=2 here 'SELECT 1' >/dev/null 2>&1 || die "the database does not answer yet"

# Asks a member to promise itself to this term; its answer is its vote.
ask() { # member, file
    at "$1" "CALL node.promise_to($token)" || return
    settle at "$1" && at "$1" "$position" >"$2.new" && echo "$1" >>"$2.new" && mv "$2.new" "$2"
}

here "CALL node.promise_to($token)" || die "this term is over: a newer one is known here"
settle here || die "cannot apply what was received"
# Read after the promise, so that a term which began earlier has written it, or cannot any more.
known=$(consul_get "$record") || die "cannot ask Consul whose data this is"

votes=$run/votes
rm -rf "$votes" && mkdir -p "$votes"
for member in $(others); do
    (until ask "$member" "$votes/$member" 2>/dev/null; do sleep 0.3; done) &
done
# Members without the cluster's data have no vote once there is such data: they may have forgotten.
count() {
    local file id count=0
    for file in "$votes"/*[0-9] "$votes/self"; do
        [ -e "$file" ] || continue
        read -r id _ <"$file"
        [ -n "$known" ] && [ "$id" != "$known" ] || count=$((count + 1))
    done
    echo "$count"
}
{ here "$position"; echo self; } >"$votes/self"
until [ "$(count)" -ge "$(majority)" ]; do
    here "CALL node.raise_promise($token)" >/dev/null 2>&1 || die "a newer term is known here"
    sleep 0.05
done
mapfile -t children < <(jobs -p)
[ ${#children[@]} = 0 ] || kill "${children[@]}" 2>/dev/null

# The most of all votes, our own if it is as good: whatever was ever acknowledged is in it.
read -r id term _ place best <<<"$(for file in "$votes"/*[0-9] "$votes/self"; do
    [ ! -e "$file" ] || paste -s "$file"
done | { [ -n "$known" ] && grep "^$known" || cat; } | sort -s -k2,2n -k3,3n | tail -n 1)"
if [ "$best" != self ]; then
    say "catching up with $best, up to $place"
    here "CALL node.follow($token, '$best', '$REPLICATION_PASSWORD')" || die "cannot catch up"
    if [ "$(LIMIT=12 here "SELECT MASTER_GTID_WAIT('$place', 10)")" != 0 ]; then
        now=$(here 'SHOW SLAVE STATUS\G')
        ! is_diverged "$now" || declare_unfit "$(why "$now")"
        die "cannot catch up with $best"
    fi
fi
here 'STOP SLAVE; RESET SLAVE ALL; SET GLOBAL rpl_semi_sync_master_enabled = ON' ||
    die "cannot end replication"
[ "$term" -le "$token" ] || die "the data has seen term $term already"

# Those who promised follow at once, unless their own follow.sh was quicker; it brings the rest.
draw() { # member
    local now
    now=$(at "$1" 'SHOW SLAVE STATUS\G')
    [ "$(field Master_Host <<<"$now")" = "$SELF" ] &&
        [ "$(field Slave_IO_Running <<<"$now")" = Yes ] ||
        at "$1" "CALL node.follow($token, '$SELF', '$REPLICATION_PASSWORD')"
}
for file in "$votes"/*[0-9]; do
    [ ! -e "$file" ] || draw "${file##*/}" &
done

# The term's first transaction. It waits until another member has it, which therefore follows us.
found=""
if [ "$id" = - ]; then
    id=$(cat /proc/sys/kernel/random/uuid)
    found="INSERT INTO cluster.identity VALUES (1, '$id');"
    say "founding cluster $id"
fi
echo "$token" >"$base/term"
LIMIT=0 here "BEGIN; $found INSERT INTO cluster.terms (token, member) VALUES ($token, '$SELF')
    ON DUPLICATE KEY UPDATE begun = NOW(3); COMMIT" || die "cannot begin the term"

# Written once, when two members have the data: from now on no other data is the cluster's.
until known=$(consul_get "$record") && [ -n "$known" ]; do
    consul_create "$record" "$id"
    sleep 0.2
done
[ "$known" = "$id" ] || { declare_unfit "the cluster is $known, this is $id"; exit 1; }

here 'SET GLOBAL read_only = OFF' || die "cannot become writable"
say "primary of term $token"

# A database that crashed and came back is nobody again.
while kill -0 "$server" 2>/dev/null && [ "$(cat "$run/mariadbd.pid" 2>/dev/null)" = "$server" ]; do
    sleep 0.5 &
    wait $!
done
die "the database has gone"
