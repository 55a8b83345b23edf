# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection of a drill, in a child process: it goes into its phase, and what befalls it is done here, at its end."""

from __future__ import annotations

import os
import select
import socket
import time
import typing as t

from .. import _settings
from .._cursor import psycopg2
from .._database import Database
from . import _cut, _namespace, _sql
from ._black_hole import BlackHole
from ._cells import Cell

#: How long after the cut the late reply of phase idle_unacknowledged is due.
_REPLY_SECONDS = 0.5
#: Read at this pace a stream keeps its window open without keeping a processor busy.
_ROWS_AT_ONCE, _REST_SECONDS = 64, 0.01
#: The kernel's own numbers where Python has no name for them.
_TCP_USER_TIMEOUT = 18


class Job(t.NamedTuple):
    """What a client is for: *conninfo* as libpq takes it, the drill's *number*, its sessions' *lifetime* in seconds.

    Before its login a connection is only seen by the server's own kernel; where that cannot be *observed*, the client
    goes silent instead of deaf: until a login it is the same to the server but for the answered keepalive probes.
    """

    cell: Cell
    conninfo: dict[str, t.Any]
    number: int
    lifetime: float
    observed: bool = True
    link: _namespace.Link | None = None


class Connection:
    """*say* tells the drill of an event; *aside* runs what may block for ever, and tells the drill if it fails."""

    def __init__(self, job: Job, say: t.Callable[..., None], aside: t.Callable[[t.Callable[[], None]], None]) -> None:
        self._job = job
        self._say = say
        self._aside = aside
        self._session: t.Any = None
        self._socket: socket.socket | None = None
        self._stream = _Stream(lambda: self._say("reading"))

    # ---- before the fault

    def connect(self) -> None:
        """Log in, or go as far as the phase allows, and tell what the session says of itself."""
        job = self._job
        if job.link:
            job.link.enter()
        if job.cell.phase == "authenticating":
            address = (job.conninfo["host"], job.conninfo["port"])
            self._socket = socket.create_connection(address, timeout=job.conninfo["connect_timeout"])
            self._say("connected", local=self._socket.getsockname()[:2])
            return
        if job.cell.phase == "connecting":
            self._black_hole = BlackHole()
            self._say("connected")
            return
        self._session = psycopg2.connect(**job.conninfo)
        database = Database(self._session)
        self._socket = socket.socket(fileno=os.dup(self._session.fileno()))
        session = database.ask("reading the session", _sql.SESSION, {"names": list(_settings.SETTINGS)})
        limits = {"lifetime": str(round(job.lifetime * 1000)), "survive": job.cell.survivable}
        database.ask("limiting the session's life", _sql.LIMIT_LIFE, limits)
        self._say(
            "connected",
            local=self._socket.getsockname()[:2],
            options=_socket_options(self._socket),
            tls=self._session.info.ssl_in_use,
            **session,
        )

    def enter(self) -> None:
        """Go into the phase; returns when the server, or nobody, has ended it."""
        phase, number = self._job.cell.phase, self._job.number
        if phase == "executing_cpu":
            self._execute(_sql.COMPUTE)
        elif phase in ("executing", "waiting"):
            self._execute(_sql.SLEEP, (self._job.lifetime,))
        elif phase == "lock_wait":
            self._execute(_sql.WAIT_FOR_LOCK, (_sql.WAIT_LOCK, number))
        elif phase == "idle_in_transaction":
            self._execute(_sql.HOLD_IN_TRANSACTION, (_sql.TRANSACTION_LOCK, number))
        elif phase == "sending" and self._job.cell.side == "server":
            with self._session.cursor() as cursor:
                cursor.copy_expert(_sql.STREAM, self._stream)
        elif self._session:
            self._execute(_sql.WORK)
            self._say("idle")
            if phase == "idle" and self._job.cell.side == "client":
                self._await_error()

    def _execute(self, statement: str, parameters: t.Sequence[t.Any] = ()) -> None:
        with self._session.cursor() as cursor:
            cursor.execute(statement, parameters)

    def _await_error(self) -> None:
        """As a pool that looks at its idle connections does: until the kernel has declared this one dead."""
        poll = select.poll()
        poll.register(t.cast(socket.socket, self._socket), select.POLLERR | select.POLLHUP)
        poll.poll()
        code = t.cast(socket.socket, self._socket).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        raise OSError(os.strerror(code))

    def _await_end(self) -> None:
        connection = t.cast(socket.socket, self._socket)
        connection.settimeout(None)
        while connection.recv(1024):
            pass
        raise OSError("the server has closed the connection")

    # ---- the fault, and after it

    def fault(self) -> None:
        """Make it happen, and tell since when it counts."""
        cell = self._job.cell
        due = 0.0
        if cell.phase == "connecting":
            self._aside(self._call_in_vain)
        elif cell.phase == "idle_unacknowledged":
            due = time.monotonic() + _REPLY_SECONDS
            self._aside(lambda: self._execute(_sql.SLEEP, (_REPLY_SECONDS,)))
            time.sleep(_REPLY_SECONDS / 2)  # the statement has to leave before the cut, the reply after it
            self._break(t.cast(socket.socket, self._socket))
        elif cell.phase == "authenticating" and not self._job.observed:
            self._aside(self._await_end)
        else:
            self._break(t.cast(socket.socket, self._socket))
        # Not before it was done: taking a link down starts a program, for which a busy host may need a while.
        self._say("fault", since=max(due, time.monotonic()))
        if cell.fault == "path_forgot_flow":
            os._exit(0)
        if cell.side == "client" and cell.phase == "sending":
            self._aside(lambda: self._execute(_sql.WORK))

    def _call_in_vain(self) -> None:
        host, port = self._black_hole.address
        psycopg2.connect(**{**self._job.conninfo, "host": host, "port": port})

    def _break(self, connection: socket.socket) -> None:
        fault = self._job.cell.fault
        if self._job.cell.side == "server":
            # A client that is gone probes nobody. This one, deaf, would give up by its own probes and send an RST.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        if fault == "slow_reader":
            self._stream.paused = True
        elif fault == "path_forgot_flow":
            _cut.forget(connection)
        elif fault == "probes_dropped":
            _cut.drop_bare_acks(connection)
        elif self._job.link:
            self._job.link.down()
        else:
            _cut.deafen(connection)

    def mend(self) -> None:
        """End the fault, where it is one that can end."""
        if self._job.cell.fault == "slow_reader":
            self._stream.paused = False
        elif self._job.link:
            self._job.link.up()
        elif self._socket:
            _cut.heal(self._socket)

    def use(self) -> None:
        """Find out whether the session still works; the answer is the event ``answered`` or ``error``."""
        if self._job.cell.phase in ("executing", "sending"):
            self._stream.hurry = True
            self._session.cancel()  # its error message has to arrive through this very session
        else:
            self._aside(self._work)

    def _work(self) -> None:
        self._execute(_sql.WORK)
        self._say("answered")

    def close(self) -> None:
        """Go, as well as that can be done."""
        self.mend()  # so that the goodbye arrives
        if self._session and not self._session.isexecuting() and self._job.cell.phase in ("idle", "probe"):
            self._session.close()  # with a goodbye, lest the server count the session as abandoned


class _Stream:
    """What a result is copied into."""

    def __init__(self, reading: t.Callable[[], None]) -> None:
        self.paused = self.hurry = False
        self._rows = 0
        self._reading = reading

    def write(self, data: bytes) -> None:
        """Takes a row."""
        self._rows += 1
        if self._rows == _ROWS_AT_ONCE:
            self._reading()
        if not self.hurry and self._rows % _ROWS_AT_ONCE == 0:
            time.sleep(_REST_SECONDS)
        while self.paused:
            time.sleep(_REST_SECONDS)


def _socket_options(connection: socket.socket) -> dict[str, int]:
    """What libpq, or the kernel, has put on this end."""

    def value(level: int, option: int) -> int:
        return connection.getsockopt(level, option)

    return {
        "keepalive": value(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        "tcp_keepalives_idle": value(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        "tcp_keepalives_interval": value(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        "tcp_keepalives_count": value(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        "tcp_user_timeout": value(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT),
    }
