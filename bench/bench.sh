#!/usr/bin/env bash
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Times this collection beside the generic modules and the floor of Ansible itself. Called by `make bench`; arguments
# go to measure.py (bench.sh --help). Throwaway PostgreSQL servers run in a network namespace of their own, so that
# neither the servers of this machine nor its kernel's settings are touched. Works as root and as a plain user.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
python=$root/.venv/bin/python
peers=$root/.cache/bench/collections
servers=2 # the hosts are spread over them

# The generic modules, out of the package `ansible`: Galaxy need not be reachable, and 500 MB need not be installed.
get_peers() {
    [ ! -d "$peers" ] || return 0
    local download
    download=$(mktemp -d)
    "$python" -m pip download --quiet --no-deps --disable-pip-version-check --dest "$download" "ansible>=14,<15"
    mkdir -p "$peers.new"
    "$python" - "$download"/*.whl "$peers.new" <<'PYTHON'
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    wanted = ("ansible_collections/community/postgresql/", "ansible_collections/ansible/posix/")
    wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith(wanted)])
PYTHON
    rm -r "$download"
    mv "$peers.new" "$peers"
}

# The newest server of this host; where it has none, the one in the wheel.
server_bindir() {
    PYTHONPATH=$root/tests "$python" - <<'PYTHON'
from support import sources

found = [source for source in sources.available_majors().values() if source.kind != "image"]
print(max(found, key=lambda source: (source.kind == "host", source.major)).ready().bindir)
PYTHON
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# shellcheck disable=SC2329  # the trap below calls it
stop() {
    local data
    for data in "$work"/servers/*/; do
        (cd / && "${as_owner[@]}" "$bindir/pg_ctl" -D "$data" -m immediate stop >/dev/null) || true
    done
    rm -r "$work"
}

# Runs in the namespace.
inside() {
    local number ports=() port
    bindir=$(server_bindir)
    as_owner=()
    ip link set lo up
    work=$(mktemp -d "${TMPDIR:-/tmp}/pgharden-bench.XXXXXX")
    chmod 755 "$work"
    mkdir "$work/servers" "$work/sockets"
    if [ "$(id -u)" = 0 ]; then
        local owner
        owner=$(PYTHONPATH=tests "$python" -c 'from support import places; print(places.server_user().pw_name)')
        chown "$owner" "$work/servers" "$work/sockets"
        as_owner=(runuser -u "$owner" --)
    fi
    trap stop EXIT
    for ((number = 0; number < servers; number++)); do
        port=$(free_port)
        local data=$work/servers/$number
        (
            cd / # where the servers' user may be, too
            "${as_owner[@]}" "$bindir/initdb" -D "$data" -U postgres --auth=trust --no-sync >/dev/null
            printf '%s\n' "port = $port" "listen_addresses = '127.0.0.1'" "unix_socket_directories = '$work/sockets'" \
                "max_connections = 300" "fsync = off" "autovacuum = off" |
                "${as_owner[@]}" tee -a "$data/postgresql.conf" >/dev/null
            "${as_owner[@]}" "$bindir/pg_ctl" -D "$data" -l "$data/log" -w start >/dev/null
        )
        ports+=("$port")
    done
    export ANSIBLE_CONFIG=$root/bench/ansible.cfg ANSIBLE_COLLECTIONS_PATH=$root/.ansible/collections:$peers
    export PATH=$root/.venv/bin:$PATH # for the "env python" of peak_rss.py
    export ANSIBLE_HOME=$work/ansible ANSIBLE_REMOTE_TEMP=$work/ansible/remote
    echo "$(date +%F), $(nproc) processors, Linux $(uname -r), $("$python" --version), $("$bindir/postgres" --version)"
    "$root/.venv/bin/ansible" --version | sed -n 1p
    ANSIBLE_COLLECTIONS_PATH=$peers "$root/.venv/bin/ansible-galaxy" collection list 2>/dev/null |
        awk '$1 ~ /^(community.postgresql|ansible.posix)$/ { print $1, $2 }'
    "$python" bench/measure.py --work "$work" --ports "$(IFS=,; echo "${ports[*]}")" "$@"
}

case " $* " in *" --help "* | *" -h "*) exec "$python" bench/measure.py --help ;; esac
if [ "${BENCH_INSIDE:-}" ]; then
    inside "$@"
    exit
fi
get_peers
namespace=(unshare --net)
[ "$(id -u)" = 0 ] || namespace=(unshare --user --map-current-user --keep-caps --net)
BENCH_INSIDE=1 exec "${namespace[@]}" "$BASH" bench/bench.sh "$@"
