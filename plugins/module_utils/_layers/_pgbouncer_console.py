# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer's admin console: a session of its database ``pgbouncer``, and what is asked of it, as plain JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import typing as t

from .. import _files, _kernel, _login
from .._cursor import psycopg2
from .._errors import Failure
from . import _pgbouncer_process, _pgbouncerini
from ._pgbouncer_process import Process

Row = t.Dict[str, t.Any]


class Console:
    """One session. Every method raises Failure ``console_refused`` with PgBouncer's own message."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection
        # The console knows no BEGIN.
        connection.autocommit = True

    def show(self, what: str) -> list[Row]:
        """The rows of SHOW *what* (VERSION, CONFIG, SERVERS ...)."""
        with self._cursor(f"SHOW {what}") as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def command(self, name: str) -> None:
        """RELOAD or RECONNECT."""
        with self._cursor(name):
            pass

    def set(self, name: str, value: str) -> None:
        """Change a setting in force until the next reload."""
        quoted = value.replace("'", "''")
        with self._cursor(f"SET {name} = '{quoted}'"):
            pass

    def local(self) -> list[t.Any]:
        """Address and port of our end of the connection; empty over a Unix socket."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            return list(end.getsockname()[:2]) if end.family != socket.AF_UNIX else []

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    @contextlib.contextmanager
    def _cursor(self, statement: str) -> t.Iterator[t.Any]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
                yield cursor
        except psycopg2.Error as error:
            message = " ".join(str(error).split())
            raise Failure(
                "console_refused",
                f"{statement.partition(' = ')[0]} at PgBouncer's console",
                message,
                "Log in as one of its admin_users, and see PgBouncer's log.",
            ) from error


def config(console: Console) -> dict[str, Row]:
    """SHOW CONFIG: for each setting its ``value``, its ``default`` and whether it is ``changeable`` by a reload."""
    return {
        row["key"]: {
            "value": row["value"],
            "default": row.get("default"),
            "changeable": row["changeable"] == "yes",
        }
        for row in console.show("CONFIG")
    }


def login(process: Process | None, config_file: str, options: t.Mapping[str, t.Any]) -> _login.Login:
    """Without options: over the Unix socket as user pgbouncer, who is let in if PgBouncer's own OS user asks."""
    items = _pgbouncerini.items(
        config_file, _files.read(config_file) or b"", _pgbouncer_process.loader(process, config_file)
    )
    values = _pgbouncerini.values(items)
    host, unix_socket = options.get("login_host"), options.get("login_unix_socket")
    if not host and not unix_socket:
        unix_socket = values.get("unix_socket_dir", "/tmp")  # as PgBouncer has it
        if not unix_socket:
            host = next(iter(_kernel.addresses(values.get("listen_addr", ""))), None)
    further = ("ssl_mode", "ca_cert", "ssl_cert", "ssl_key", "connect_params")
    one = _login.Login(
        host=host,
        unix_socket=unix_socket,
        port=options.get("login_port") or _pgbouncerini.port(values, config_file),
        user=options.get("login_user") or "pgbouncer",
        password=options.get("login_password"),
        os_user=options.get("login_os_user"),
        db="pgbouncer",
        program="PgBouncer",
        **{key: options[key] for key in further if key in options},
    )
    if process and os.geteuid() == 0 and not one.over_tcp and not one.password and one.user == "pgbouncer":
        return dataclasses.replace(one, os_user=one.os_user or process.user)
    return one
