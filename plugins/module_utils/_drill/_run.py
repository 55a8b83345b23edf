# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run of a drill: checks what is asked for, opens connections, watches the courses of all cells, and tidies up."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import random
import socket
import time
import typing as t

from .. import _duration, _in_force, _kernel, _login, _poolers, _promises, _signals
from .._database import Database
from .._errors import Failure
from . import _cells, _cut, _namespace, _sql
from ._cells import Cell, Expected
from ._child import Job
from ._client import Client, Event
from ._course import Course, Sample
from ._log import Log

_SAMPLE_SECONDS = 0.1
#: Beyond the patience and the outages, for logging in and for tidying up.
_SPARE_SECONDS = 90.0
_TIDY_SECONDS = 5.0
_ONLY_OF_WATCHER = ("hostaddr", "application_name", "options")
_PROBE = Cell("server", "probe", "peer_vanished")

Row = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for; times in seconds."""

    side: str = "server"
    phases: t.Sequence[str] = ()
    faults: t.Sequence[str] = ()
    method: str = "socket"
    patience: float = 120.0
    outage: float | None = None
    pause: float | None = None
    log_file: str | None = None
    target_host: str | None = None


def run(login: _login.Login, wish: Wish, check_mode: bool) -> Row:
    """What the module drill returns."""
    cells = _cells.choose(wish.side, wish.phases, wish.faults)
    _check_privileges(cells, wish.method)
    with contextlib.ExitStack() as stack:
        ignore_signals = stack.enter_context(_signals.as_failures("a drill"))
        if wish.method == "namespace":
            stack.enter_context(_namespace.only_one())
            stack.callback(lambda: _namespace.remove(_namespace.present()))
            _namespace.remove(_namespace.present())
        database = _login.connect(login)
        stack.callback(database.close)
        drill = _Drill(login, wish, database)
        stack.callback(drill.tidy)
        stack.callback(ignore_signals)
        return drill.run(cells, check_mode)


def _check_privileges(cells: list[Cell], method: str) -> None:
    if not _cut.available():
        raise Failure(
            "no_such_option",
            "a drill",
            f"{platform.system()} cannot keep the packets of one socket away from it, as Linux can",
            "Run it from a Linux host that can reach the server: delegate_to, or hosts that are clients.",
        )
    privileged = sorted({cell.fault for cell in cells if cell.fault in _cells.PRIVILEGED})
    needed = ["CAP_NET_ADMIN"] if privileged or method == "namespace" else []
    needed += ["CAP_SYS_ADMIN"] if method == "namespace" else []
    missing = _cut.missing_capabilities(needed)
    if missing:
        what = f"faults {', '.join(privileged)}" if privileged else "method namespace"
        raise Failure(
            "missing_privilege",
            f"a drill with {what}",
            f"this process lacks {' and '.join(missing)}",
            "Run it with become: true (drill_become of the role), or choose faults and a method that need none.",
            missing=missing,
        )


class _Drill:
    def __init__(self, login: _login.Login, wish: Wish, database: Database) -> None:
        self._wish = wish
        self._database = database
        self._number = random.SystemRandom().randrange(1, 2**31)
        self._name = f"{_sql.NAME}{self._number:08x}"
        self._clients: list[Client] = []
        self._notes: list[str] = []
        self._local = False
        self._os = _promises.OsValues()
        database.lift_timeouts()
        self._own = database.own_session()
        self._snapshot = database.snapshot([*_promises.SETTINGS])
        self._host, self._port = self._target(login)
        self._conninfo = self._conninfo_of(login)

    def run(self, cells: list[Cell], check_mode: bool) -> Row:
        database, wish = self._database, self._wish
        for lock in (_sql.OWNER_LOCK, _sql.WAIT_LOCK):
            database.ask("taking the drill's lock", _sql.LOCK, {"lock": lock, "number": self._number})
        self._end(database.ask("looking for leftovers", _sql.LEFT_BEHIND, {"name": _sql.NAME, "lock": _sql.OWNER_LOCK}))
        self._check_room(len(cells) + 1)
        session = self._probe()
        if check_mode:
            rows = [self._row(cell, self._expect(cell, session)) for cell in cells]
            return self._result(session, rows, None)
        log = Log(database, wish.log_file, self._local)
        courses = [self._course(cell, index, session) for index, cell in enumerate(cells, 1)]
        self._watch(courses)
        rows = [self._judged(course, session, log) for course in courses]
        return self._result(session, rows, log)

    # ---- what comes first

    def _target(self, login: _login.Login) -> tuple[str, int]:
        """Where the connections that are to be cut go: over TCP, to where the watching session goes if that does."""
        host = self._wish.target_host or (str(login.conninfo()["host"]) if login.over_tcp else None)
        if host:  # of several, the first
            return host.partition(",")[0], int(str(login.conninfo()["port"]).partition(",")[0])
        port = int(self._snapshot["files"]["port"])
        addresses = _kernel.addresses(self._snapshot["files"]["listen_addresses"])
        if not addresses:
            raise Failure(
                "no_tcp",
                "a drill",
                "the server has no TCP: listen_addresses is empty",
                "A Unix socket has no path that could break, so that there is nothing to be drilled.",
            )
        return addresses[0], port

    def _conninfo_of(self, login: _login.Login) -> dict[str, t.Any]:
        kept = {key: value for key, value in login.conninfo().items() if key not in _ONLY_OF_WATCHER}
        return {**kept, "host": self._host, "port": self._port, "application_name": self._name}

    def _check_room(self, needed: int) -> None:
        free = self._database.ask("counting connections", _sql.FREE_CONNECTIONS)
        if free < needed:
            raise Failure(
                "too_few_connections",
                f"a drill of {needed - 1} cells side by side",
                f"it needs {needed} connections, and the server has {max(0, free)} left",
                "Choose fewer phases or faults at once, or drill at a quieter time.",
            )

    def _job(self, cell: Cell, link: _namespace.Link | None = None) -> Job:
        conninfo = {**self._conninfo, "host": link.host_address} if link else self._conninfo
        # An outage of one's own length goes on for up to two more until the session has answered.
        outage = max(self._wish.outage or 0.0, self._wish.pause or 0.0)
        lifetime = min(self._wish.patience + 3 * outage + _SPARE_SECONDS, _duration.LONGEST / 1000)
        return Job(cell, conninfo, self._number, lifetime, self._local, link)

    def _probe(self) -> Event:
        """One connection that shows whether a drill can work here at all; what it says of itself and the server."""
        began = time.monotonic()
        session = self._try_cut()
        elapsed = time.monotonic() - began
        if session["server_started"] != self._own["server_started"]:
            raise Failure(
                "another_server",
                f"a drill at {self._host}, port {self._port}",
                "another server answers there than the one that is logged in to",
                "Correct target_host, or login_host and login_port.",
            )
        shared = session["pid"] == self._database.ask("asking for the process", _sql.PID)
        if shared or session["client_addr"] is None or _poolers.by_age(session["age"], elapsed):
            raise Failure(
                "pooler_in_between",
                f"a drill at {self._host}, port {self._port}",
                "a pooler is in between: the server process is not this connection's own",
                "Log in to the server itself; the pooler's own connections are drilled that way too.",
            )
        if (session["client_addr"], session["client_port"]) != tuple(session["local"]):
            self._notes.append(
                f"The server sees a connection come from {session['client_addr']}:{session['client_port']} that left "
                f"here as {session['local'][0]}:{session['local'][1]}. If that is NAT, all is well; if it is a proxy, "
                "the proxy's own timers count: drill from the proxy's host."
            )
        if self._local:
            self._os = _in_force.kernel()
        elif self._wish.side == "server":
            self._notes.append(
                "The server's kernel cannot be asked from here; its tcp_retries2 is taken to be 15, Linux's default."
            )
        return session

    def _try_cut(self) -> Event:
        """What the session of a client says that was cut for a moment, to see whether nothing arrives then."""
        client = self._start(self._job(_PROBE, self._link(0)))
        events: dict[str, Event] = {}

        def await_event(name: str, patience: float) -> bool:
            deadline = time.monotonic() + patience
            while name not in events and "error" not in events and client.pid and time.monotonic() < deadline:
                for event in client.receive():
                    events[event["event"]] = event
                time.sleep(0.005)
            return name in events

        if await_event("ready", 10):
            client.connect()
        if not await_event("connected", 2 * self._conninfo["connect_timeout"]):
            found = events.get("error", {}).get("found", "no connection came about")
            raise Failure(
                "login_failed",
                f"logging in over TCP to {client.job.conninfo['host']}, port {self._port}, as {self._conninfo['user']}",
                found,
                "Let pg_hba.conf admit 192.0.2.0/24, listen_addresses be *, and a firewall let it in."
                if client.job.link
                else "Give login_host and a login that works over TCP; a role without any privilege will do.",
            )
        session = events["connected"]
        self._local = (session["client_addr"], session["client_port"]) in self._sockets()
        client.tell("fault")
        await_event("fault", 10)
        client.tell("use")
        heard = await_event("answered", 0.5)
        client.tell("heal")
        if heard or not await_event("answered", 10):
            found = "its packets still arrive" if heard else "the connection did not come back"
            raise Failure(
                "no_cut",
                f"cutting a connection to {self._host} with IP_MINTTL = 255",
                f"{found}: the peer, or a proxy on the way, sends with a TTL of 255",
                "Use method namespace on the server's own host, or drill from another one.",
            )
        client.end(2)
        return session

    # ---- the courses

    def _start(self, job: Job) -> Client:
        self._clients.append(Client(job))
        return self._clients[-1]

    def _link(self, index: int) -> _namespace.Link | None:
        return _namespace.link(self._number, index) if self._wish.method == "namespace" else None

    def _course(self, cell: Cell, index: int, probe: Event) -> Course:
        wish = self._wish
        length = wish.outage if cell.fault == "short_outage" else wish.pause
        return Course(
            self._start(self._job(cell, self._link(index))),
            lambda session: self._expect(cell, session if "settings" in session else probe),
            wish.patience,
            length,
        )

    def _expect(self, cell: Cell, session: Event) -> Expected:
        if cell.side == "client":
            options = session["options"]
            settings = _promises.Settings.of(options)
            timeout = int(self._conninfo["connect_timeout"])
            return _cells.expect_of_client(
                cell, _cells.ClientOptions(bool(options["keepalive"]), settings, timeout), _in_force.kernel()
            )
        return _cells.expect(cell, _settings(session), self._os)

    def _watch(self, courses: list[Course]) -> None:
        while not all(course.done for course in courses):
            sample = self._sample()
            for course in courses:
                course.step(sample)
            time.sleep(max(0.0, sample.began + _SAMPLE_SECONDS - time.monotonic()))

    def _sample(self) -> Sample:
        began = time.monotonic()
        rows = self._backends()
        return Sample(began, time.monotonic(), {row["pid"]: row for row in rows}, self._sockets())

    def _backends(self) -> list[Row]:
        return t.cast("list[Row]", self._database.ask("watching the drill", _sql.WATCH, {"name": self._name}))

    def _sockets(self) -> set[tuple[str, int]]:
        return {(address, port) for _own_port, address, port in _kernel.timers(self._port)}

    # ---- the end

    def tidy(self) -> None:
        """End every client and session of the drill, whatever has happened."""
        for client in self._clients:
            client.tell("end")
        for client in self._clients:
            client.end(0.5)
        with contextlib.suppress(Failure):  # a server that is gone has no sessions left
            deadline = time.monotonic() + _TIDY_SECONDS
            left = self._backends()
            while left and time.monotonic() < deadline:
                self._end(left)
                time.sleep(0.05)
                left = self._backends()

    def _end(self, sessions: list[Row]) -> None:
        for session in sessions:
            self._database.terminate(session["pid"], session["backend_start"])

    # ---- the result

    def _judged(self, course: Course, probe: Event, log: Log) -> Row:
        expected, seen = t.cast(Expected, course.expected), t.cast(_cells.Seen, course.seen)
        outcome, verdict = _cells.judge(course.cell, expected, seen)
        lines = log.lines(course.session["pid"]) if course.session.get("pid") else []
        return {
            **self._row(course.cell, expected),
            "lasted": _rounded(seen.lasted),
            "measured": _rounded(seen.gone_at),
            "outcome": outcome,
            "verdict": verdict,
            "reasons": self._reasons(course, probe) if verdict == "broken" else [],
            "log": "\n".join(lines) or None,
            "text": _cells.describe(expected, seen, outcome),
        }

    def _row(self, cell: Cell, expected: Expected) -> Row:
        promised = {"promised": expected.seconds, "bound": _rounded(expected.bound), "formula": expected.formula}
        empty = dict.fromkeys(("lasted", "measured", "outcome", "verdict", "log", "text"))
        return {"phase": cell.phase, "fault": cell.fault, **promised, **empty, "reasons": []}

    def _reasons(self, course: Course, probe: Event) -> list[str]:
        """What may be why, the likeliest first."""
        session = course.session if "settings" in course.session else probe
        reasons = list(self._notes)
        overridden = [name for name, source in session["sources"].items() if source in ("user", "database user")]
        if overridden:
            reasons.append(f"Role {self._conninfo['user']} has values of its own for {', '.join(sorted(overridden))}.")
        if session["tls"]:
            reasons.append("The session uses TLS, whose library may have to be waited for.")
        if self._local and course.cell.side == "server":
            reasons.append(f"The kernel of this host is {platform.release()}; see the limits of docs/promises.md.")
        return reasons

    def _result(self, session: Event, rows: list[Row], log: Log | None) -> Row:
        snapshot = self._snapshot
        broken = [row for row in rows if row["verdict"] == "broken"]
        result = {
            "changed": False,
            "side": self._wish.side,
            "method": self._wish.method,
            "patience": self._wish.patience,
            "tolerance": _cells.TOLERANCE,
            "server": {
                "version": snapshot["version"],
                "version_num": snapshot["version_num"],
                "host": self._host,
                "port": self._port,
                "tls": session["tls"],
                "user": self._conninfo["user"],
                "local": self._local,
            },
            "client": {"kernel": platform.release(), "host": socket.gethostname(), "options": session["options"]},
            "settings": dataclasses.asdict(_settings(session)),
            "cells": rows,
            "log": {"source": log and log.source, "reason": log and log.reason},
            "notes": self._notes,
        }
        if broken:
            cells = "; ".join(f"{row['phase']} x {row['fault']}: {row['text']}" for row in broken)
            result["msg"] = f"{len(broken)} of {len(rows)} promises were not kept. {cells}"
        return result


def _settings(session: Event) -> _promises.Settings:
    return _promises.Settings.of({name: int(value) for name, value in session["settings"].items()})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
