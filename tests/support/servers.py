# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway PostgreSQL server: a temporary directory, namespaces of its own, and everything gone afterwards."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t
import weakref
from pathlib import Path

import psycopg2

from . import certificates, containers, places, sockets
from .namespace import Namespace, enter
from .sessions import Row, Session
from .sources import TLS, Source, find_source

PASSWORD = "s3cret-Of-The-Test"
START_TIMEOUT = 60.0
INITDB = [
    "--no-sync",
    "--locale=C",
    "--encoding=UTF8",
    "--wal-segsize=1",
    "--username=postgres",
    "--auth=scram-sha-256",
]
SYSCTLS = Path("/proc/sys/net/ipv4")
DATABASES = ["postgres", "template0", "template1"]
CLEANING = """
SELECT format('SELECT pg_terminate_backend(%%s)', pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
UNION ALL SELECT format('DROP DATABASE %%I WITH (FORCE)', datname) FROM pg_database WHERE datname <> ALL (%(databases)s)
UNION ALL SELECT format('ALTER DATABASE %%I RESET ALL', datname) FROM pg_database WHERE datname = ANY (%(databases)s)
UNION ALL SELECT format('ALTER ROLE %%I IN DATABASE %%I RESET ALL', %(user)s, unnest(%(databases)s))
UNION ALL SELECT format('ALTER ROLE %%I RESET ALL', %(user)s)
UNION ALL SELECT 'ALTER ROLE ALL RESET ALL'
UNION ALL SELECT format('DROP OWNED BY %%1$I CASCADE; DROP ROLE %%1$I', rolname) FROM pg_roles
    WHERE rolname !~ '^pg_' AND rolname <> %(user)s
"""

OTHERS = "SELECT 1 FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
Auth = t.Literal["trust", "scram", "peer+scram"]
Layout = t.Literal["datadir", "debian"]
_open: weakref.WeakSet[Cluster] = weakref.WeakSet()


class ServerError(Exception):
    """The server did not do what was asked; the message ends with its log."""


