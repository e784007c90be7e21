#!/bin/bash
# Runs before the database is told to end: what is under way is finished, nothing new begins.
. /opt/mariadb/lib.sh
server=$(cat "$run/mariadbd.pid" 2>/dev/null) || exit 0
if LIMIT=1 here 'SET GLOBAL read_only = ON' 2>/dev/null; then
    [ "$(here 'SELECT @@rpl_semi_sync_master_enabled')" = 1 ] || exit 0
    # The replicas have everything. They let go now: a link that breaks by itself is sought for
    # seconds, in which they cannot promise themselves to the next one.
    for member in $(others); do
        LIMIT=0.5 at "$member" 'STOP SLAVE IO_THREAD' 2>/dev/null &
    done
    wait
    exit 0
fi

# Some writes wait for an acknowledgement that does not come. An orderly end would commit them here
# and nowhere else; after a kill, recovery can still cut them off.
kill -0 "$server" 2>/dev/null || exit 0
say "writes wait for other members in vain: no orderly end"
kill -KILL "$server" 2>/dev/null
