#!/usr/bin/env bash
# Makes a Docker engine answer: some tests are about containers. Starts one where none runs, as
# root; fails when there is still none afterwards. Safe to run again.
set -euo pipefail

answers() { timeout 10 docker info >/dev/null 2>&1; }

command -v docker >/dev/null || {
    echo "there is no Docker on this machine: install docker.io, or your own" >&2
    exit 1
}
# One that was started with the machine may need a moment.
for _ in 1 2 3; do
    if answers; then exit 0; fi
    sleep 1
done
if [ "$(id -u)" -ne 0 ]; then
    echo "no Docker engine answers, and only root can start one" >&2
    exit 1
fi
log=/var/log/steersman-tests-dockerd.log
echo "no Docker engine answers: starting one (log: $log)"
# A file that a dead engine left behind keeps a new one from starting.
pidfile=/var/run/docker.pid
if [ -e "$pidfile" ] && ! grep -qs dockerd "/proc/$(cat "$pidfile")/comm"; then rm -f "$pidfile"; fi
setsid nohup dockerd </dev/null >>"$log" 2>&1 &
for _ in $(seq 60); do
    if answers; then exit 0; fi
    sleep 1
done
echo "the Docker engine does not answer; the end of $log:" >&2
tail -n 20 "$log" >&2
exit 1