class Cluster:
    """One server. Make it with `Cluster.start`, as a context manager or with a `close` at the end.

    *data_dir*, *config_file*, *hba_file*, *socket_dir* and *log_file* are the same paths for the test and for the
    server, also if that is in a container. The commands run by `run` see a private ``/etc/sysctl.d``, empty at first.
    """

    host = "127.0.0.1"
    port = 5432  # always free: the network is the cluster's own
    superuser = "postgres"
    password = PASSWORD

    def __init__(self, source: Source, auth: Auth, layout: Layout, tls: bool) -> None:
        self.source = source.ready()
        self.major = source.major
        self.auth = auth
        self.layout = layout
        self.tls = tls
        self.os_user = places.server_user().pw_name
        self.directory = Path(tempfile.mkdtemp(prefix=f"{source.major}-{os.getpid()}-", dir=places.clusters()))
        self.directory.chmod(0o755)
        self.data_dir = self.directory / "data"
        self.socket_dir = self.directory / "socket"
        self.log_file = self.directory / "log"
        self.config_dir = self.directory / "etc" if layout == "debian" else self.data_dir
        self.config_file = self.config_dir / "postgresql.conf"
        self.hba_file = self.config_dir / "pg_hba.conf"
        self.ident_file = self.config_dir / "pg_ident.conf"
        self.auto_conf = self.data_dir / "postgresql.auto.conf"
        self.ca_file = self.directory / "authority.pem" if tls else None
        self._server: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._container: containers.Container | None = None
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._pristine: dict[Path, bytes] = {}
        self._sysctls: dict[str, str] = {}
        if self.source.image:
            self._container = containers.Container(self.source.image, self.directory.name)
        try:
            self.namespace = Namespace(self.directory, self._container.pid if self._container else None)
        except BaseException:
            if self._container:
                self._container.close()
            raise
        _open.add(self)

    @classmethod
    def start(
        cls,
        major: int,
        *,
        tls: bool = False,
        auth: Auth = "trust",
        conf: str | bytes = "",
        hba: list[str] | None = None,
        layout: Layout = "datadir",
        standby_of: Cluster | None = None,
        source: Source | None = None,
    ) -> Cluster:
        """Start a server of that major and wait until it takes connections.

        *conf* is appended to postgresql.conf, *hba* replaces the lines of pg_hba.conf. With *tls*, only TLS is let in
        over TCP. *layout* ``debian`` keeps the configuration outside of the data directory, with a ``conf.d``.
        """
        source = source or (standby_of.source if standby_of else find_source(major, {TLS} if tls else ()))
        cluster = cls(source, auth, layout, tls)
        try:
            cluster._make_directories()
            template = cluster._template()
            cluster._configure(template / "postgresql.conf", conf, hba, standby_of)
            cluster._fill(template, standby_of)
            cluster.start_again()
            cluster._remember()
        except BaseException:
            cluster.close()
            raise
        return cluster

    # ---- its life

    def start_again(self) -> None:
        """Start the server that was stopped."""
        with self.log_file.open("ab") as log:
            self._server = subprocess.Popen(
                self._as_server(*self._postgres()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",  # there in every mount namespace
                start_new_session=True,  # see namespace.py
            )
        deadline = time.monotonic() + START_TIMEOUT
        while self._status() not in ("ready", "standby"):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"PostgreSQL {self.major} ({self.source.kind}) did not start:\n{self.log()[-3000:]}")
            time.sleep(0.01)

    def stop(self, mode: t.Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server; namespaces and files stay."""
        assert self._server
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        os.kill(self.postmaster_pid, signals[mode])
        self._server.wait(START_TIMEOUT)

    def pause(self) -> None:
        """Freeze every server process, as a hanging machine would; its kernel still answers."""
        self._paused = True
        # The first process first: it starts no other then, and one that ends keeps its number until it goes on.
        os.kill(self.postmaster_pid, signal.SIGSTOP)
        for pid in self._children():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        if self._paused:
            for pid in (*self._children(), self.postmaster_pid):
                os.kill(pid, signal.SIGCONT)
            self._paused = False

    def reload(self, timeout: float = 30) -> None:
        """Have the configuration read again, and wait until new sessions see it."""
        load_time = "SELECT pg_conf_load_time()"
        before = self.query(load_time)
        os.kill(self.postmaster_pid, signal.SIGHUP)
        deadline = time.monotonic() + timeout
        while self.query(load_time) == before:
            if time.monotonic() > deadline:
                raise ServerError(f"the configuration was not reloaded:\n{self.log()[-2000:]}")

    def close(self) -> None:
        """End the server and all sessions; leave nothing behind."""
        _open.discard(self)
        for session in self._sessions:
            session.kill()
        if self.running:
            with contextlib.suppress(OSError, IndexError, subprocess.TimeoutExpired):  # no pid file yet, or it hangs
                self.resume()
                self.stop("immediate")
        self.namespace.close()  # whatever state the server is in
        if self._container:
            self._container.close()
        if self._server:
            self._server.wait()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.poll() is None

    @property
    def postmaster_pid(self) -> int:
        """The server's first process, as the host numbers it."""
        return int(self._pid_file()[0])

    def log(self) -> str:
        """All that the server logged."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    # ---- commands and sessions

    def argv(self, argv: t.Sequence[str | Path], user: str = "") -> list[str]:
        """The command line that runs *argv* on the server's host, as the OS user *user* or as the one who runs it."""
        return self.namespace.argv(argv, user)

    def run(self, argv: t.Sequence[str | Path], *, user: str = "", **kw: t.Any) -> subprocess.CompletedProcess[t.Any]:
        """Run a command on the server's host as `subprocess.run` does, its output captured unless told otherwise."""
        if not kw.keys() & {"stdout", "stderr", "capture_output"}:
            kw["capture_output"] = True
        return subprocess.run(
            self.argv(argv, user), check=kw.pop("check", False), **{"text": True, "timeout": 120, **kw}
        )

    def conninfo(self, *, tcp: bool = False, **conn: t.Any) -> dict[str, t.Any]:
        """libpq parameters of a connection, the superuser's unless *user* is given, with *conn* laid over."""
        found: dict[str, t.Any] = {
            "user": self.superuser,
            "dbname": "postgres",
            "port": self.port,
            "connect_timeout": 10,
        }
        found["host"] = self.host if tcp else str(self.socket_dir)
        if conn.get("user", self.superuser) == self.superuser and self.auth != "trust":
            found["password"] = self.password
        if self.ca_file and tcp:
            found |= {"sslmode": "verify-full", "sslrootcert": str(self.ca_file)}
        return found | conn

    def query(self, sql: str, params: t.Any = None, *, tcp: bool = False, **conn: t.Any) -> list[Row]:
        """Run one statement in a fresh session, over the Unix socket unless *tcp*; *conn* as in `conninfo`."""
        if tcp or self.auth == "peer+scram":
            with self.session(tcp=tcp, **conn) as session:
                return session.execute(sql, params)
        connection = psycopg2.connect(**self.conninfo(**conn))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def session(self, *, tcp: bool = True, as_user: str = "", **conn: t.Any) -> Session:
        """A session that stays open, from a process on the server's host that runs as *as_user*."""
        if not as_user and not tcp and self.auth == "peer+scram":
            as_user = self.os_user
        session = Session(self.namespace, self.conninfo(tcp=tcp, **conn), as_user)
        self._sessions.add(session)
        return session

    # ---- the kernel underneath

    def sockets(self) -> list[sockets.Socket]:
        """The TCP sockets of the server's host, listeners included."""
        return sockets.parse(self.run(sockets.COMMAND, check=True).stdout)

    def get_sysctl(self, key: str) -> str:
        """A net.* sysctl of the server's host."""
        return str(self.run(["cat", _sysctl_path(key)], check=True).stdout).strip()

    def set_sysctl(self, key: str, value: str | int) -> None:
        """Set a net.* sysctl there, and nowhere else."""
        self.run(["sh", "-c", 'printf %s "$1" >"$2"', "sh", str(value), _sysctl_path(key)], check=True)

    # ---- back to how it was

    def reset(self) -> None:
        """Undo what a test did: files, settings, roles, databases, sessions and their counts, sysctls. No tables."""
        for session in self._sessions:
            session.kill()
        self._sessions.clear()
        if not self.running:
            self._restore_files()
            self.start_again()
        else:
            self.resume()
            self._restore_files()
            self.reload()
        with self.session(tcp=False) as session:
            for (statement,) in session.execute(CLEANING, {"databases": DATABASES, "user": self.superuser}):
                session.execute(statement)
            # Those that were ended count, write to the log and send packets until they are gone.
            deadline = time.monotonic() + START_TIMEOUT
            while session.execute(OTHERS):
                if time.monotonic() > deadline:
                    raise ServerError("a session does not end")
                time.sleep(0.01)
            session.execute("SELECT pg_stat_reset()")  # how many have ended, and how, is of those tests as well
            restart = session.execute("SELECT 1 FROM pg_settings WHERE pending_restart")
        if restart:
            self.stop()
            self.start_again()
        self._restore_kernel()

    def _remember(self) -> None:
        for directory in dict.fromkeys((self.config_dir, self.data_dir)):
            for path in directory.iterdir():
                self._pristine[path] = path.read_bytes() if path.suffix == ".conf" else b""
        self._sysctls = self._read_sysctls()

    def _restore_files(self) -> None:
        for directory in dict.fromkeys((self.config_dir, self.data_dir)):
            for path in directory.iterdir():
                if path not in self._pristine and not path.name.startswith(("postmaster.", "pg_")):
                    _remove(path)
        if self.layout == "debian":
            for path in (self.config_dir / "conf.d").iterdir():
                _remove(path)
        for path, content in self._pristine.items():
            if path.suffix == ".conf":
                path.unlink(missing_ok=True)
                self._write(path, content)

    def _restore_kernel(self) -> None:
        for key, value in self._read_sysctls().items():
            if self._sysctls.get(key) != value:
                self.set_sysctl(key, self._sysctls[key])

    def _read_sysctls(self) -> dict[str, str]:
        # In one process, with the directory of persistent values emptied on the way.
        script = f"rm -rf /etc/sysctl.d/*; cd {SYSCTLS} && grep -H '' tcp_keepalive_* tcp_retries* tcp_syn_retries"
        lines = self.run(["sh", "-c", script], check=True).stdout.splitlines()
        return {f"net.ipv4.{name}": value for name, _colon, value in (line.partition(":") for line in lines)}

    # ---- how it is made

    def _as_server(self, *argv: str | Path) -> list[str]:
        # Not through docker exec: it is slower, its process is not the server's, and it outlives a killed container.
        return enter(self._container.pid if self._container else self.namespace.pid, argv, self.os_user)

    def _binary(self, name: str) -> Path:
        return self.source.bindir / name

    def _postgres(self) -> list[str | Path]:
        if self.layout == "debian":
            return [self._binary("postgres"), "-D", self.data_dir, "-c", f"config_file={self.config_file}"]
        return [self._binary("postgres"), "-D", self.data_dir]

    def _make_directories(self) -> None:
        apart = [self.config_dir, self.config_dir / "conf.d"] if self.layout == "debian" else []
        for path in (self.socket_dir, self.data_dir, *apart):
            path.mkdir()
            path.chmod(0o700 if path == self.data_dir else 0o755)
            self._give(path)
        self._write(self.log_file, b"")

    def _template(self) -> Path:
        """A data directory fresh from initdb, made once for each set of binaries."""
        user = places.server_user()
        key = hashlib.sha256(repr((self.source.identity, user.pw_uid, INITDB)).encode()).hexdigest()[:12]
        template = places.base() / f"template-{self.major}-{key}"
        with places.locked(template.name):
            if not template.exists():
                # In the cluster's own directory, so that a failure leaves nothing behind.
                made, secret = self.directory / "template", self.directory / "secret"
                made.mkdir(mode=0o700)
                self._give(made)
                self._write(secret, PASSWORD.encode())
                done = subprocess.run(
                    self._as_server(self._binary("initdb"), *INITDB, f"--pwfile={secret}", f"--pgdata={made}"),
                    check=False,
                    capture_output=True,
                    text=True,
                    cwd="/",
                )
                if done.returncode:
                    raise ServerError(f"initdb of PostgreSQL {self.major} failed:\n{done.stdout}{done.stderr}")
                made.rename(template)
        return template

    def _fill(self, template: Path, standby_of: Cluster | None) -> None:
        config = {path.name: path.read_bytes() for path in self.data_dir.iterdir()}
        if standby_of:
            for path in self.data_dir.iterdir():
                path.unlink()  # pg_basebackup wants it empty
            primary = standby_of.conninfo()
            done = subprocess.run(
                self._as_server(
                    *("env", f"PGPASSWORD={self.password}", self._binary("pg_basebackup"), "--no-sync"),
                    *("-h", primary["host"], "-p", str(primary["port"]), "-U", primary["user"]),
                    *("-D", self.data_dir, "--checkpoint=fast", "--wal-method=stream"),
                ),
                check=False,
                capture_output=True,
                text=True,
                cwd="/",
            )
            if done.returncode:
                raise ServerError(f"pg_basebackup failed: {done.stderr}")
            config["standby.signal"] = b""
        else:
            subprocess.run(["cp", "-a", f"{template}/.", self.data_dir], check=True)
        if self.layout == "debian":
            for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
                (self.data_dir / name).unlink(missing_ok=True)
        for name, content in config.items():
            self._write(self.data_dir / name, content)

    def _configure(self, sample: Path, conf: str | bytes, hba: list[str] | None, standby_of: Cluster | None) -> None:
        lines = [
            "",
            "# of this throwaway server",
            "listen_addresses = '*'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.socket_dir}'",
            "fsync = off",
            "checkpoint_timeout = 1d",  # or its lines would come into the log in the middle of a test
        ]
        if self.tls:
            made = certificates.make()
            assert self.ca_file
            self._write(self.ca_file, made.authority, mode=0o644)
            self._write(self.directory / "server.pem", made.certificate)
            self._write(self.directory / "server.key", made.key)
            lines += ["ssl = on", f"ssl_cert_file = '{self.directory}/server.pem'"]
            lines += [f"ssl_key_file = '{self.directory}/server.key'"]
        if standby_of:
            info = standby_of.conninfo() | {"password": self.password}
            lines.append("primary_conninfo = '" + " ".join(f"{key}={value}" for key, value in info.items()) + "'")
        text = re.sub(r"(?m)^shared_buffers = \S+", "shared_buffers = 16MB", sample.read_text("utf-8"))
        if self.layout == "debian":
            for name, value in (
                ("data_directory", self.data_dir),
                ("hba_file", self.hba_file),
                ("ident_file", self.ident_file),
                ("include_dir", "conf.d"),
            ):
                text = re.sub(rf"(?m)^#{name} = '[^']*'", f"{name} = '{value}'", text)
        extra = conf.encode() if isinstance(conf, str) else conf
        self._write(self.config_file, text.encode() + "\n".join([*lines, ""]).encode() + extra)
        self._write(self.hba_file, "\n".join([*(hba or self._hba()), ""]).encode())
        self._write(self.ident_file, f"host {self.os_user} {self.superuser}\nhost /^(.*)$ \\1\n".encode())

    def _hba(self) -> list[str]:
        """pg_hba.conf for the way of authentication."""
        local = {"trust": "trust", "scram": "scram-sha-256", "peer+scram": "peer map=host"}[self.auth]
        remote = "trust" if self.auth == "trust" else "scram-sha-256"
        kind = "hostssl" if self.tls else "host"
        return [
            f"{first} {database} all {address} {method}"
            for database in ("all", "replication")
            for first, address, method in (
                ("local", "", local),
                (kind, "127.0.0.1/32", remote),
                (kind, "::1/128", remote),
            )
        ]

    def _write(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        path.write_bytes(content)
        path.chmod(mode)
        self._give(path)

    def _give(self, path: Path) -> None:
        if places.is_root():
            os.chown(path, places.server_user().pw_uid, places.server_user().pw_gid)

    def _pid_file(self) -> list[str]:
        return (self.data_dir / "postmaster.pid").read_text().splitlines()

    def _status(self) -> str:
        """What the server says of itself, as pg_ctl reads it."""
        try:
            return self._pid_file()[7].strip()
        except (FileNotFoundError, IndexError):
            return ""

    def _children(self) -> list[int]:
        parent = str(self.postmaster_pid)
        found = subprocess.run(["pgrep", "-P", parent], check=False, capture_output=True, text=True).stdout
        return [int(pid) for pid in found.split()]


def _sysctl_path(key: str) -> str:
    return "/proc/sys/" + key.replace(".", "/")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@atexit.register
def _close_all() -> None:
    for cluster in list(_open):
        cluster.close()
