# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit data, on the controller: results of connection_info of a fleet to one report, the plain JSON of every format.

Its schema is `docs/audit.schema.json`.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..module_utils import _duration, _guc, _plan, _policy, _settings
from ..module_utils._audit import _rules, _scope, _timeline
from ..module_utils._audit._host import Host
from ..module_utils._findings import SEVERITIES
from . import _reports

SCHEMA = 1
#: Below it, each rule has a page.
DOCUMENTATION = "https://github.com/pgharden/connection/blob/main/docs/findings"

Result = t.Mapping[str, t.Any]
Ignores = t.Sequence[t.Mapping[str, str]]


class Asked(t.NamedTuple):
    """What is wanted of one host: its *policy*, None where there is none, and which findings are of no interest."""

    policy: _policy.Policy | None
    ignores: Ignores


def of_host(result: Result, asked: Asked) -> dict[str, t.Any]:
    """What the audit of one host says, from what connection_info returned. Raises Failure ``bad_ignore``."""
    kept, ignored = _rules.ignore(_rules.findings(result, asked.policy), asked.ignores)
    covered = _scope.views(result)[0]
    host = Host(covered)
    up = result["server"] is not None
    return {
        "status": "ok" if up else "down",
        "reason": result["reason"],
        "version": result["server"]["version"] if up else None,
        "path_idle_limit": asked.policy.path_idle_limit if asked.policy else None,
        "timelines": _timeline.timelines(host.settings, host.os) if up else [],
        "wanted": _wanted(host, asked.policy) if up else [],
        "findings": [finding.as_dict() for finding in kept],
        "ignored": [{**finding.as_dict(), "reason": reason} for finding, reason in ignored],
        "stale_sessions": len(result["sessions"]["stale"]) if up else 0,
        "drift": _drift(result),
    }


def report(results: t.Mapping[str, Result], previous: Result | None, now: datetime.datetime) -> dict[str, t.Any]:
    """The audit of all hosts, from what the module audit returned for each; *previous* is the last report."""
    before = {row["host"]: row for row in previous["hosts"]} if previous else {}
    time = _reports.stamp(now)
    return {
        "schema": SCHEMA,
        "time": time,
        "rules": {id: {"severity": severity, "title": title} for id, (severity, title) in sorted(_rules.RULES.items())},
        "hosts": [_row(host, result, before.get(host), time) for host, result in results.items()],
    }


def _row(host: str, result: Result, previous: Result | None, time: str) -> dict[str, t.Any]:
    row = result.get("audit") or {**_NOTHING, "status": "failed", "reason": _reports.reason(result)}
    drift = row["drift"]
    if drift:
        since = ((previous or {}).get("drift") or {}).get("since") or time
        drift = {**drift, "since": since if drift["settings"] else None}
    return {"host": host, **row, "before": _before(row["timelines"], previous), "drift": drift}


_NOTHING: dict[str, t.Any] = {
    "version": None,
    "path_idle_limit": None,
    "timelines": [],
    "wanted": [],
    "findings": [],
    "ignored": [],
    "stale_sessions": 0,
    "drift": None,
}


def _before(timelines: list[dict[str, t.Any]], previous: Result | None) -> list[dict[str, t.Any]]:
    """The newest timelines of earlier reports that were others than today's."""
    if not previous or not timelines:
        return []
    earlier = previous["timelines"]
    return t.cast("list[dict[str, t.Any]]", earlier if earlier and earlier != timelines else previous["before"])


def _wanted(host: Host, policy: _policy.Policy | None) -> list[dict[str, t.Any]]:
    """The timelines as the policy's plan would make them."""
    if policy is None:
        return []
    plan = _plan.make(policy, _plan.Facts(max(host.major, _plan.OLDEST), host.server["platform"]), ["server"])
    planned: dict[str, int] = {}
    for name, text in plan.server.items():
        row = host.part("settings", name)
        if row and name in _settings.SETTINGS:
            guc = _guc.Guc(name, "integer", row["unit"], min_val="0", max_val=str(_duration.LONGEST))
            planned[name] = int(_guc.canonical(guc, text))
    return _timeline.timelines(dataclasses.replace(host.settings, **planned), host.os)


def _drift(result: Result) -> dict[str, t.Any] | None:
    """What is no longer as the last hardening left it; None where the host was never hardened, or nobody may know."""
    noted = result.get("hardened")
    if not noted:
        return None
    rows = []
    if noted.get("scope"):
        for place, view in _scope.places(result):
            rows += [{**row, "where": place} for row in _lost(noted, view)]
    else:
        rows += _lost(noted, result)
    for name, wanted in noted["settings"]["os"].items():
        sysctl = result["kernel"]["sysctls"].get(name)
        if sysctl and sysctl["value"] != wanted:
            rows.append({"name": name, "wanted": wanted, "found": sysctl["value"], "where": "kernel"})
    return {"hardened": noted["time"], "profile": noted["profile"], "settings": rows}


def _lost(noted: Result, result: Result) -> t.Iterator[dict[str, t.Any]]:
    """The server's settings that are no longer as they were noted, as far as this login may read them."""
    host = Host(result)
    for name, wanted in noted["settings"]["server"].items():
        known = host.part("settings", name).get("value") is not None
        if known and host.text(name) != wanted:
            values = {
                key: host.with_unit(name, value) for key, value in (("wanted", wanted), ("found", host.text(name)))
            }
            yield {"name": name, **values, "where": host.origin(name)}


def worst(host: Result) -> str:
    """The severity of a host's worst finding, ``none`` without any."""
    found = {row["severity"] for row in host["findings"]}
    return next((severity for severity in SEVERITIES if severity in found), "none")


def drifted(host: Result) -> str:
    """How many settings have drifted, and since when; empty without any."""
    drift = host["drift"]
    return f"{len(drift['settings'])} since {drift['since'][:10]}" if drift and drift["settings"] else ""


def documented(id: str) -> str:
    """Where a rule is documented."""
    return f"{DOCUMENTATION}/{id}.md"


def at_least(report: Result, severity: str) -> dict[str, list[str]]:
    """The ids of findings of this severity or a worse one, by host."""
    limit = SEVERITIES.index(severity)
    found = {
        host["host"]: sorted({row["id"] for row in host["findings"] if SEVERITIES.index(row["severity"]) <= limit})
        for host in report["hosts"]
    }
    return {host: ids for host, ids in found.items() if ids}
