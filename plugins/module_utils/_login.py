# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Login: how to reach a server, as which OS user, and a session there, after as many attempts as there is time for."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import random
import sys
import time
import typing as t

from . import _database, _default_sockets, _distribution, _login_failures, _other_user, _transient
from ._cursor import psycopg2
from ._errors import Failure

_CONNECT_TIMEOUT = 10


@dataclasses.dataclass(frozen=True)
class Login:
    """How to reach the server; names as in the modules' options without ``login_``."""

    host: str | None = None
    port: int = 5432
    user: str = "postgres"
    password: str | None = None
    unix_socket: str | None = None
    db: str = "postgres"
    ssl_mode: str = "prefer"
    ca_cert: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    connect_params: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    os_user: str | None = None
    #: milliseconds for which a login is tried again, where that may help
    connect_retry: int = 0
    #: what is logged in to, for messages
    program: str = "PostgreSQL"
    #: whether a server that libpq does not find is looked for at other places where servers listen
    search: bool = True

    @property
    def over_tcp(self) -> bool:
        """Whether the session goes over TCP (a host that is a path names the directory of a Unix socket)."""
        host = str(self.conninfo().get("host", ""))
        return bool(host) and not host.startswith(("/", "@"))

    @property
    def effective_os_user(self) -> str | None:
        """The OS user to connect as, None for the present one.

        Root over a Unix socket without a password can only mean peer authentication: then it is the OS user of the
        login's name, if there is one.
        """
        if self.os_user or os.geteuid() != 0 or self.over_tcp or self.conninfo().get("password"):
            return self.os_user
        try:
            return pwd.getpwnam(str(self.conninfo()["user"])).pw_name
        except KeyError:
            return None

    def conninfo(self) -> dict[str, t.Any]:
        """The keywords of libpq."""
        values = {
            "host": self.unix_socket or self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.db,
            "sslmode": self.ssl_mode,
            "sslrootcert": self.ca_cert,
            "sslcert": self.ssl_cert,
            "sslkey": self.ssl_key,
            "connect_timeout": _CONNECT_TIMEOUT,
            "application_name": "pgharden.connection",
            "client_encoding": "UTF8",
            **self.connect_params,
        }
        return {key: value for key, value in values.items() if value not in (None, "")}

    def remedy(self, message: str) -> str:
        """What helps against libpq's *message*."""
        return _login_failures.remedy(message, _default_sockets.there())

    def __str__(self) -> str:
        where = self.unix_socket or self.host or "the local Unix socket"
        return f"logging in to {self.program} at {where}, port {self.port}, as {self.user}"


def connect(login: Login, kind: t.Callable[[t.Any], t.Any] = _database.Database, may_be_down: bool = False) -> t.Any:
    """A session as *login* says, which is what *kind* makes of a connection.

    For a server that *may_be_down* nobody waits. Raises Failure ``login_failed``, ``missing_library`` or
    ``cannot_switch_user``.
    """
    if psycopg2 is None:
        raise Failure(
            "missing_library",
            str(login),
            "the Python library psycopg2 is not there",
            _distribution.psycopg2(
                _this_linux(), sys.version_info[:2], sys.executable or "python3", sys.prefix != sys.base_prefix
            ),
        )
    user = login.effective_os_user
    if user is None:
        return _open(login, kind, may_be_down)
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise _cannot_switch(login, user, "the host has no such OS user", "Name another one.") from None
    if entry.pw_uid == os.geteuid():
        return _open(login, kind, may_be_down)
    if os.geteuid() != 0:
        raise _cannot_switch(login, user, "only root can do so", "Run the task with become: true, or as that user.")
    return _other_user.Child(str(login), entry, lambda: _open(login, kind, may_be_down))


def _this_linux() -> _distribution.Distribution:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
            return _distribution.of(stream.read())
    return _distribution.Distribution()


def _cannot_switch(login: Login, user: str, found: str, remedy: str) -> Failure:
    return Failure("cannot_switch_user", f"{login}, from OS user {user}", found, remedy)


def _open(login: Login, kind: t.Callable[[t.Any], t.Any], may_be_down: bool) -> t.Any:
    """A session, after as many attempts as *login* has time for while the failures are such as pass."""
    deadline = time.monotonic() + login.connect_retry / 1000
    attempt = 0
    while True:
        try:
            return _try(login, kind)
        except Failure as failure:
            # Where a server on this host has no socket, it was stopped, or the path is wrong.
            down, transient = map(failure.details.get, ("down", "transient"))
            waiting = login.over_tcp and not may_be_down if down else transient
            chance = random.random()  # no secret
            seconds = _transient.pause(attempt, deadline - time.monotonic(), chance) if waiting else None
            if seconds is None:
                raise
        time.sleep(seconds)
        attempt += 1


def _try(login: Login, kind: t.Callable[[t.Any], t.Any]) -> t.Any:
    """One attempt; where nobody is found, and no place was named, also at the other places where servers listen."""
    try:
        return _try_at(login, kind, {})
    except Failure as failure:
        places = []
        if login.search and failure.details.get("down"):  # a signal is a Failure, too
            places = _default_sockets.others(login.conninfo(), os.environ)
        for number, place in enumerate(places, 1):
            try:
                return _try_at(login, kind, place)
            except Failure as other:
                if not other.details.get("down") or number == len(places):
                    raise
        raise


def _try_at(login: Login, kind: t.Callable[[t.Any], t.Any], place: t.Mapping[str, t.Any]) -> t.Any:
    try:
        return kind(psycopg2.connect(**{**place, **login.conninfo()}))
    except (psycopg2.Error, TypeError, ValueError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        for secret in _secrets(login):
            message = message.replace(secret, "********")
        kinds = {"down": _login_failures.is_down(message), "transient": _transient.is_transient(message)}
        raise Failure("login_failed", str(login), message, login.remedy(message), **kinds) from None


def _secrets(login: Login) -> list[str]:
    values = [str(value) for key, value in login.connect_params.items() if "password" in key]
    return [value for value in [login.password, *values] if value]
