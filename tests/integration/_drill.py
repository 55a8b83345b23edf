# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the drill share: running it, watching it from outside, and all that it could leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import psycopg2
import pytest
from support import Cluster, modules, places, run_module
from support.modules import module_argv, module_input

Result = dict[str, t.Any]
Row = dict[str, t.Any]

UNPRIVILEGED = Path(__file__).with_name("_unprivileged_main.py")

as_root = pytest.mark.skipif(not places.is_root(), reason="network namespaces and TCP_REPAIR need root")
#: Where the subject does not depend on the version.
one_major = pytest.mark.parametrize("major", [15])

#: Keepalive gives up after 4 s; the longest promise is 5 s, at worst 5.6 s.
SHORT = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "4s",
    "client_connection_check_interval": "1s",
    "authentication_timeout": "2s",
}
#: The same for a libpq client, which is the longest promise there: 4.2 s, at worst 4.8 s.
SHORT_CLIENT = {
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 4000,
    "connect_timeout": 3,
}
PATIENCE = "15s"
EVERY_FAULT = ["process_died", "peer_vanished", "path_forgot_flow", "probes_dropped", "short_outage", "slow_reader"]
#: A pg_hba.conf that lets the drill's namespaces in.
HBA = ["local all all trust", "host all all all trust"]


def conf(**settings: str) -> str:
    """Lines of postgresql.conf: those above, the log as the drill wants it, and *settings*."""
    found = {**SHORT, "log_line_prefix": "%m [%p] ", **settings}
    return "".join(f"{name} = '{value}'\n" for name, value in found.items())


def configure(cluster: Cluster, **settings: str) -> None:
    """The same by ALTER SYSTEM, for a server that is used again; without what it does not know."""
    known = {name for (name,) in cluster.query("SELECT name FROM pg_settings")}
    for name, value in {**SHORT, "log_line_prefix": "%m [%p] ", **settings}.items():
        if name in known:
            cluster.query(f"ALTER SYSTEM SET {name} = '{value}'")
    cluster.reload()


def drill(cluster: Cluster, *, check: bool = False, as_user: str | None = None, **options: t.Any) -> Result:
    """Run the module over TCP unless told otherwise; whatever comes of it, there is no traceback."""
    result = run_module(cluster, "drill", _arguments(cluster, options), check=check, as_user=as_user)
    return _sound(result)


def kept(result: Result) -> dict[str, Row]:
    """The cells by name, all of which kept their promises."""
    assert not result.get("failed"), result["msg"]
    found = cells(result)
    assert {name: row["verdict"] for name, row in found.items()} == dict.fromkeys(found, "kept")
    return found


def cells(result: Result) -> dict[str, Row]:
    """By name, as the drill shows them."""
    found = {f"{row['phase']} x {row['fault']}": row for row in result["cells"]}
    assert len(found) == len(result["cells"]) > 0
    return found


def refused(result: Result, code: str) -> str:
    """The message of a drill that did not take place."""
    assert result.get("failed") and result["rc"] == 1, result
    assert result["failure"]["code"] == code, result["msg"]
    assert "cells" not in result
    return str(result["msg"])


def connections(cluster: Cluster) -> int:
    """How many connections the server has logged (log_connections)."""
    return cluster.log().count("connection received:")


