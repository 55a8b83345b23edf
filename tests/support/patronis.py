# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway Patroni cluster with a throwaway etcd, in the namespace of a throwaway server, and gone with it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import psycopg2
import yaml

from . import certificates, places
from .servers import Cluster
from .sources import Unavailable, available_majors

ETCD = shutil.which("etcd")
#: PGHARDEN_PATRONI names that of another virtual environment, with another version.
PROGRAM = Path(os.environ.get("PGHARDEN_PATRONI") or Path(sys.executable).with_name("patroni"))
#: Passwords that must never be seen anywhere.
API_USER, API_PASSWORD = "operator", "rest-S3cret-Of-The-Test"
SERVER_PASSWORD = "patroni-S3cret-Of-The-Test"
#: In seconds; Patroni takes no less. A leader that cannot reach etcd for longer than the last one steps down: for a
#: machine that stalls it is as long as the other two let it be.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 1, 9
_PYTHON = str(PROGRAM.with_name("python"))
_PATIENCE = 120.0
_ETCD_PORT = 2379  # always free: the network is the cluster's own

# The program lives as long as the standard input is open, that is at most as long as the process that started it. It
# is killed: a Patroni that is asked to end looks for a successor first, and its server would outlive it.
_SUPERVISOR = """
log=$1; data=$2; shift 2
"$@" </dev/null >>"$log" 2>&1 &
pid=$!
cat >/dev/null
kill -KILL $pid
wait $pid
server=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || exit 0
kill -QUIT "$server"
for _ in $(seq 50); do [ -e "$data/postmaster.pid" ] || exit 0; sleep 0.1; done
kill -KILL "$server"
"""
# The client runs inside, where the ports are; it speaks plain HTTP, knows nothing of the module, and shows any status.
_CURL = """
import http.client, json, ssl, sys
kind, host, port, method, path, body, header, directory = sys.argv[1:]
if kind == "https":
    context = ssl.create_default_context(cafile=directory + "/authority.pem")
    context.load_cert_chain(directory + "/server.pem", directory + "/server.key")
    connection = http.client.HTTPSConnection(host, int(port), context=context)
else:
    connection = http.client.HTTPConnection(host, int(port))
connection.request(method, path, body or None, {"Authorization": header} if header else {})
answer = connection.getresponse()
sys.stdout.write(json.dumps([answer.status, answer.read().decode()]))
"""


