# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Login: a session of the server, opened here or by a child process that runs as another OS user.

The child exists for peer authentication: a module that runs as root logs in as ``postgres`` without ``become_user``
and its temporary files. It has dropped its privileges for good before it connects, and answers calls of `Database`
methods with JSON over a socket pair; it ends when the module does.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
import queue
import re
import signal
import socket
import threading
import time
import typing as t

from . import _channel, _database, _signals
from ._errors import Failure

_CONNECT_TIMEOUT = 10
_ATTEMPT = re.compile("connection to server (?:at|on) |could not connect to server: ")
#: How long a child goes on with what it has been asked for after its module has gone.
_GRACE_SECONDS = 1.0


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

    def __str__(self) -> str:
        where = self.unix_socket or self.host or "the local Unix socket"
        return f"logging in to PostgreSQL at {where}, port {self.port}, as {self.user}"


def connect(login: Login) -> _database.Database:
    """A session as *login* says. Raises Failure ``login_failed``, ``missing_library`` or ``cannot_switch_user``."""
    if not _database.HAS_PSYCOPG2:
        raise Failure(
            "missing_library",
            str(login),
            "the Python library psycopg2 is not there",
            "Install it for the Python that Ansible uses on the host (Debian: python3-psycopg2).",
        )
    user = login.effective_os_user
    if user is None:
        return _open(login)
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise _cannot_switch(login, user, "the host has no such OS user", "Name another one.") from None
    if entry.pw_uid == os.geteuid():
        return _open(login)
    if os.geteuid() != 0:
        raise _cannot_switch(login, user, "only root can do so", "Run the task with become: true, or as that user.")
    return t.cast(_database.Database, _Child(login, entry))


def _cannot_switch(login: Login, user: str, found: str, remedy: str) -> Failure:
    return Failure("cannot_switch_user", f"{login}, from OS user {user}", found, remedy)


def _open(login: Login) -> _database.Database:
    psycopg2 = _database.psycopg2
    try:
        return _database.Database(psycopg2.connect(**login.conninfo()))
    except (psycopg2.Error, TypeError, ValueError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        for secret in _secrets(login):
            message = message.replace(secret, "********")
        raise Failure("login_failed", str(login), message, _remedy(message), down=_is_down(message)) from None


def _secrets(login: Login) -> list[str]:
    values = [str(value) for key, value in login.connect_params.items() if "password" in key]
    return [value for value in [login.password, *values] if value]


def _is_down(message: str) -> bool:
    """Whether nobody listens there (libpq passes on the system's texts, and modules run with LC_ALL=C).

    One of several addresses of a host that answers, be it with an error, is a server that is up.
    """
    attempts = _ATTEMPT.split(message)
    return len(attempts) > 1 and all(
        "Is the server running" in attempt and ("Connection refused" in attempt or "No such file" in attempt)
        for attempt in attempts[1:]
    )


#: The server's own texts are untranslated only if its lc_messages says so; else what comes after these applies.
_LOGIN_REMEDIES = (
    ("timeout expired", "See whether the server or its host hangs, or correct login_host and login_port."),
    ("Connection refused", "Start the server, or correct login_host and login_port."),
    ("No such file or directory", "Start the server, or correct login_unix_socket and login_port."),
    ("starting up", "Wait until the server has started, then run again."),
    ("not yet accepting connections", "Wait until the server has started, then run again."),
    ("shutting down", "Start the server again, then run again."),
    ("too many clients", "Free a connection, or log in as superuser, for whom some are reserved."),
    ("remaining connection slots", "Free a connection, or log in as superuser, for whom some are reserved."),
    ("no password supplied", "Give login_password."),
    ("password authentication failed", "Correct login_user or login_password."),
    ("Peer authentication failed", "Set login_os_user to the OS user that pg_hba.conf expects, and run as root."),
    ("no pg_hba.conf entry", "Log in another way, or let pg_hba.conf admit this login."),
    ("certificate", "Correct ca_cert, ssl_cert, ssl_key or login_host."),
    ("does not exist", "Correct login_user or login_db."),
)


def _remedy(message: str) -> str:
    for phrase, remedy in _LOGIN_REMEDIES:
        if phrase in message:
            return remedy
    return "Correct the login options."


class _Child:
    """Stands in for a `Database` that lives in a child process of another OS user."""

    def __init__(self, login: Login, entry: pwd.struct_passwd) -> None:
        self._socket, other = socket.socketpair()
        self._asked = str(login)
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _serve(other, login, entry)
        other.close()
        try:
            self._receive()
        except Failure:
            self._reap()
            raise

    def __getattr__(self, name: str) -> t.Callable[..., t.Any]:
        def call(*arguments: t.Any) -> t.Any:
            # A signal waits for the answer, as it does for libpq's: else the next call would get it.
            old = signal.pthread_sigmask(signal.SIG_BLOCK, _signals.ENDING)
            try:
                _channel.send(self._socket, {"call": name, "arguments": arguments})
                return self._receive()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, old)

        return call

    def close(self) -> None:
        """End the session and the child."""
        self._reap()

    def _receive(self) -> t.Any:
        answer = _channel.read(self._socket)
        if answer is None:
            raise Failure("login_failed", self._asked, "the child process with the session has died", "Try again.")
        if "failure" in answer:
            raise Failure(**answer["failure"])
        return answer["result"]

    def _reap(self) -> None:
        self._socket.close()
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = 0


def _serve(channel: socket.socket, login: Login, entry: pwd.struct_passwd) -> t.NoReturn:
    """The child: becomes *entry*'s user, logs in, answers calls until the module closes its end. Never returns."""
    try:
        for number in _signals.ENDING:
            # These may go to the whole process group. The module needs this session to put things back.
            signal.signal(number, signal.SIG_IGN)
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.chdir("/")
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
        database: _database.Database | None = None

        def answer(call: t.Callable[[], t.Any]) -> None:
            try:
                _channel.send(channel, {"result": call()})
            except Failure as failure:
                _channel.send(channel, {"failure": failure.as_dict()})
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
                bug = Failure("unexpected", "talking to the server", found, "Report this as a bug.")
                _channel.send(channel, {"failure": bug.as_dict()})

        def log_in() -> None:
            nonlocal database
            database = _open(login)

        requests: queue.Queue[t.Any] = queue.Queue()
        threading.Thread(target=_listen, args=(channel, requests), daemon=True).start()
        answer(log_in)
        while database is not None:
            request = requests.get()
            if request is None:
                # With a goodbye, lest the server count the session as abandoned.
                database.close()
                break
            answer(lambda: getattr(database, request["call"])(*request["arguments"]))  # noqa: B023 - called at once
    finally:
        # Not sys.exit: the parent's exit handlers and buffers are not the child's to run.
        os._exit(0)


def _listen(channel: socket.socket, requests: queue.Queue[t.Any]) -> None:
    """Pass on the requests; when the module has gone, end this process even if the server does not answer."""
    request: t.Any = True
    while request is not None:
        request = _channel.read(channel)
        requests.put(request)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
