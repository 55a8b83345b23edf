# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Effective: what a fresh TCP session of a server really gets, beside the kernel's view of that very socket."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from . import _kernel, _login
from ._database import Database
from ._errors import Failure

#: Bounds the whole: so many addresses, so many seconds for each.
_ADDRESSES = 3
_CONNECT_SECONDS = 3
#: Until the last answer is acknowledged keepalive is not armed; where that cannot be asked for it takes up to 40 ms.
_ARMED_SECONDS = 0.5
_LOGIN_ONLY = ("host", "hostaddr", "port", "connect_timeout")


def of_login(login: _login.Login, database: Database, own: t.Mapping[str, t.Any], names: list[str]) -> dict[str, t.Any]:
    """Of the login's own session, if that goes over TCP; *own* is what it knows of itself."""
    return _view("login", login.conninfo().get("host"), database, own, names)


def of_new_session(
    login: _login.Login, files: t.Mapping[str, str], own: t.Mapping[str, t.Any], names: list[str], idle: int
) -> dict[str, t.Any]:
    """Of a session that is opened for it over TCP, with the credentials of a login over a Unix socket.

    *files* has the server's listen_addresses and port, *own* is the login's session. Where no TCP login is possible it
    is a bare connection: the server arms its keepalive before it asks who that is. *idle* is what it should come to.
    """
    port = int(files["port"])
    problems = []
    answering = []
    for address in _kernel.addresses(files["listen_addresses"])[:_ADDRESSES]:
        try:
            database = _login.connect(_over_tcp(login, address, port))
        except Failure as failure:
            problems.append(f"{address}: {failure.found}")
            if not failure.details.get("down"):
                answering.append(address)
            continue
        try:
            session = database.own_session()
            if session["server_started"] == own["server_started"]:
                return _view("new_session", address, database, session, names)
            problems.append(f"{address}: another server answers there")
        finally:
            database.close()
    reason = "; ".join(problems) or "listen_addresses is empty"
    for address in answering[:1]:
        seconds = _kernel.keepalive_of_new_connection(address, port, idle)
        if seconds is not None:
            kernel = {"timer": "keepalive", "seconds": round(seconds, 2)}
            return {"through": "bare_connection", "host": address, "settings": None, "kernel": kernel, "reason": reason}
    return {"through": None, "host": None, "settings": None, "kernel": None, "reason": reason}


def _over_tcp(login: _login.Login, address: str, port: int) -> _login.Login:
    """*login* by another way, from the same OS user (who may have a .pgpass)."""
    kept = {key: value for key, value in login.connect_params.items() if key not in _LOGIN_ONLY}
    return dataclasses.replace(
        login,
        host=address,
        port=port,
        unix_socket=None,
        os_user=login.effective_os_user,
        connect_params={**kept, "connect_timeout": _CONNECT_SECONDS},
        connect_retry=0,
    )


def _view(
    through: str, host: str | None, database: Database, session: t.Mapping[str, t.Any], names: list[str]
) -> dict[str, t.Any]:
    settings = database.session_values(names)
    database.acknowledge()
    return {"through": through, "host": host, "settings": settings, "kernel": _armed(session), "reason": None}


def _armed(session: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """The timer on the server's side of *session*; None where the kernel of this host does not have that socket."""
    port = session["server_port"]
    deadline = time.monotonic() + _ARMED_SECONDS
    while True:
        timer = _kernel.timers(port).get((port, session["client_addr"], session["client_port"]))
        if timer is None:
            return None
        if timer.kind == "keepalive" or time.monotonic() > deadline:
            return {"timer": timer.kind, "seconds": round(timer.seconds, 2)}
        time.sleep(0.01)
