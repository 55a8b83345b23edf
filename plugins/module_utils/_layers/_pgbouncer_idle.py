# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Idle backends of a PgBouncer: how many server connections wait in each pool, for how long, and what memory they take.

The memory is what a backend has for itself (VmRSS - RssShmem), where its process runs on this host.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import typing as t

from ._pgbouncer_console import Row

#: States of SHOW SERVERS in which no client has the connection.
_IDLE = ("idle", "used", "tested")


def audit(servers: t.Iterable[Row], clients: t.Iterable[Row], proc: str = "/proc") -> list[dict[str, t.Any]]:
    """One row for each pool with idle connections: database, user, idle, longest_idle (seconds), memory_kb or None.

    *servers* and *clients* are the rows of SHOW SERVERS and, asked for before them, SHOW CLIENTS.
    """
    now = max((row["request_time"] for row in clients if row["database"] == "pgbouncer"), default=None)
    pools: dict[tuple[str, str], list[Row]] = {}
    for row in servers:
        if row["state"] in _IDLE:
            pools.setdefault((row["database"], row["user"]), []).append(row)
    found = []
    for (database, user), rows in sorted(pools.items()):
        ages = [_seconds(row["request_time"] or row["connect_time"], now) for row in rows]
        sizes = [_memory(row, proc) for row in rows]
        longest = max((age for age in ages if age is not None), default=None)
        memory = None if None in sizes else sum(size for size in sizes if size is not None)
        found.append({"database": database, "user": user, "idle": len(rows), "longest_idle": longest})
        found[-1]["memory_kb"] = memory
    return found


def _seconds(then: str, now: str | None) -> float | None:
    """From one time to the other, both as PgBouncer shows them, in its own time zone."""
    times = []
    for text in (then, now or ""):
        with contextlib.suppress(ValueError):
            times.append(datetime.datetime.strptime(" ".join(text.split()[:2]), "%Y-%m-%d %H:%M:%S"))
    return max(0.0, (times[1] - times[0]).total_seconds()) if len(times) == 2 else None


def _memory(row: Row, proc: str) -> int | None:
    """kB of a backend on this host: a process of that number that says it serves that very connection."""
    directory = os.path.join(proc, str(row.get("remote_pid") or "none"))
    mark = "[local]" if "unix" in str(row["addr"]) else f"({row['local_port']})"
    with contextlib.suppress(OSError, KeyError):
        with open(os.path.join(directory, "cmdline"), encoding="utf-8", errors="replace") as stream:
            title = stream.read()
        if not title.startswith("postgres") or mark not in title:
            return None
        with open(os.path.join(directory, "status"), encoding="utf-8") as stream:
            status = dict(line.rstrip().split(":", 1) for line in stream if ":" in line)
        return int(status["VmRSS"].split()[0]) - int(status["RssShmem"].split()[0])
    return None
