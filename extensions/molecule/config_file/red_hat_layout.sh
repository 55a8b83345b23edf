#!/bin/sh
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: red_hat_layout.sh MAJOR. The packages of the PostgreSQL project for Red Hat: one directory, one unit for each.
set -eu
major=$1
bin=/usr/lib/postgresql/$major/bin
data=/var/lib/pgsql/$major/data

systemctl disable --quiet --now postgresql
systemctl stop "postgresql@$major-main"
install -d -o postgres -g postgres -m 700 /var/lib/pgsql "/var/lib/pgsql/$major"
runuser -u postgres -- "$bin/initdb" --pgdata="$data" --auth-local=peer --auth-host=scram-sha-256 >/dev/null
cat >"/etc/systemd/system/postgresql-$major.service" <<EOF
[Unit]
Description=PostgreSQL $major
After=network.target

[Service]
Type=notify
User=postgres
RuntimeDirectory=postgresql
Environment=PGDATA=$data
ExecStart=$bin/postgres -D \${PGDATA}
ExecReload=/bin/kill -HUP \$MAINPID
KillMode=mixed
KillSignal=SIGINT

[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload
systemctl enable --quiet --now "postgresql-$major"
