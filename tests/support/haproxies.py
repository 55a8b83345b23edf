# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway HAProxy in front of a throwaway server, on its host: the same namespaces, and gone with it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from .servers import Cluster
from .sessions import Session

PROGRAM = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
_PATIENCE = 60.0
#: As people write it: a web part that nobody may touch, comments, and a timeout that cuts off idle sessions.
CONFIG = """\
global
    maxconn 200   # enough
    stats socket {directory}/admin.sock mode 600 level admin expose-fd listeners

defaults
    mode    http
    option  dontlognull
    timeout connect 5000
    timeout client  50000
    timeout server  50000

# ---- the web
frontend web
    bind 127.0.0.1:8080
    default_backend app

backend app
    server one 127.0.0.1:8081   # not there

# ---- PostgreSQL
listen pg
\tmode tcp
\tbind 127.0.0.1:{port}   # for the application
\ttimeout  client   30s   # too short for a pool
\toption pgsql-check user postgres
\tserver one 127.0.0.1:{server} check inter 2s   # the primary

# the end
"""


class HAProxy:
    """One HAProxy; its configuration lies in a directory of its own. Use it as a context manager."""

    host = "127.0.0.1"
    port = 6432  # always free: the network is the cluster's own

    def __init__(self, cluster: Cluster, directory: Path, config: str = CONFIG) -> None:
        assert PROGRAM, "no haproxy here"
        self.cluster = cluster
        self.directory = directory
        self.config_file = directory / "haproxy.cfg"
        self.log_file = directory / "log"
        self.config_file.write_text(self.filled(config))

    def filled(self, config: str) -> str:
        """A configuration with the places of this test in it."""
        return config.format(directory=self.directory, port=self.port, server=self.cluster.port)

    # ---- its life

    def start(self, *options: str, files: t.Sequence[str | Path] = (), env: dict[str, str] | None = None) -> None:
        """Start it, in master-worker mode unless *options* say otherwise, and wait until it listens."""
        assert PROGRAM
        arguments = [one for path in files or [self.config_file] for one in ("-f", str(path))]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.cluster.argv([PROGRAM, *(options or ("-W",)), *arguments]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **(env or {})},
            )
        self.wait(lambda: bool(self.listening()), "it did not start")

    def close(self) -> None:
        """End all of its processes, those that an older reload has left as well."""
        for _attempt in range(50):
            pids = self.processes()
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            time.sleep(0.05)

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def processes(self) -> list[int]:
        """All that run with a configuration of this directory."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                mine = os.fsencode(self.directory) in words or os.readlink(entry / "cwd") == str(self.directory)
                if mine and (entry / "comm").read_text() == "haproxy\n":
                    found.append(int(entry.name))
        return found

    def listening(self) -> set[int]:
        """The processes that take connections for PostgreSQL, as ss knows them."""
        told = self.cluster.run(["ss", "-Hltnp", f"sport = :{self.port}"], check=True).stdout
        return {int(pid) for pid in re.findall(r"pid=(\d+)", told)}

    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def wait(self, true: t.Callable[[], bool], problem: str) -> None:
        """Until something is true, which it has to be soon."""
        deadline = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < deadline, f"{problem}:\n{self.log()[-2000:]}"
            time.sleep(0.02)

    # ---- who goes through it

    def session(self) -> Session:
        """A client's session through it that stays open."""
        return self.cluster.session(tcp=True, port=self.port)