class Running:
    """A drill that goes on beside the test."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        unprivileged: bool = False,
        environment: t.Mapping[str, str] | None = None,
        **options: t.Any,
    ) -> None:
        self.cluster = cluster
        #: What it wrote, and the capabilities it had if it is *unprivileged*.
        self.output, self.capabilities = "", dict[str, int]()
        argv = module_argv(cluster, "drill", as_user="nobody" if unprivileged else None)
        if unprivileged:
            argv[argv.index(str(modules.MAIN))] = str(UNPRIVILEGED)
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stdin
        self.process.stdin.write(module_input(_arguments(cluster, options)))
        self.process.stdin.close()
        self.process.stdin = None

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    def result(self, timeout: float = 60) -> Result:
        output, errors = self.process.communicate(timeout=timeout)
        assert output, errors
        self.output = output + errors
        found = re.findall(r"^(Cap\w+):\s+([0-9a-f]+)$", errors, re.MULTILINE)
        self.capabilities = {name: int(value, 16) for name, value in found}
        return _sound({**json.loads(output), "rc": self.process.returncode})

    def children(self) -> list[int]:
        return descendants(self.process.pid)

    def await_sessions(self, condition: str, number: int = 1) -> list[int]:
        """Wait until the drill has so many sessions of which *condition* is true; gives their process ids."""
        sql = f"SELECT pid FROM pg_stat_activity WHERE application_name ~ '^pgharden drill' AND {condition}"
        deadline = time.monotonic() + 60
        while True:
            found = [pid for (pid,) in self.cluster.query(sql)]
            if len(found) >= number:
                return found
            assert self.process.poll() is None, self.result()
            assert time.monotonic() < deadline, (found, condition)
            time.sleep(0.1)  # the drill needs the processor, too


def descendants(pid: int) -> list[int]:
    """Processes that descend from *pid*, whatever they are called."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = parents.get(pid, [])
    return found + [one for child in found for one in descendants(child)]


# Listens in one network, connects in another, maybe over a Unix socket, maybe before anybody has come.
_RELAY = """
import os, socket, sys, threading, time
network, port, path, ahead = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
listener = socket.create_server(("127.0.0.1", 0))
os.setns(os.open(f"/proc/{network}/ns/net", os.O_RDONLY)) if network else None
def connect():
    if not path:
        return socket.create_connection(("127.0.0.1", port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    return server
def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
kept = [connect() for _turn in range(ahead)]
time.sleep(1.5 if ahead else 0)
print(listener.getsockname()[1], flush=True)
while True:
    client, _address = listener.accept()
    server = kept.pop() if kept else connect()
    for pair in ((client, server), (server, client)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


@contextlib.contextmanager
def relay(here: Cluster, cluster: Cluster, way: t.Literal["tcp", "unix", "old"] = "tcp") -> t.Iterator[int]:
    """The port of a proxy in the network of *here*; a pooler by its Unix socket or by its old connections."""
    network = 0 if here is cluster else cluster.namespace.pid
    path = str(cluster.socket_dir / f".s.PGSQL.{cluster.port}") if way == "unix" else ""
    ahead = 4 if way == "old" else 0
    argv = here.argv([sys.executable, "-c", _RELAY, *map(str, (network, cluster.port, path, ahead))])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.kill()


# ---- what may be left behind


def left(cluster: Cluster) -> dict[str, t.Any]:
    """What the server and its kernel still have of any drill; all empty when nothing is left."""
    sessions = "SELECT pid, state, query FROM pg_stat_activity WHERE application_name ~ '^pgharden'"
    locks = "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory'"
    links = cluster.run(["ip", "-brief", "link", "show", "type", "veth"], check=True).stdout.split()
    return {
        "sessions": cluster.query(sessions),
        "locks": cluster.query(locks),
        "links": links,
        "sockets": _unknown_sockets(cluster),
    }


NOTHING: dict[str, t.Any] = {"sessions": [], "locks": [], "links": [], "sockets": []}


def await_nothing(cluster: Cluster, patience: float = 15) -> None:
    """Wait until nothing is left; *patience*, in seconds, has slack for a busy machine."""
    deadline = time.monotonic() + patience
    while (found := left(cluster)) != NOTHING:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def processes(cluster: Cluster) -> set[int]:
    """Processes in the network of the server that are neither its own nor those that hold the namespace open."""
    network = os.readlink(f"/proc/{cluster.namespace.pid}/ns/net")
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):  # it has ended
            if os.readlink(path) == network:
                found.add(int(path.parts[2]))
    own = {cluster.namespace.pid, *descendants(cluster.namespace.pid)}
    if cluster.running:
        own |= {cluster.postmaster_pid, *descendants(cluster.postmaster_pid)}
    # A backend that ended in between was none of the drill's.
    return {pid for pid in found - own if Path("/proc", str(pid), "exe").exists()}


def _unknown_sockets(cluster: Cluster) -> list[tuple[str, int]]:
    """Connections to the server that belong to no session: still logging in, or orphans of the kernel."""
    known = cluster.query("SELECT host(client_addr), client_port FROM pg_stat_activity WHERE client_port > 0")
    return sorted(established(cluster) - set(known))


def established(cluster: Cluster) -> set[tuple[str, int]]:
    """The other ends of the server's connections, by its own kernel's table, read from outside of the namespace."""
    found = set()
    for line in Path(f"/proc/{cluster.namespace.pid}/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if int(local.partition(":")[2], 16) == cluster.port and state == "01":
            address, _colon, port = remote.partition(":")
            octets = bytes.fromhex(address)[::-1]
            found.add((".".join(map(str, octets)), int(port, 16)))
    return found


# ---- an observer of its own


#: How the phases look to others.
_LOOKS = """
    SELECT pid, backend_start, client_addr, client_port, CASE
        WHEN query ~ '^SELECT pg_catalog.pg_sleep' AND wait_event = 'PgSleep' THEN 'executing'
        WHEN query ~ 'generate_series.1, 10000000000000.' AND state = 'active' AND query ~ 'count' THEN 'executing_cpu'
        WHEN wait_event_type = 'Lock' THEN 'lock_wait'
        WHEN query ~ '^COPY' AND state = 'active' THEN 'sending'
        WHEN state = 'idle in transaction' THEN 'idle_in_transaction'
        WHEN query = 'SELECT 1' AND state = 'idle' THEN 'idle' END
    FROM pg_stat_activity WHERE application_name ~ '^pgharden drill'
