# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway PgBouncer in front of a throwaway server, on its host: the same namespaces, and gone with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from . import places
from .servers import Cluster
from .sessions import Row, Session
from .sources import Unavailable

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
#: Passwords that must never be seen anywhere.
ADMIN_PASSWORD = "admin-S3cret-Of-The-Test"
SERVER_PASSWORD = "server-S3cret-Of-The-Test"
_PATIENCE = 60.0


class PgBouncer:
    """One PgBouncer, its files in a directory of their own; it listens on TCP and in that directory.

    Its console admits ``postgres`` with ADMIN_PASSWORD, and PgBouncer's own OS user as ``pgbouncer``. In front of a
    server from an image it is the one of that image, on this host's files but for /usr.
    """

    host = "127.0.0.1"
    port = 6432  # always free: the network is the cluster's own

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._usr = _usr_of(cluster)
        program = f"{self._usr}/sbin/pgbouncer" if self._usr else PROGRAM
        if not program or not Path(program).exists():
            raise Unavailable(f"no pgbouncer {'in the image of this server' if self._usr else 'here'}")
        self.user = places.server_user().pw_name
        # A short name: it listens there, and a Unix socket's path may have only 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="pgb-", dir=cluster.directory))
        self.config_file = self.directory / "pgbouncer.ini"
        self.log_file = self.directory / "log"
        self.pid_file = self.directory / "pid"
        self._process: subprocess.Popen[bytes] | None = None
        self.write("userlist.txt", f'"postgres" "{ADMIN_PASSWORD}"\n"app" "{ADMIN_PASSWORD}"\n')
        self.write(self.config_file.name, self.config())
        os.chown(self.directory, places.server_user().pw_uid, places.server_user().pw_gid)

    def config(self, settings: str = "", databases: str = "", others: str = "") -> str:
        """A whole pgbouncer.ini; *settings* are lines of the section [pgbouncer], *databases* of [databases]."""
        server = f"host={self.cluster.host} port={self.cluster.port} user=postgres password='{SERVER_PASSWORD}'"
        return f"""; What to connect to
[databases]
app = {server} dbname=postgres
{databases}
{others}
# How
[pgbouncer]
listen_addr = {self.host}
listen_port = {self.port}
unix_socket_dir = {self.directory}
auth_type = md5
auth_file = {self.directory}/userlist.txt
admin_users = postgres
logfile = {self.log_file}
pidfile = {self.pid_file}
{settings}"""

    def write(self, name: str, content: str | bytes) -> Path:
        """A file beside the configuration file, owned by PgBouncer's user and readable by nobody else."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o640)
        os.chown(path, places.server_user().pw_uid, places.server_user().pw_gid)
        return path

    # ---- its life

    def start(self, cwd: str | Path = "/") -> None:
        """Start it and wait until it takes connections."""
        # The program of an image finds its libraries in its own /usr, which nobody else is to see.
        own_usr = 'mount --bind "$0" /usr && ' if self._usr else ""
        script = f'{own_usr}cd "$1" && exec pgbouncer -q -u "$2" "$3"'
        enter = ["unshare", "--mount", "sh", "-c", script, self._usr or "sh", str(cwd), self.user, self.config_file]
        self._process = subprocess.Popen(
            self.cluster.argv(enter if self._usr else enter[2:]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        self._wait(lambda: "process up" in self.log() and self.pid_file.exists(), "it did not start")

    def stop(self) -> None:
        """End it at once."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
            assert self._process
            self._process.wait(_PATIENCE)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process, as the host numbers it."""
        return int(self.pid_file.read_text())

    def log(self) -> str:
        """All that it logged."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def hang_up(self) -> None:
        """SIGHUP, and wait until it was taken."""
        before = self.log().count("SIGHUP")
        os.kill(self.pid, signal.SIGHUP)
        self._wait(lambda: self.log().count("SIGHUP") > before, "it took no SIGHUP")

    # ---- what it says, and who goes through it

    def console(self, command: str, **conn: t.Any) -> list[Row]:
        """What the admin console answers; the session is not that of any module."""
        return self.cluster.query(command, tcp=True, **{**self.conninfo("pgbouncer"), **conn})

    def config_in_force(self) -> dict[str, str]:
        """SHOW CONFIG."""
        return {str(row[0]): str(row[1]) for row in self.console("SHOW CONFIG")}

    def conninfo(self, database: str = "app") -> dict[str, t.Any]:
        """libpq parameters of a connection through it."""
        return {"port": self.port, "dbname": database, "user": "postgres", "password": ADMIN_PASSWORD}

    def session(self, database: str = "app") -> Session:
        """A client's session through it that stays open."""
        return self.cluster.session(tcp=True, **self.conninfo(database))

    def version(self) -> str:
        """What the console says, ``1.18.0``."""
        return str(self.console("SHOW VERSION")[0][0]).split()[-1]

    def _wait(self, true: t.Callable[[], bool], problem: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < deadline and self.running, f"{problem}:\n{self.log()[-2000:]}"
            time.sleep(0.02)


def _usr_of(cluster: Cluster) -> str:
    """Where this host sees /usr of the container that the server is in; empty where it is in none."""
    if cluster._container is None:
        return ""
    query = ["docker", "inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", cluster._container.name]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip() + "/usr"
