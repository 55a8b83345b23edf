# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics, a pure room: samples of counters as somebody may send them, and the losses that only they have."""

from __future__ import annotations

import datetime
import re
import typing as t

from .._errors import Failure
from ._facts import LogEvent, Loss

Row = t.Dict[str, t.Any]

_TIMES = ("at", "time", "timestamp", "taken_at", "collected_at", "now", "ts")
_DATABASES = ("databases", "pg_stat_database", "database")
_KERNEL = ("kernel", "nstat", "netstat", "TcpExt", "Tcp", "snmp")
_NAMES = ("datname", "database", "name")
#: Lines of a log that go with a rise of a counter. A client that exits while it is idle leaves none without TLS.
_COUNTED = {
    "sessions_abandoned": ("receive_", "eof"),
    "sessions_killed": ("admin_command", "crash_of_another", "shutdown_request", "server_process_died"),
}
#: Of what nobody has lines, so many are told one by one.
_MOST = 20
#: The server counts a session when it reports next (PGSTAT_MIN_INTERVAL and a busy host).
_LATE = 5.0


def samples(given: t.Sequence[t.Any]) -> tuple[Row, Row] | None:
    """Two looks, as `_live.look` has them, of rows of pg_stat_database and the kernel's counters in any usual shape.

    None if nothing is given. Raises Failure ``bad_statistics``.
    """
    if len(given) == 1 and isinstance(given[0], dict) and {"before", "after"} <= given[0].keys():
        given = [given[0]["before"], given[0]["after"]]
    if not given:
        return None
    try:
        first, last = given
        return _sample(first), _sample(last)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Failure(
            "bad_statistics",
            f"statistics: {len(given)} samples",
            "a rate needs two samples, each with at, and databases or kernel",
            "Give two looks as this module returns them in look, or the rows of pg_stat_database.",
        ) from None


def _sample(given: t.Any) -> Row:
    if isinstance(given, list):
        given = {"databases": given}
    at = next((_time(given[key]) for key in _TIMES if given.get(key) is not None), None)
    kernel: dict[str, int] = {}
    for key in _KERNEL:
        kernel.update(_counters(given.get(key) or {}))
    databases = next((given[key] for key in _DATABASES if isinstance(given.get(key), (dict, list))), None)
    if databases is None and not kernel:
        databases = {key: row for key, row in given.items() if isinstance(row, dict)} or [given]
        if not any("sessions" in key for row in _rows(databases).values() for key in row):
            raise ValueError
    return {"at": at, "databases": _rows(databases or {}), "kernel": kernel}


def _time(value: t.Any) -> float:
    try:
        return float(value)
    except ValueError:
        text = re.sub(r"([+-]\d\d)$", r"\1:00", re.sub(r"Z$", "+00:00", str(value)))  # for Python before 3.11
        return datetime.datetime.fromisoformat(text).timestamp()


def _rows(databases: t.Any) -> dict[str, Row]:
    if isinstance(databases, dict) and any(not isinstance(row, dict) for row in databases.values()):
        databases = [databases]  # a single row
    if isinstance(databases, list):
        databases = {next((row[key] for key in _NAMES if row.get(key)), None): row for row in databases}
    return {str(name): _counters(row) for name, row in databases.items()}


def _counters(given: t.Mapping[str, t.Any]) -> dict[str, int]:
    """The whole numbers, also if they are written as text, and of tables in it (``{"TcpExt": {...}}``)."""
    found: dict[str, int] = {}
    for key, value in given.items():
        if isinstance(value, dict):
            found.update(_counters(value))
        elif re.fullmatch(r"\d+(\.0*)?", str(value)):
            found[re.sub("^Tcp(Ext)?(?=[A-Z])", "", key)] = int(float(value))
    return found


def unexplained(rates: Row, before: float | None, after: float | None, losses: t.Sequence[Loss]) -> list[Loss]:
    """What a counter of the server has, and no line of its log, between two times."""
    found = []
    for counter, kinds in _COUNTED.items():
        told = sum(1 for loss in losses if _is_within(loss.time, before, after) and _is_told(loss, kinds))
        for name, row in rates["databases"].items():
            grown = row.get(counter) or 0
            missing, told = max(0, grown - told), max(0, told - grown)
            text = f"{counter} of database {name} rose by {grown}, and nothing else tells of {missing} of them"
            event = LogEvent(f"counted_{counter[9:]}", after, None, text, "statistics", 0, database=name)
            found += [Loss(after, None, None, None, (event,))] * min(missing, _MOST)
    return found


def _is_within(time: float | None, before: float | None, after: float | None) -> bool:
    if time is None:
        return True
    return (before is None or before - _LATE <= time) and (after is None or time <= after + _LATE)


def _is_told(loss: Loss, kinds: tuple[str, ...]) -> bool:
    return any(event.kind.startswith(kinds) for event in loss.events)
