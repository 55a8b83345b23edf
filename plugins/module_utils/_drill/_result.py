# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Result of a drill: what the module returns of each cell, and of server and client."""

from __future__ import annotations

import dataclasses
import platform
import socket
import typing as t

from .._settings import Settings
from . import _cells
from ._cells import Cell, Expected
from ._client import Event
from ._connections import Connections
from ._course import Course
from ._log import Log
from ._wish import Wish

Row = t.Dict[str, t.Any]


class Result:
    """*snapshot* is of the server, *session* what the probe said, *notes* what may be why a promise is not kept."""

    def __init__(
        self, wish: Wish, connections: Connections, snapshot: t.Mapping[str, t.Any], session: Event, notes: list[str]
    ) -> None:
        self._wish = wish
        self._connections = connections
        self._snapshot = snapshot
        self._session = session
        self._notes = notes

    def row(self, cell: Cell, expected: Expected) -> Row:
        """A cell of which nothing has been seen."""
        promised = {"promised": expected.seconds, "bound": _rounded(expected.bound), "formula": expected.formula}
        empty = dict.fromkeys(("lasted", "measured", "outcome", "verdict", "log", "text"))
        return {"phase": cell.phase, "fault": cell.fault, **promised, **empty, "reasons": []}

    def judged(self, course: Course, log: Log) -> Row:
        """A cell whose course is done."""
        expected, seen = t.cast(Expected, course.expected), t.cast(_cells.Seen, course.seen)
        outcome, verdict = _cells.judge(course.cell, expected, seen)
        lines = log.lines(course.session["pid"]) if course.session.get("pid") else []
        return {
            **self.row(course.cell, expected),
            "lasted": _rounded(seen.lasted),
            "measured": _rounded(seen.gone_at),
            "outcome": outcome,
            "verdict": verdict,
            "reasons": self._reasons(course) if verdict == "broken" else [],
            "log": "\n".join(lines) or None,
            "text": _cells.describe(expected, seen, outcome),
        }

    def _reasons(self, course: Course) -> list[str]:
        """What may be why, the likeliest first."""
        session = course.session if "settings" in course.session else self._session
        reasons = list(self._notes)
        overridden = sorted(name for name, source in session["sources"].items() if source in ("user", "database user"))
        if overridden:
            user = self._connections.conninfo["user"]
            reasons.append(f"Role {user} has values of its own for {', '.join(overridden)}.")
        if session["tls"]:
            reasons.append("The session uses TLS, whose library may have to be waited for.")
        if self._connections.local and course.cell.side == "server":
            reasons.append(f"The kernel of this host is {platform.release()}; see the limits of docs/promises.md.")
        return reasons

    def as_dict(self, rows: list[Row], log: Log | None) -> Row:
        """Everything; ``msg`` is there where a promise was not kept."""
        snapshot, session, connections = self._snapshot, self._session, self._connections
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
                "host": connections.host,
                "port": connections.port,
                "tls": session["tls"],
                "user": connections.conninfo["user"],
                "local": connections.local,
            },
            "client": {"kernel": platform.release(), "host": socket.gethostname(), "options": session["options"]},
            "settings": dataclasses.asdict(settings_of(session)),
            "cells": rows,
            "log": {"source": log and log.source, "reason": log and log.reason},
            "notes": self._notes,
        }
        if broken:
            cells = "; ".join(f"{row['phase']} x {row['fault']}: {row['text']}" for row in broken)
            result["msg"] = f"{len(broken)} of {len(rows)} promises were not kept. {cells}"
        return result


def settings_of(session: Event) -> Settings:
    """What is in force for a session, as it said itself."""
    return Settings.of({name: int(value) for name, value in session["settings"].items()})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
