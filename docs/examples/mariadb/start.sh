#!/bin/bash
# Starts this member's MariaDB as nobody: read-only, replicating from nowhere; who it is comes
# later.
# Makes the data folder when there is none that is fit for use.
. /opt/mariadb/lib.sh

# Kept by mariadbd itself: never two of them on one folder.
mkdir -p "$base"
exec 9>"$base/lock"
flock --timeout 20 9 || die "another mariadbd still has the data"

server_id() { local IFS=.; set -- $SELF; echo $(($3 * 256 + $4)); }

options=(
    --no-defaults --user=mysql --datadir="$data" --socket="$socket" --pid-file="$run/mariadbd.pid"
    --server-id="$(server_id)" --log-bin=binlog --log-slave-updates --binlog-format=ROW
    --gtid-strict-mode --sync-binlog=1 --innodb-flush-log-at-trx-commit=1
    --relay-log=relay --sync-relay-log=1 --slave-net-timeout=2 --slave-parallel-threads=4
    # Until told otherwise.
    --read-only --skip-slave-start --rpl-semi-sync-master-enabled=OFF
    # No commit is acknowledged before another member has it, however long that takes.
    --rpl-semi-sync-master-wait-point=AFTER_SYNC --rpl-semi-sync-master-timeout=4294967295
    --skip-name-resolve --innodb-buffer-pool-size="${BUFFER_POOL:-128M}"
)

# Runs a command while a server answers that nobody else can reach.
in_private() {
    local server status=0 socket=$run/private.socket
    mariadbd "${options[@]}" --skip-networking --socket="$socket" >"$run/setup.log" 2>&1 &
    server=$!
    until here 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server" 2>/dev/null || { tail -n 5 "$run/setup.log"; return 1; }
        sleep 0.1
    done
    "$@" || status=1
    kill "$server"
    wait "$server"
    return "$status"
}

# The member with the most of the cluster's data, if any can be reached.
richest() {
    local member id rest
    for member in $(others); do
        read -r id rest <<<"$(at "$member" "$position" 2>/dev/null)" || continue
        [ "${id:--}" = - ] || echo "$rest $member"
    done | sort -n -k1,1 -k2,2 | awk 'END { print $4 }'
}

# Takes a copy of a member's data, as of one moment.
copy_from() {
    local from=$1 dump=$base/copy.sql place databases
    databases=$(at "$from" 'SELECT schema_name FROM information_schema.schemata WHERE schema_name
        NOT IN ("mysql", "information_schema", "performance_schema", "sys", "node")') || return 1
    # shellcheck disable=SC2086 # one word a database
    MYSQL_PWD=$ADMIN_PASSWORD timeout "${COPY_LIMIT:-600}" mariadb-dump --no-defaults \
        --host="$from" --user=admin --single-transaction --master-data=2 --gtid --routines \
        --events --triggers --databases $databases >"$dump" || return 1
    place=$(sed -n "s/^-- SET GLOBAL gtid_slave_pos='\([^']*\)'.*/\1/p" "$dump" | head -n 1)
    [ -n "$place" ] || return 1
    { echo 'SET SESSION sql_log_bin = 0;'; cat "$dump"; } | LIMIT=${COPY_LIMIT:-600} here ||
        return 1
    here "RESET MASTER; SET GLOBAL gtid_binlog_state = '$place';
        SET GLOBAL gtid_slave_pos = '$place'" || return 1
    rm -f "$dump"
    say "copied from $from, up to $place"
}

fill() {
    local from
    sed -e "s/@ADMIN_PASSWORD@/$ADMIN_PASSWORD/" -e "s/@APP_PASSWORD@/$APP_PASSWORD/" \
        -e "s/@REPLICATION_PASSWORD@/$REPLICATION_PASSWORD/" /opt/mariadb/setup.sql | here ||
        return 1
    from=$(richest)
    [ -z "$from" ] || copy_from "$from"
}

if [ ! -e "$base/complete" ]; then
    rm -rf "$data"
    mariadb-install-db --no-defaults --user=mysql --datadir="$data" --skip-test-db \
        --auth-root-authentication-method=socket --skip-name-resolve >"$run/install.log" 2>&1 ||
        die "cannot make an empty database: $(tail -n 3 "$run/install.log")"
    in_private fill || die "cannot fill the empty database"
    touch "$base/complete"
fi

# A primary that crashed may have written what no other member has. Once somebody else leads, that
# was never acknowledged and never will be: recovery then cuts it off, so that this member can
# follow. Who cannot ask anybody waits, for there is nobody to serve.
newest() {
    local member
    for member in $(others); do
        at "$member" 'SELECT token FROM node.promise' 2>/dev/null
    done | sort -n | tail -n 1
}

led=$(cat "$base/term" 2>/dev/null)
if [ -n "$led" ]; then
    until newest=$(newest) && [ -n "$newest" ]; do
        # All of them may be in this very place after a crash of everything.
        [ "$SECONDS" -lt 5 ] || ! consul_get "${CLUSTER:-ledger}/identity" >/dev/null || break
        sleep 0.5
    done
    [ "${newest:-0}" -le "$led" ] ||
        options+=(--rpl-semi-sync-slave-enabled=ON --init-rpl-role=SLAVE)
fi

exec mariadbd "${options[@]}" --bind-address=0.0.0.0
