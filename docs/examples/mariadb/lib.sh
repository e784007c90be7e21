# Shared by the scripts of this folder; to be sourced. Every call has a time limit.
set -u
base=/var/lib/mariadb   # data folder and what belongs to it
data=$base/data
run=/run/mariadb        # gone with the container
socket=$run/mariadbd.socket
mkdir -p "$run" && chown mysql: "$run"

say() { echo "${0##*/}: $*"; }
die() { say "$*" >&2; exit 1; }

# Runs SQL on this member, from the argument or from standard input.
here() {
    timeout "${LIMIT:-5}" mariadb --no-defaults --socket="$socket" --user=root --batch \
        "$(names "${1:-}")" ${1:+--execute="$1"}
}

# Runs SQL on a member.
at() {
    MYSQL_PWD=$ADMIN_PASSWORD timeout "${LIMIT:-3}" mariadb --no-defaults --host="$1" \
        --connect-timeout=1 --user=admin --batch "$(names "$2")" --execute="$2"
}

# Only what is shown vertically, with \G, has names.
names() { case $1 in *'\G') echo --column-names ;; *) echo --skip-column-names ;; esac; }

others() {
    local member
    for member in $MEMBERS; do [ "$member" = "$SELF" ] || echo "$member"; done
}

majority() { # shellcheck disable=SC2086 # one word a member
    set -- $MEMBERS
    echo $(($# / 2 + 1))
}

# What a member's data is: cluster id (- when none), last term, last transaction of its history,
# whole position (- when none). Of two members with one id the greater pair (term, transaction) has
# everything that the other has.
position='SELECT COALESCE((SELECT id FROM cluster.identity), "-"),
    (SELECT COALESCE(MAX(token), 0) FROM cluster.terms),
    COALESCE(NULLIF(SUBSTRING_INDEX(@@gtid_binlog_pos, "-", -1), ""), 0),
    COALESCE(NULLIF(@@gtid_binlog_pos, ""), "-")'

# Waits until what was received is applied, so that the position tells everything; fails when it
# cannot be. Takes the command that asks: `here`, or `at` and a member.
settle() {
    local status _
    for _ in {1..200}; do
        status=$("$@" 'SHOW SLAVE STATUS\G') || return 1
        [ "$(field Last_SQL_Errno <<<"$status")" = 0 ] || [ -z "$status" ] || return 1
        [ "$(field Slave_SQL_Running <<<"$status")" = Yes ] || return 0
        [ "$(field Gtid_IO_Pos <<<"$status")" != "$("$@" 'SELECT @@gtid_slave_pos')" ] || return 0
        sleep 0.02
    done
    return 1
}

# Tells whether the replication status says that two histories differ, or that something is missing.
is_diverged() {
    case "$(field Last_IO_Errno <<<"$1"):$(field Last_SQL_Errno <<<"$1")" in
        1236:* | *:1032 | *:1062 | *:1950) return 0 ;;
        *) return 1 ;;
    esac
}

why() { grep -E 'Last_(IO|SQL)_Error: .' <<<"$1" | tr -s ' \n' ' '; }

# Shows one field of the replication status that a command prints; empty when there is none.
field() { sed -n "s/^ *$1: //p"; }

# Asks Consul for a key, consistently; fails when there is no answer, prints nothing when no key.
consul_get() {
    local answer
    answer=$(curl --silent --max-time 2 --write-out '\n%{http_code}' \
        "http://$CONSUL/v1/kv/$1?raw&consistent") || return 1
    case ${answer##*$'\n'} in
        200) echo "${answer%$'\n'*}" ;;
        404) ;;
        *) return 1 ;;
    esac
}

# Writes a key unless it exists; fails when it does, or when there is no answer.
consul_create() {
    [ "$(curl --silent --max-time 2 --request PUT --data "$2" \
        "http://$CONSUL/v1/kv/$1?cas=0")" = true ]
}

# This member's data is not the cluster's: the next start takes a copy of somebody else's.
declare_unfit() {
    say "the data here is not the cluster's ($*): a copy of another member's takes its place"
    rm -f "$base/complete"
    timeout 10 mariadb-admin --no-defaults --socket="$socket" --user=root shutdown
}
