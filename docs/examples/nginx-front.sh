#!/bin/sh
# The handlers of nginx-front.json5. Both write what the watch has read into NGINX's upstreams.
#
#   nginx-front.sh first     writes the whole configuration; NGINX is not there yet
#   nginx-front.sh update    writes the upstreams, and has NGINX read them when they differ
#
# RUN_DIR, PORT and PACE as in nginx-front.json5; one line in RUN_DIR/reloads for each reload.
set -eu
dir=${RUN_DIR:?}
port=${PORT:-8080}
snapshot=${CONTAINERPILOT_WATCH_BACK_END_FILE:?the watch has not read anything yet}

# One line for each instance, in an order that does not depend on Consul; a refusing one for none.
upstreams() {
    echo "upstream back_ends {"
    jq -r '
        [.instances[] | (.address | if contains(":") then "[\(.)]" else . end) + ":\(.port)"]
        | unique | if . == [] then ["127.0.0.1:1 down"] else . end
        | .[] | "    server \(.);"' "$snapshot"
    echo "}"
}

configuration() {
    cat <<CONF
worker_processes 1;
pid $dir/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    include $dir/upstreams.conf;
    server {
        listen $port;
        location = /health { return 204; }
        location / {
            proxy_pass http://back_ends;
            proxy_connect_timeout 1s;
            proxy_next_upstream error timeout http_502;
        }
    }
}
CONF
}

case ${1:-} in
first)
    mkdir -p "$dir"
    configuration >"$dir/nginx.conf"
    upstreams >"$dir/upstreams.new"
    mv "$dir/upstreams.new" "$dir/upstreams.conf"
    ;;
update)
    upstreams >"$dir/upstreams.new"
    if cmp -s "$dir/upstreams.new" "$dir/upstreams.conf"; then
        exit 0
    fi
    cp "$dir/upstreams.conf" "$dir/upstreams.old"
    mv "$dir/upstreams.new" "$dir/upstreams.conf"
    # What NGINX does not take must not be there when it starts again; this run is then repeated.
    if ! nginx -e stderr -t -q -c "$dir/nginx.conf" ||
        ! nginx -e stderr -s reload -c "$dir/nginx.conf"; then
        mv "$dir/upstreams.old" "$dir/upstreams.conf"
        exit 1
    fi
    count=$(grep -c 'server .*[0-9];' "$dir/upstreams.conf" || true)
    echo "$(date +%s.%N) $count" >>"$dir/reloads"
    # Changes until then are one further run.
    exec sleep "${PACE:-1}"
    ;;
*)
    echo "usage: nginx-front.sh first|update" >&2
    exit 2
    ;;
esac