class Patroni:
    """One member. *name* is also that of its directory; the first one runs the cluster's own data directory."""

    api_port = 8008  # of each: as on hosts of their own, their addresses differ

    def __init__(self, cluster: Cluster, name: str, port: int, api_host: str, *, tls: bool) -> None:
        self.cluster, self.name, self.port, self.api_host, self.tls = cluster, name, port, api_host, tls
        self.directory = cluster.directory / name
        self.directory.mkdir(mode=0o755)
        self.data_dir = cluster.data_dir if port == cluster.port else self.directory / "data"
        self.config_file = self.directory / "patroni.yml"
        self.log_file = cluster.directory / f"{name}.log"
        self.authority = self.directory / "authority.pem"
        if tls:
            made = certificates.make()
            self._write(self.authority, made.authority)
            self._write(self.directory / "server.pem", made.certificate)
            self._write(self.directory / "server.key", made.key, mode=0o600)
        self.configure()
        user = places.server_user()
        if places.is_root():
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, **parameters: t.Any) -> None:
        """Its local configuration, with these `postgresql.parameters`."""
        login = {"username": "postgres", "password": SERVER_PASSWORD}
        restapi: dict[str, t.Any] = {
            "listen": f"{self.api_host}:{self.api_port}",
            "connect_address": f"{self.api_host}:{self.api_port}",
        }
        if self.tls:
            restapi |= self.client_files
            restapi |= {"cafile": str(self.authority), "verify_client": "required"}
            restapi["authentication"] = {"username": API_USER, "password": API_PASSWORD}
        config = {
            "scope": "test",
            "name": self.name,
            "restapi": restapi,
            "ctl": {"cacert": str(self.authority), **self.client_files} if self.tls else {},
            "etcd3": {"host": f"127.0.0.1:{_ETCD_PORT}"},
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data_dir),
                "bin_dir": str(self.cluster.source.bindir),
                "pgpass": str(self.directory / "pgpass"),
                "authentication": {"superuser": login, "replication": login},
                "parameters": {"unix_socket_directories": str(self.cluster.socket_dir), **parameters},
            },
        }
        self._write(self.config_file, yaml.safe_dump(config, sort_keys=False).encode(), mode=0o600)

    def _write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        path.write_bytes(content)
        path.chmod(mode)
        if places.is_root():
            os.chown(path, places.server_user().pw_uid, places.server_user().pw_gid)

    # ---- its life

    def start(self) -> None:
        """Start it; `wait` until its server runs."""
        argv = [*_as_server(), "env", f"HOME={self.directory}", _PYTHON, str(PROGRAM), str(self.config_file)]
        self._process = _supervised(self.cluster.argv(argv), self.log_file, self.data_dir)

    def stop(self) -> None:
        """End it and its server at once."""
        if self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(_PATIENCE)
            self._process = None

    def wait(self, state: str = "running") -> None:
        """Until it says that its server is in that *state*."""

        def there() -> bool:
            try:
                return bool(self.get("/patroni").get("state") == state)
            except (OSError, ValueError, RuntimeError):
                return False

        wait_for(there, lambda: f"{self.name} is not {state}:\n{self.log()[-3000:]}")

    def hang_up(self) -> None:
        """Have it read its local configuration again."""
        self.request("POST", "/reload")

    @contextlib.contextmanager
    def frozen(self) -> t.Iterator[None]:
        """As if its process hung; its kernel still takes connections."""
        pids = self.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        """Its processes, without those of its server."""
        found = self.cluster.run(["pgrep", "-f", f"^[^ ]+ {PROGRAM} {self.config_file}"]).stdout
        return [int(pid) for pid in found.split()]

    def log(self) -> str:
        """All that it logged."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    # ---- what it says

    @property
    def client_files(self) -> dict[str, str]:
        """A certificate that its REST API takes of a client: its own."""
        return {"certfile": str(self.directory / "server.pem"), "keyfile": str(self.directory / "server.key")}

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.api_host}:{self.api_port}"

    def request(self, method: str, path: str, body: t.Any = None) -> tuple[int, str]:
        """Status and text of its answer, asked with credentials."""
        header = "Basic " + base64.b64encode(f"{API_USER}:{API_PASSWORD}".encode()).decode() if self.tls else ""
        text = "" if body is None else json.dumps(body)
        kind = "https" if self.tls else "http"
        argv = [sys.executable, "-ISB", "-c", _CURL, kind, self.api_host, str(self.api_port), method, path, text]
        done = self.cluster.run([*argv, header, str(self.directory)])
        if done.returncode:
            raise RuntimeError(done.stderr)
        status, answer = json.loads(done.stdout)
        return int(status), str(answer)

    def get(self, path: str) -> dict[str, t.Any]:
        """What it answers."""
        return dict(json.loads(self.request("GET", path)[1]))

    def query(self, sql: str, params: t.Any = None, *, tcp: bool = True) -> list[t.Any]:
        """A fresh session of its server, over TCP unless told otherwise."""
        return self.cluster.query(sql, params, tcp=tcp, port=self.port)


class Patronis:
    """etcd, and members in front of the server of *cluster*, which they take over."""

    def __init__(self, cluster: Cluster, members: int = 1, *, tls: bool = False) -> None:
        if not ETCD or not PROGRAM.exists():
            raise Unavailable("no etcd or no patroni here: install etcd-server, and requirements/dev.txt")
        self.cluster = cluster
        cluster.stop()
        self.members = [
            Patroni(cluster, f"m{number}", cluster.port + number, f"127.0.0.{number + 1}", tls=tls)
            for number in range(members)
        ]
        self._etcd: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        url = f"http://127.0.0.1:{_ETCD_PORT}"
        directory = self.cluster.directory / "etcd"
        argv = [str(ETCD), "--data-dir", str(directory), "--listen-client-urls", url, "--advertise-client-urls", url]
        argv += [
            "--listen-peer-urls",
            "http://127.0.0.1:2380",
            "--initial-advertise-peer-urls",
            "http://127.0.0.1:2380",
        ]
        argv += ["--initial-cluster", "default=http://127.0.0.1:2380", "--unsafe-no-fsync"]
        self._etcd = _supervised(self.cluster.argv(argv), self.cluster.directory / "etcd.log", directory)
        first = self.members[0]
        for member in self.members:
            member.start()
            member.wait()
            if member is first:
                wait_for(lambda: first.get("/patroni").get("role") in ("primary", "master"), first.log)  # 4 and 3
                wait_for(lambda: first.request("PUT", "/config", self.pristine)[0] == 200, first.log)
        self.settle()

    @property
    def pristine(self) -> dict[str, t.Any]:
        """The dynamic configuration at first, with keys of others in it."""
        return {
            "ttl": TTL,
            "loop_wait": LOOP_WAIT,
            "retry_timeout": RETRY_TIMEOUT,
            "maximum_lag_on_failover": 1048576,
            "postgresql": {
                "use_slots": True,
                "use_pg_rewind": False,
                "parameters": {"log_min_duration_statement": "5s", "tcp_keepalives_idle": 240, "work_mem": "5MB"},
            },
        }

    @property
    def leader(self) -> Patroni:
        return self.members[0]

    def reset(self) -> None:
        """The dynamic configuration, ALTER SYSTEM and the local configurations as they were at first."""
        for member in self.members:
            (member.data_dir / "postgresql.auto.conf").write_bytes(b"")
            member.configure()
        assert self.leader.request("PUT", "/config", self.pristine)[0] == 200
        for member in self.members:
            member.hang_up()
        self.settle()

    def settle(self) -> None:
        """Until every member has the pristine configuration in force."""
        wanted = self.pristine["postgresql"]["parameters"]
        names = ["tcp_keepalives_idle", "tcp_user_timeout", "client_connection_check_interval"]
        sql = "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s) ORDER BY 1"
        expected = [("client_connection_check_interval", "0"), ("tcp_keepalives_idle", str(wanted[names[0]]))]
        expected.append(("tcp_user_timeout", "0"))
        for member in self.members:

            def there(member: Patroni = member) -> bool:
                try:
                    return bool(member.query(sql, (names,)) == expected)
                except psycopg2.Error:
                    return False

            wait_for(there, member.log)

    def close(self) -> None:
        """End everything."""
        for member in reversed(self.members):
            member.stop()
        if self._etcd:
            assert self._etcd.stdin
            self._etcd.stdin.close()
            self._etcd.wait(_PATIENCE)


def some_major() -> int:
    """A PostgreSQL whose programs are on this host, for Patroni calls them; the newest."""
    found = [major for major, source in available_majors().items() if not source.image]
    if not found:
        raise Unavailable("no PostgreSQL on this host outside of images: install postgresql")
    return max(found)


def _as_server() -> list[str]:
    """The server's OS user, who may all the same read this interpreter and its packages, wherever they are."""
    if not places.is_root():
        return []
    user = places.server_user()
    capability = "+dac_read_search"
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}"),
    ]


def _supervised(argv: list[str], log: Path, data_dir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sh", "-c", _SUPERVISOR, "sh", str(log), str(data_dir), *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def wait_for(true: t.Callable[[], t.Any], problem: t.Callable[[], str], patience: float = _PATIENCE) -> None:
    """Poll until it is *true*."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, problem()[-3000:]
        time.sleep(0.1)
