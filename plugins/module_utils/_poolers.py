# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Poolers and proxies in front of a server, as far as its sessions and the processes of this host give them away."""

from __future__ import annotations

import os
import re
import typing as t

_IN_NAMES = ("pgbouncer", "pgpool", "odyssey", "pgcat", "pgdog", "supavisor")
#: As /proc/PID/comm has them.
_PROCESSES = ("pgbouncer", "pgpool", "odyssey", "pgcat", "pgdog", "haproxy", "envoy")
#: What PgBouncer's and Odyssey's application_name_add_host makes: "app - 10.0.0.7:51234", "app - unix(123):6432".
_WITH_HOST = re.compile(r" - (?:unix\(\d+\)|\[?[0-9a-fA-F.:]+\]?):\d+$")
#: A session may seem this much older than its login, by clocks that run apart.
_TOLERANCE = 1.0


def seen(names: t.Iterable[str], proc: str = "/proc") -> list[dict[str, str]]:
    """Each with its ``name``, where it was ``seen_in``, and the ``evidence``; *names* are the application names."""
    return [*by_application_name(names), *by_process(proc)]


def by_application_name(names: t.Iterable[str]) -> list[dict[str, str]]:
    """Poolers that a session is called after, or that have added their client's address to its name."""
    found: dict[str, str] = {}
    for name in names:
        known = [pooler for pooler in _IN_NAMES if pooler in name.lower()]
        if not known and _WITH_HOST.search(name):
            known = ["pgbouncer or odyssey"]
        for pooler in known:
            found.setdefault(pooler, name)
    return [_row(pooler, "pg_stat_activity", f"application_name {name}") for pooler, name in found.items()]


def by_process(proc: str = "/proc") -> list[dict[str, str]]:
    """Poolers that run on this host, in containers too."""
    pids: dict[str, list[int]] = {}
    numbers = sorted(int(entry) for entry in os.listdir(proc) if entry.isdigit()) if os.path.isdir(proc) else []
    for pid in numbers:
        try:
            with open(os.path.join(proc, str(pid), "comm"), encoding="utf-8", errors="replace") as stream:
                name = stream.read().strip()
        except OSError:
            continue  # it has ended, or is hidden from us
        if name in _PROCESSES:
            pids.setdefault(name, []).append(pid)
    return [
        _row(name, "processes", f"process {some[0]}" + (f" and {len(some) - 1} more" if some[1:] else ""))
        for name, some in pids.items()
    ]


def by_age(age: float, elapsed: float) -> list[dict[str, str]]:
    """The login itself came through a pooler if its server process is older than the login."""
    if age <= elapsed + _TOLERANCE:
        return []
    evidence = f"the login's server process had been there for {age - elapsed:.0f} s before it"
    return [_row("unknown", "login", evidence)]


def _row(name: str, seen_in: str, evidence: str) -> dict[str, str]:
    return {"name": name, "seen_in": seen_in, "evidence": evidence}