"""


class Watcher:
    """Notes, for each session of a drill, when it was first seen in its phase, and when it was first missed."""

    def __init__(self, cluster: Cluster) -> None:
        self._connection = psycopg2.connect(**cluster.conninfo())
        self._connection.autocommit = True
        self._cluster = cluster
        self._stopped = threading.Event()
        self._entered: dict[t.Any, tuple[str, float]] = {}
        self._missed: dict[t.Any, float] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> t.Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._connection.close()

    def lives(self, phase: str) -> list[float]:
        """Seconds that the sessions of a phase were there after they had come to it, in order; without the probe's."""
        first = min(start for _pid, start in self._entered if not isinstance(start, int))
        return sorted(
            self._missed[key] - entered
            for key, (name, entered) in self._entered.items()
            if name == phase and key in self._missed and key[1] != first
        )

    def _watch(self) -> None:
        while not self._stopped.wait(0.03):
            began = time.monotonic()
            sockets = established(self._cluster)
            with self._connection.cursor() as cursor:
                cursor.execute(_LOOKS)
                rows = cursor.fetchall()
                cursor.execute("SELECT host(client_addr), client_port FROM pg_stat_activity WHERE client_port > 0")
                sockets -= set(cursor.fetchall())
            ended = time.monotonic()
            there = {(pid, start): phase for pid, start, _address, _port, phase in rows}
            there.update(dict.fromkeys(sockets, "authenticating"))
            for key, phase in there.items():
                if phase:
                    self._entered.setdefault(key, (phase, ended))
            for key in self._entered.keys() - self._missed.keys() - there.keys():
                self._missed[key] = began


def _arguments(cluster: Cluster, options: dict[str, t.Any]) -> dict[str, t.Any]:
    login = {} if "login_unix_socket" in options else {"login_host": cluster.host}
    return {"login_port": cluster.port, "patience": PATIENCE, **login, **options}


def _sound(result: Result) -> Result:
    assert "exception" not in result, result
    assert "Traceback" not in json.dumps(result)
    assert result.get("changed", False) is False
    return result
