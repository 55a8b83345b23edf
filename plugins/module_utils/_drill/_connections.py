# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of a drill, all of them: where they go, their clients here, their sessions there, and how they end."""

from __future__ import annotations

import contextlib
import random
import time
import typing as t

from .. import _duration, _kernel
from .._database import Database
from .._errors import Failure
from .._login import Login
from . import _namespace, _sql
from ._cells import Cell
from ._client import Client
from ._connection import Job
from ._wish import Wish

#: Beyond the patience and the outages, for logging in and for tidying up.
_SPARE_SECONDS = 90.0
_TIDY_SECONDS = 5.0
_ONLY_OF_WATCHER = ("hostaddr", "application_name", "options")

Row = t.Dict[str, t.Any]


class Connections:
    """Over TCP to *host* and *port*. *local* is whether the server's sockets can be seen here; the probe finds out."""

    def __init__(self, login: Login, wish: Wish, database: Database, files: t.Mapping[str, str]) -> None:
        self.number = random.SystemRandom().randrange(1, 2**31)
        self.host, self.port = _target(login, wish.target_host, files)
        self.local = False
        self._wish = wish
        self._database = database
        self._name = f"{_sql.NAME}{self.number:08x}"
        kept = {key: value for key, value in login.conninfo().items() if key not in _ONLY_OF_WATCHER}
        self.conninfo = {**kept, "host": self.host, "port": self.port, "application_name": self._name}
        self._clients: list[Client] = []

    def start(self, cell: Cell, index: int) -> Client:
        """A client, which has not logged in; *index* is its number among the drill's."""
        self._clients.append(Client(self._job(cell, index)))
        return self._clients[-1]

    def _job(self, cell: Cell, index: int) -> Job:
        wish = self._wish
        link = _namespace.link(self.number, index) if wish.method == "namespace" else None
        conninfo = {**self.conninfo, "host": link.host_address} if link else self.conninfo
        # An outage of one's own length goes on for up to two more until the session has answered.
        outage = max(wish.outage or 0.0, wish.pause or 0.0)
        lifetime = min(wish.patience + 3 * outage + _SPARE_SECONDS, _duration.LONGEST / 1000)
        return Job(cell, conninfo, self.number, lifetime, self.local, link)

    def backends(self) -> list[Row]:
        """The sessions, as the server shows them."""
        return t.cast("list[Row]", self._database.ask("watching the drill", _sql.WATCH, {"name": self._name}))

    def sockets(self) -> set[tuple[str, int]]:
        """Where the connections come from that the server's port has, as far as this host's kernel has them."""
        return {(address, port) for _own_port, address, port in _kernel.timers(self.port)}

    def end(self, sessions: t.Iterable[Row]) -> None:
        for session in sessions:
            self._database.terminate(session["pid"], session["backend_start"])

    def tidy(self) -> None:
        """End every client and session of the drill, whatever has happened."""
        for client in self._clients:
            client.tell("end")
        for client in self._clients:
            client.end(0.5)
        with contextlib.suppress(Failure):  # a server that is gone has no sessions left
            deadline = time.monotonic() + _TIDY_SECONDS
            left = self.backends()
            while left and time.monotonic() < deadline:
                self.end(left)
                time.sleep(0.05)
                left = self.backends()


def _target(login: Login, host: str | None, files: t.Mapping[str, str]) -> tuple[str, int]:
    """Address and port: *host* if somebody has named it, else where the watching session goes if that is over TCP."""
    host = host or (str(login.conninfo()["host"]) if login.over_tcp else None)
    if host:  # of several, the first
        return host.partition(",")[0], int(str(login.conninfo()["port"]).partition(",")[0])
    port = int(files["port"])
    addresses = _kernel.addresses(files["listen_addresses"])
    if not addresses:
        raise Failure(
            "no_tcp",
            "a drill",
            "the server has no TCP: listen_addresses is empty",
            "A Unix socket has no path that could break, so that there is nothing to be drilled.",
        )
    return addresses[0], port
