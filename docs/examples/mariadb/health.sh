#!/bin/bash
# Tells by its status whether this member is what it is advertised as.
. /opt/mariadb/lib.sh
LIMIT=2
case $1 in
    alive)
        [ "$(here 'SELECT 1')" = 1 ]
        ;;
    primary)
        [ "$(here 'SELECT @@read_only')" = 0 ]
        ;;
    replica)
        now=$(here 'SHOW SLAVE STATUS\G') &&
            [ "$(field Master_Host <<<"$now")" = "${CONTAINERPILOT_LOCK_PRIMARY_HOLDER:-}" ] &&
            [ "$(field Slave_IO_Running <<<"$now")" = Yes ] &&
            [ "$(field Slave_SQL_Running <<<"$now")" = Yes ] &&
            [ "$(field Seconds_Behind_Master <<<"$now")" -le "${LAG_MAX:-10}" ]
        ;;
    *) exit 2 ;;
esac
