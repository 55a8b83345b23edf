# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run of a drill: checks what is asked for, opens connections, watches the courses of all cells, and tidies up."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .. import _in_force, _login, _signals
from .._database import Database
from .._errors import Failure
from .._settings import SETTINGS, OsValues, Settings
from . import _cells, _namespace, _probe, _sql
from ._cells import Cell, Expected
from ._client import Event
from ._connections import Connections
from ._course import Course, Sample
from ._log import Log
from ._result import Result, settings_of
from ._wish import Wish, check_privileges

_SAMPLE_SECONDS = 0.1


def run(login: _login.Login, wish: Wish, check_mode: bool) -> dict[str, t.Any]:
    """What the module drill returns."""
    cells = _cells.choose(wish.side, wish.phases, wish.faults)
    check_privileges(cells, wish.method)
    with contextlib.ExitStack() as stack:
        ignore_signals = stack.enter_context(_signals.as_failures("a drill"))
        if wish.method == "namespace":
            stack.enter_context(_namespace.only_one())
            stack.callback(lambda: _namespace.remove(_namespace.present()))
            _namespace.remove(_namespace.present())
        database = _login.connect(login)
        stack.callback(database.close)
        database.lift_timeouts()
        own, snapshot = database.own_session(), database.snapshot([*SETTINGS])
        connections = Connections(login, wish, database, snapshot["files"])
        stack.callback(connections.tidy)
        stack.callback(ignore_signals)
        _clear(database, connections)
        _check_room(database, len(cells) + 1)
        session = _probe.probe(database, connections, own["server_started"])
        notes = _probe.notes(session, connections.local, wish.side)
        result = Result(wish, connections, snapshot, session, notes)
        drill = _Drill(wish, connections, session)
        if check_mode:
            return result.as_dict([result.row(cell, drill.expect(cell, session)) for cell in cells], None)
        log = Log(database, wish.log_file, connections.local)
        courses = drill.watch(cells)
        return result.as_dict([result.judged(course, log) for course in courses], log)


def _clear(database: Database, connections: Connections) -> None:
    """Take this drill's locks, and end what others have left behind that were killed."""
    for lock in (_sql.OWNER_LOCK, _sql.WAIT_LOCK):
        database.ask("taking the drill's lock", _sql.LOCK, {"lock": lock, "number": connections.number})
    left = {"name": _sql.NAME, "lock": _sql.OWNER_LOCK}
    connections.end(database.ask("looking for leftovers", _sql.LEFT_BEHIND, left))


def _check_room(database: Database, needed: int) -> None:
    free = database.ask("counting connections", _sql.FREE_CONNECTIONS)
    if free < needed:
        raise Failure(
            "too_few_connections",
            f"a drill of {needed - 1} cells side by side",
            f"it needs {needed} connections, and the server has {max(0, free)} left",
            "Choose fewer phases or faults at once, or drill at a quieter time.",
        )


class _Drill:
    """The courses of all cells, side by side; *probe* is what the first session said of itself and the server."""

    def __init__(self, wish: Wish, connections: Connections, probe: Event) -> None:
        self._wish = wish
        self._connections = connections
        self._probe = probe
        self._os = _in_force.kernel() if connections.local else OsValues()

    def watch(self, cells: list[Cell]) -> list[Course]:
        """Start the courses, and see each of them to its end."""
        courses = [self._course(cell, index) for index, cell in enumerate(cells, 1)]
        while not all(course.done for course in courses):
            sample = self._sample()
            for course in courses:
                course.step(sample)
            time.sleep(max(0.0, sample.began + _SAMPLE_SECONDS - time.monotonic()))
        return courses

    def _course(self, cell: Cell, index: int) -> Course:
        wish = self._wish
        length = wish.outage if cell.fault == "short_outage" else wish.pause
        return Course(
            self._connections.start(cell, index),
            lambda session: self.expect(cell, session if "settings" in session else self._probe),
            wish.patience,
            length,
        )

    def expect(self, cell: Cell, session: Event) -> Expected:
        """What is promised for *cell* by what *session* said."""
        if cell.side == "client":
            options = session["options"]
            timeout = int(self._connections.conninfo["connect_timeout"])
            own = _cells.ClientOptions(bool(options["keepalive"]), Settings.of(options), timeout)
            return _cells.expect_of_client(cell, own, _in_force.kernel())
        return _cells.expect(cell, settings_of(session), self._os)

    def _sample(self) -> Sample:
        began = time.monotonic()
        rows = self._connections.backends()
        return Sample(began, time.monotonic(), {row["pid"]: row for row in rows}, self._connections.sockets())
