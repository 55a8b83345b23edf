# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets that do not exist: reports of an audit of any size, for what reads them and for measuring."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._audit import _rules, _timeline
from ansible_collections.pgharden.connection.plugins.module_utils._findings import SEVERITIES
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues, Settings

HARDENED = _timeline.timelines(Settings(43, 7, 4, 71_000, 5000), OsValues())
HALFWAY = _timeline.timelines(Settings(120, 10, 6), OsValues())
DEFAULT = _timeline.timelines(Settings(), OsValues())


def finding(id: str, number: int = 1) -> dict[str, str]:
    severity, title = _rules.RULES[id]
    return {
        "id": id,
        "severity": severity,
        "where": "cluster",
        "evidence": f"{title}, as line {number} of postgresql.conf has it",
        "remedy": "Harden it with a profile.",
    }


def host(name: str, **changes: t.Any) -> dict[str, t.Any]:
    """A host that is hardened, in the report's form."""
    return {
        "host": name,
        "status": "ok",
        "reason": None,
        "version": "17.6",
        "path_idle_limit": 350_000,
        "timelines": HARDENED,
        "before": [],
        "wanted": HARDENED,
        "findings": [],
        "ignored": [],
        "stale_sessions": 0,
        "drift": None,
        "drill": None,
        "diagnosis": None,
        **changes,
    }


def drift(since: str = "2026-11-01T06:00:00Z") -> dict[str, t.Any]:
    row = {"name": "tcp_user_timeout", "wanted": "71s", "found": "0", "where": "postgresql.auto.conf:7"}
    return {"hardened": "2026-10-01T06:00:00Z", "profile": "web", "since": since, "settings": [row]}


def report(hosts: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    rules = {id: {"severity": severity, "title": title} for id, (severity, title) in _rules.RULES.items()}
    return {"schema": 1, "time": "2026-11-23T06:00:00Z", "rules": rules, "hosts": hosts}


def fleet(size: int, seed: int = 1) -> dict[str, t.Any]:
    """*size* hosts: six of ten are hardened, the others have one to six findings; the same for the same *seed*."""
    source = random.Random(seed)
    ids = sorted(_rules.RULES)
    hosts = []
    for number in range(size):
        changes: dict[str, t.Any] = {"version": f"{source.randint(13, 18)}.{source.randint(1, 9)}"}
        if source.random() < 0.4:
            some = [finding(id, source.randint(1, 40)) for id in source.sample(ids, source.randint(1, 6))]
            some.sort(key=lambda row: (SEVERITIES.index(row["severity"]), row["id"]))
            changes.update(timelines=source.choice([HALFWAY, DEFAULT]), findings=some)
            changes.update(stale_sessions=source.choice([0, 0, 3]))
        if source.random() < 0.1:
            changes["drift"] = drift()
        hosts.append(host(f"db{number:05}.example.com", **changes))
    return report(hosts)
