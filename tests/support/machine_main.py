# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as root on a machine under test: what a tester asks there, without anything of the collection.

`prepare` makes a login for the tester, `session` tells about a fresh TCP session and the kernel's view of its socket,
`found` tells all that hardening could touch. The last two print JSON.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time

# Its password is made here and never leaves the machine.
ROLE = "tester"
PASSFILE = "/root/.pgpass"
FILES = ["/etc/postgresql/**/*", "/etc/sysctl.conf", "/etc/sysctl.d/**/*", "/var/lib/pgharden-connection/**/*"]


def prepare() -> None:
    """A superuser who logs in with a password over TCP."""
    if os.path.exists(PASSFILE):
        return
    password = secrets.token_hex(16)
    subprocess.run(
        ["runuser", "-u", "postgres", "--", "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"],
        input=f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{password}';",
        check=True,
        text=True,
        cwd="/",
    )
    with open(os.open(PASSFILE, os.O_WRONLY | os.O_CREAT, 0o600), "w") as passfile:
        passfile.write(f"127.0.0.1:5432:*:{ROLE}:{password}\n")


def session() -> dict:
    began = time.monotonic()
    connection = _connect()
    settings = _settings(connection)
    port, started = _query(connection, "SELECT inet_client_port(), pg_postmaster_start_time()::text")[0]
    time.sleep(0.3)  # until the last answer is acknowledged: then the timer is the one of an idle session
    command = ["ss", "--no-header", "--tcp", "--all", "--numeric", "--options", "--info", "--oneline"]
    sockets = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = {"sockets": sockets, "lasted": time.monotonic() - began, "client_port": port, "started": started}
    connection.close()
    return {**told, "settings": settings, "sysctls": _sysctls()}


def found() -> dict:
    connection = _connect()
    settings = _settings(connection)
    (data,) = _query(connection, "SHOW data_directory")[0]
    rows = _query(connection, "SELECT setdatabase, setrole::regrole::text, setconfig FROM pg_db_role_setting")
    (started,) = _query(connection, "SELECT pg_postmaster_start_time()::text")[0]
    connection.close()
    files = {path for pattern in FILES for path in glob.glob(pattern, recursive=True)}
    files |= set(glob.glob(f"{data}/*.conf"))
    return {
        "settings": settings,
        "role settings": [list(row) for row in rows],
        "started": started,
        "sysctls": _sysctls(),
        "files": {path: _file(path) for path in sorted(files) if not os.path.isdir(path)},
    }


def _connect():
    import psycopg2

    return psycopg2.connect(host="127.0.0.1", port=5432, user=ROLE, dbname="postgres", passfile=PASSFILE)


def _query(connection, statement: str) -> list:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def _settings(connection) -> dict:
    columns = ["name", "setting", "unit", "source", "sourcefile", "sourceline", "reset_val", "pending_restart"]
    # What names the client differs from session to session.
    rows = _query(connection, f"SELECT {', '.join(columns)} FROM pg_settings WHERE source <> 'client' ORDER BY name")
    return {row[0]: {column: row[at] for at, column in enumerate(columns) if at} for row in rows}


def _sysctls() -> dict:
    values = {}
    for path in sorted(glob.glob("/proc/sys/net/ipv4/tcp_*")):
        try:
            with open(path) as file:
                values[f"net.ipv4.{os.path.basename(path)}"] = file.read().strip()
        except OSError:
            pass  # some can only be written
    return values


def _file(path: str) -> dict:
    status = os.lstat(path)
    about = {"mode": oct(status.st_mode), "owner": status.st_uid, "group": status.st_gid}
    if os.path.islink(path):
        return {**about, "target": os.readlink(path)}
    with open(path, "rb") as file:
        return {**about, "sha256": hashlib.sha256(file.read()).hexdigest()}


if __name__ == "__main__":
    answer = {"prepare": prepare, "session": session, "found": found}[sys.argv[1]]()
    if answer is not None:
        print(json.dumps(answer))
