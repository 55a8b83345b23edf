# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real drivers: the programs of tests/drivers with a connection open, and their sockets as the kernel has them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import time
import typing as t
from pathlib import Path

from . import toolchains
from .servers import Cluster

Json = dict[str, t.Any]
PIDFD_GETFD = 438  # on every architecture


class Options(t.NamedTuple):
    """What the kernel has for one socket, under the names of a client's plan; seconds, the last milliseconds."""

    keepalives: int
    keepalives_idle: int
    keepalives_interval: int
    keepalives_count: int
    tcp_user_timeout: int


class Command(t.NamedTuple):
    """How a program is started, and its input."""

    argv: list[str | Path]
    given: str
    environment: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


class Program:
    """A program of tests/drivers in the network of *cluster*."""

    def __init__(self, cluster: Cluster, command: Command) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            cluster.argv(command.argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **command.environment},
        )
        assert self.process.stdin
        self.process.stdin.write(command.given + "\n")
        self.process.stdin.flush()

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> Json:
        """The program's next line; its error where it ended instead."""
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.process.args!r}: {self.process.stderr.read()[-2000:]}")
        found: Json = json.loads(line)
        return found

    def end(self) -> None:
        """Closes the program's input, at which it has to finish."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.stdin = None  # or communicate would flush it

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def client_sockets(pid: int, port: int) -> dict[int, Options]:
    """Local port to options, of the sockets of a process that are connected to *port*, read from duplicates of them."""
    process = os.pidfd_open(pid)
    try:
        return dict(_client_sockets(pid, process, port))
    finally:
        os.close(process)


def _client_sockets(pid: int, process: int, port: int) -> t.Iterator[tuple[int, Options]]:
    libc = ctypes.CDLL(None, use_errno=True)
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed in the meantime, or not connected
            if not os.readlink(descriptor).startswith("socket:"):
                continue
            copy = libc.syscall(PIDFD_GETFD, process, int(descriptor.name), 0)
            if copy < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            with socket.socket(fileno=copy) as one:
                if one.family in (socket.AF_INET, socket.AF_INET6) and one.getpeername()[1] == port:
                    yield one.getsockname()[1], _options(one)


def _options(one: socket.socket) -> Options:
    ours = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    return Options(
        one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        *(one.getsockopt(socket.IPPROTO_TCP, option) for option in ours),
    )


# ---- how each driver is asked to connect

#: rendered: what `_drivers.parameters` gave, or {} for a driver as it is; by_url: through what was rendered for its URL
Start = t.Callable[[Json, Json, bool], Command]


def command(driver: str, server: Json, rendered: Json, by_url: bool = False) -> Command:
    """How to connect with *driver* to *server* (``host``, ``port``, ``user``, ``dbname``)."""
    empty: Json = {"parameters": {}, "pool": {}, "url": "", "snippet": ""}
    return CLIENTS[driver](server, {"driver": driver, **empty, **rendered}, by_url)


def _given(server: Json, rendered: Json, by_url: bool) -> str:
    given = {key: rendered[key] for key in ("driver", "parameters", "pool", "snippet")}
    urls = {"uri": uri(server, rendered["url"]), "url": rendered["url"]} if by_url else {}
    return json.dumps({**given, **urls, "server": server})


def _python(server: Json, rendered: Json, by_url: bool) -> Command:
    return Command(toolchains.python("pythons.py"), _given(server, rendered, by_url))


def _psqlodbc(server: Json, rendered: Json, _by_url: bool) -> Command:
    """Its parameters are a part of the connection string and nothing else."""
    return Command(toolchains.odbc("pythons.py"), _given(server, rendered, by_url=True))


def uri(server: Json, query: str) -> str:
    """The server's URI for libpq and its kind."""
    text = f"postgresql://{server['user']}@{server['host']}:{server['port']}/{server['dbname']}"
    return f"{text}?{query}" if query else text


def conninfo(server: Json) -> str:
    """The same as libpq's keyword/value string."""
    return " ".join(f"{name}={value}" for name, value in server.items())


def _psql(server: Json, rendered: Json, by_url: bool) -> Command:
    text = uri(server, rendered["url"]) if by_url else f"{conninfo(server)} {rendered['snippet']}"
    return Command(toolchains.psql(text), "")


def _pg_service(server: Json, rendered: Json, _by_url: bool) -> Command:
    lines = ["[proved]", *(f"{name}={value}" for name, value in server.items()), rendered["snippet"]]
    file = toolchains.written("pg_service.conf", "\n".join([*lines, ""]))
    return Command(toolchains.psql("service=proved"), "", {"PGSERVICEFILE": str(file)})


def _interpreted(tool: str, package: str, program: str) -> Start:
    return lambda server, rendered, by_url: Command(
        toolchains.interpreted(tool, package, program), _given(server, rendered, by_url)
    )


def _java(server: Json, rendered: Json, by_url: bool) -> Command:
    url = f"jdbc:postgresql://{server['host']}:{server['port']}/{server['dbname']}"
    given = {"url": f"{url}?{rendered['url']}" if by_url else url, "user": server["user"]}
    for place in ("parameters", "pool"):
        if place == "pool" or not by_url:
            given |= {f"{place}.{name}": str(value).lower() for name, value in rendered[place].items()}
    lines = "\t".join(f"{key}={value}" for key, value in given.items())
    return Command([*toolchains.java(), rendered["driver"]], lines)


def _go(server: Json, rendered: Json, _by_url: bool) -> Command:
    """A dialer is code: it is compiled as it was rendered, and what belongs into the URL comes with it."""
    snippets = {rendered["driver"].replace("/", "_"): rendered["snippet"]} if rendered["snippet"] else {}
    query = "&".join(filter(None, [rendered["url"], "sslmode=disable"]))  # lib/pq insists on TLS unless told
    given = {"driver": rendered["driver"], "url": uri(server, query), "plain": not snippets}
    return Command([*toolchains.go(**snippets), "connect"], json.dumps(given))


def _node(server: Json, rendered: Json, by_url: bool) -> Command:
    argv, environment = toolchains.node("node_postgres.js")
    return Command(argv, _given(server, rendered, by_url), environment)


def _rust(server: Json, rendered: Json, by_url: bool) -> Command:
    text = uri(server, rendered["url"]) if by_url else f"{conninfo(server)} {rendered['snippet']}"
    return Command([*toolchains.rust(), "connect"], json.dumps({"conninfo": text}))


CLIENTS: dict[str, Start] = {
    "libpq": _psql,
    "pg_service": _pg_service,
    "ruby_pg": _interpreted("ruby", "ruby-pg", "ruby_pg.rb"),
    "pdo_pgsql": _interpreted("php", "php-cli and php-pgsql", "pdo_pgsql.php"),
    **dict.fromkeys(("psycopg2", "psycopg", "psycopg_pool", "asyncpg", "pg8000"), _python),
    "psqlodbc": _psqlodbc,
    **dict.fromkeys([f"sqlalchemy+{name}" for name in ("psycopg2", "psycopg", "asyncpg", "pg8000")], _python),
    **dict.fromkeys(("pgjdbc", "hikaricp"), _java),
    **dict.fromkeys(("pgx", "lib/pq"), _go),
    "node-postgres": _node,
    "tokio-postgres": _rust,
}
#: connections that a server opens
SERVERS = ("primary_conninfo", "subscription", "postgres_fdw")
PROVED = (*CLIENTS, *SERVERS)
