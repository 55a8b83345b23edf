# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DSN info: what the kernel has on the socket that a DSN really opens, beside what the policy wants of a client."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
import typing as t

from . import _kernel, _login, _policy, _poolers
from ._database import Database
from ._errors import Failure
from ._path import _plans
from ._path._driver import SOCKET
from ._settings import SLACK

try:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn
except ImportError:  # `_login.connect` says so
    HAS_PSYCOPG2 = False
else:
    HAS_PSYCOPG2 = True

Row = t.Dict[str, t.Any]
_CONNECT_SECONDS = 10
#: Keywords and variables of libpq that say for how long it waits, or may.
_GIVE_TIMEOUT = ("connect_timeout", "service", "PGCONNECT_TIMEOUT", "PGSERVICE")
#: Options of a login, as a DSN has them.
_KEYWORDS = {
    "login_unix_socket": "host",
    "login_host": "host",
    "login_port": "port",
    "login_user": "user",
    "login_password": "password",
    "login_db": "dbname",
    "ca_cert": "sslrootcert",
    "ssl_cert": "sslcert",
    "ssl_key": "sslkey",
    "the login options": "the DSN",
}
#: A timer is armed when the last answer has been acknowledged, which may take as long as a delayed ACK.
_ARMED_SECONDS = 2.0
#: libpq's keyword, to the option that it sets on a socket.
_OPTIONS = {
    "keepalives": (socket.SOL_SOCKET, "SO_KEEPALIVE"),
    "keepalives_idle": (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
    "keepalives_interval": (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
    "keepalives_count": (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
    "tcp_user_timeout": (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
}


@dataclasses.dataclass(frozen=True)
class DsnLogin(_login.Login):
    """A login that is what a DSN says, and not what our options say by default."""

    dsn: str = ""

    def conninfo(self) -> Row:
        """The keywords of libpq that the DSN sets."""
        values = {**parse_dsn(self.dsn), **self.connect_params}
        return {**values, "connect_timeout": _CONNECT_SECONDS} if self.without_end else values

    @property
    def without_end(self) -> bool:
        """Whether an application would wait for ever; we do not."""
        given = {**parse_dsn(self.dsn), **self.connect_params}
        return given.keys().isdisjoint(_GIVE_TIMEOUT) and os.environ.keys().isdisjoint(_GIVE_TIMEOUT)

    def remedy(self, message: str) -> str:
        """The same, in keywords of libpq instead of options that the module does not have."""
        if "setsockopt(TCP_KEEP" in message:
            return "Leave out keepalives_idle, _interval and _count where they are 0, and keep to 32767, 32767 and 127."
        remedy = super().remedy(message)
        for option, keyword in _KEYWORDS.items():
            remedy = remedy.replace(option, keyword)
        return remedy

    def __str__(self) -> str:
        return "logging in as the DSN says"


class _Session(Database):
    """A session that also shows the client's end of its socket."""

    def client_socket(self) -> Row:
        """The options that the kernel has on it, ``local`` and ``remote``; nothing of these over a Unix socket."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            if end.family == socket.AF_UNIX:
                return {"unix_socket": True}
            names = {key: (level, getattr(socket, name, None)) for key, (level, name) in _OPTIONS.items()}
            options = {key: end.getsockopt(level, name) for key, (level, name) in names.items() if name is not None}
            local, remote = end.getsockname()[:2], end.getpeername()[:2]
        return {"unix_socket": False, **options, "local": list(local), "remote": list(remote)}

    def keywords(self) -> dict[str, str]:
        """What libpq went by, those of a service included, but nothing secret."""
        found = self._connection.info.dsn_parameters
        return {key: found[key] for key in (*SOCKET, "connect_timeout") if key in found}


def login_of(dsn: str, connect_params: t.Mapping[str, t.Any], os_user: str | None, retry: int) -> DsnLogin:
    """The login of a *dsn*. Raises Failure ``bad_dsn``, which shows nothing of it."""
    password = None
    if HAS_PSYCOPG2:
        try:
            password = {**parse_dsn(dsn), **connect_params}.get("password")
        except (ProgrammingError, UnicodeError, ValueError):
            remedy = "Write a connection string (host=db dbname=app) or a URI (postgresql://app@db/app)."
            raise Failure("bad_dsn", "reading the DSN", "libpq cannot read it", remedy) from None
    return DsnLogin(
        password=password, connect_params=connect_params, os_user=os_user, connect_retry=retry, search=False, dsn=dsn
    )


def look(login: DsnLogin, policy: t.Mapping[str, t.Any]) -> Row:
    """Connect as *login* says and compare. Returns what the module ``dsn_info`` returns."""
    parsed = _policy.parse(policy)
    plan = _plans.client(parsed)
    started = time.monotonic()
    session = t.cast(_Session, _login.connect(login, _Session))
    try:
        elapsed = time.monotonic() - started
        found, keywords = session.client_socket(), session.keywords()
        if login.without_end:
            del keywords["connect_timeout"]
        own = session.own_session()
        if not found["unix_socket"]:
            found["timer"] = _armed(found)
    finally:
        session.close()
    wanted = {key: plan[key] for key in (*SOCKET, "connect_timeout") if key in plan}
    return {
        "changed": False,
        "policy": parsed.as_dict(),
        "socket": found,
        "keywords": keywords,
        "wanted": wanted,
        "differs": _differences(wanted, found, keywords),
        "through": [*_elsewhere(found, own), *_poolers.by_age(own["age"], elapsed)],
    }


def _armed(found: Row) -> Row | None:
    """The timer that the kernel has armed on the socket; None where it shows none of that socket."""
    key = (found["local"][1], *found["remote"])
    deadline = time.monotonic() + _ARMED_SECONDS
    while True:
        timer = _kernel.timers(key[0]).get(key)
        if timer is None:
            return None
        if timer.kind == "keepalive" or not found["keepalives"] or time.monotonic() > deadline:
            return {"kind": timer.kind, "seconds": round(timer.seconds, 2)}
        time.sleep(0.01)


def _differences(wanted: t.Mapping[str, int], found: Row, keywords: t.Mapping[str, str]) -> list[Row]:
    rows = []
    given = keywords.get("connect_timeout")
    if "connect_timeout" in wanted and (not given or not 0 < int(given) <= wanted["connect_timeout"]):
        rows.append({"setting": "connect_timeout", "wanted": wanted["connect_timeout"], "found": int(given or 0)})
    if found["unix_socket"]:
        return rows
    for key in SOCKET:
        if key in wanted and key in found and found[key] != wanted[key]:
            rows.append({"setting": key, "wanted": wanted[key], "found": found[key]})
    timer, idle = found["timer"], wanted.get("keepalives_idle")
    # The kernel rounds a timer up to its ticks.
    if idle and timer and timer["kind"] == "keepalive" and timer["seconds"] > idle * SLACK + 1:
        rows.append({"setting": "timer", "wanted": idle, "found": timer["seconds"]})
    return rows


def _elsewhere(found: Row, own: Row) -> list[Row]:
    """The server sees another client than us: something in between ends TCP, or translates addresses."""
    if found["unix_socket"] or [own["client_addr"], own["client_port"]] == found["local"]:
        return []
    there = f"{own['client_addr']}, port {own['client_port']}" if own["client_addr"] else "at a Unix socket"
    evidence = f"the server's client is {there}, and not this socket"
    return [{"name": "pooler, proxy or NAT", "seen_in": "pg_stat_activity", "evidence": evidence}]
