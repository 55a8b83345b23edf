# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of harden and revert share: a host to harden, and what it says of itself without the modules."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import psycopg2
from support import Cluster, Session, places, run_module
from support.modules import module_argv, module_input

from ansible_collections.pgharden.connection.plugins.module_utils import _database, _duration
from ansible_collections.pgharden.connection.plugins.plugin_utils import _profiles

SYSCTLS = tuple(f"net.ipv4.tcp_keepalive_{name}" for name in ("time", "intvl", "probes"))
SYSCTL_FILE = "90-pgharden-connection.conf"
Result = dict[str, t.Any]
#: What the fixture new_cluster gives.
NewCluster = t.Callable[..., Cluster]


def profile(name: str, **policy: t.Any) -> dict[str, t.Any]:
    """What the action plugin makes of a profile and a policy: a module that is run by itself gets it so."""
    return {**_profiles.load(name, str), **policy}


def milliseconds(value: str) -> int:
    """A planned value of the server in milliseconds; a bare number is a count, and stays."""
    return int(value) if value.isdigit() else _duration.parse("value", value)


class Host:
    """A server and the machine it runs on, as far as hardening goes."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.revert_file = directory / "revert.json"
        self.sysctl_d = Path(f"/proc/{cluster.namespace.pid}/root/etc/sysctl.d")

    def login(self, way: str = "tcp") -> dict[str, t.Any]:
        """Options that log in over TCP, over the Unix socket, or over it from a child that is another OS user."""
        options: dict[str, t.Any] = {"login_port": self.cluster.port}
        if way == "tcp":
            return {**options, "login_host": self.cluster.host}
        options["login_unix_socket"] = str(self.cluster.socket_dir)
        return {**options, "login_os_user": self.cluster.os_user} if way == "os_user" else options

    def harden_args(self, policy: t.Mapping[str, t.Any] | None = None, **options: t.Any) -> dict[str, t.Any]:
        """The arguments of the module, with profile web for want of a policy."""
        way = options.pop("way", "tcp")
        policy = profile("web") if policy is None else policy
        return {"policy": policy, "revert_file": str(self.revert_file), **self.login(way), **options}

    def harden(self, policy: t.Mapping[str, t.Any] | None = None, *, check: bool = False, **options: t.Any) -> Result:
        """Run the module; it must not end with a traceback."""
        as_user = options.pop("as_user", None)
        return self._run("harden", self.harden_args(policy, **options), check, as_user)

    def revert(self, *, check: bool = False, **options: t.Any) -> Result:
        """Run the module that leads back."""
        way = options.pop("way", "tcp")
        args = {"revert_file": str(self.revert_file), **self.login(way), **options}
        return self._run("revert", args, check, None)

    def _run(self, name: str, args: dict[str, t.Any], check: bool, as_user: str | None) -> Result:
        result = run_module(self.cluster, name, args, check=check, as_user=as_user)
        assert "exception" not in result, result
        return result

    # ---- what is there, asked of files, kernel and server

    def files(self) -> dict[str, bytes]:
        """Every configuration file of the server, and the sysctl files of its machine."""
        folders = {self.cluster.data_dir, self.cluster.config_dir, self.cluster.config_dir / "conf.d", self.sysctl_d}
        paths = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        return {str(path): path.read_bytes() for path in paths if path.is_file() and "conf" in path.name}

    def kernel(self) -> dict[str, str]:
        return {key: self.cluster.get_sysctl(key) for key in SYSCTLS}

    def state(self) -> dict[str, t.Any]:
        """Everything that hardening could change."""
        return {
            "files": self.files(),
            "kernel": self.kernel(),
            "settings": self.settings(),
            "roles": self.cluster.query(
                "SELECT setdatabase, setrole::regrole::text, setconfig FROM pg_db_role_setting"
            ),
            "revert file": self.revert_file.exists(),
        }

    def settings(self, **conn: t.Any) -> dict[str, str]:
        """What a fresh session over TCP has; its tcp_ parameters are what the kernel has on its very socket."""
        return dict(self.cluster.query("SELECT name, setting FROM pg_settings", tcp=True, **conn))

    def wrong(self, planned: t.Mapping[str, str], **conn: t.Any) -> dict[str, tuple[str, str]]:
        """The *planned* parameters that a fresh session does not have, in base units."""
        units = dict(self.cluster.query("SELECT name, unit FROM pg_settings"))
        values = self.settings(**conn)
        found = {}
        for name, text in planned.items():
            wanted = milliseconds(text) // (1000 if units[name] == "s" else 1)
            if values[name] != str(wanted):
                found[name] = (values[name], text)
        return found

    def keepalive_seconds(self, session: Session) -> float:
        """Seconds to the server's next keepalive probe on that session, as ss says."""

        def timer() -> float | None:
            for one in self.cluster.sockets():
                if (one.local_port, one.peer_port) == (self.cluster.port, session.local_port):
                    # Until the client has acknowledged the last reply another timer runs, for 0.2 s at most.
                    return one.seconds if one.timer == "keepalive" else None
            raise AssertionError(f"no socket of the session from port {session.local_port}")

        return t.cast(float, wait_for(timer))

    # ---- a run that is caught half-way

    @contextlib.contextmanager
    def halfway(self, **options: t.Any) -> t.Iterator[subprocess.Popen[str]]:
        """A run that has written everything and waits for a postmaster that is frozen; it is thawed at the end.

        The run is caught before its first change by the advisory lock, else it might find no server to log in to.
        """
        postmaster = self.cluster.postmaster_pid
        with self.cluster.session(tcp=False) as watcher:
            watcher.execute("SELECT pg_advisory_lock(%s)", (_database._LOCK_KEY,))
            process = self.start(**options)
            try:
                asked = """SELECT query_start FROM pg_stat_activity
                    WHERE application_name = 'pgharden.connection' AND query LIKE %s"""
                wait_for(lambda: watcher.execute(asked, ["%try_advisory%"]), process)
                os.kill(postmaster, signal.SIGSTOP)
                watcher.execute("SELECT pg_advisory_unlock_all()")
                # It asks when the files were read once before it has them read, and then again and again.
                polls = ["SELECT pg_catalog.pg_conf_load_time%"]
                first = wait_for(lambda: watcher.execute(asked, polls), process)
                wait_for(lambda: watcher.execute(asked, polls) not in ([], first), process)
                yield process
            finally:
                os.kill(postmaster, signal.SIGCONT)
                process.kill()
                process.communicate()

    def start(self, **options: t.Any) -> subprocess.Popen[str]:
        """Start a run without waiting for it."""
        process = subprocess.Popen(
            module_argv(self.cluster, "harden"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        process.stdin.write(module_input(self.harden_args(**options)))
        process.stdin.close()
        process.stdin = None
        return process


def finish(process: subprocess.Popen[str]) -> Result:
    """The result of a run that was started; ample time, because a run may wait for its reload_timeout twice."""
    output, errors = process.communicate(timeout=90)
    assert output, errors
    return t.cast(Result, json.loads(output))


def wait_for(found: t.Callable[[], t.Any], process: subprocess.Popen[str] | None = None) -> t.Any:
    """Ask until *found* is true: 60 s are two hundred times what it takes; a busy machine may need them."""
    deadline = time.monotonic() + 60
    while True:
        value = found()
        if value:
            return value
        if process and process.poll() is not None:
            raise AssertionError(f"the run has ended: {process.communicate()}")
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def answers(session: t.Any) -> bool:
    """Whether a session is still served by the backend that it began with."""
    try:
        return bool(session.execute("SELECT pg_backend_pid()") == [(session.pid,)])
    except psycopg2.Error:
        return False


IS_ROOT = places.is_root()
