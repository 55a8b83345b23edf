# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit table, on the controller: a fleet in at most 100 columns and about one screen."""

from __future__ import annotations

import collections
import typing as t

from ..module_utils import _duration
from ..module_utils._findings import SEVERITIES
from ._audit_data import drifted, worst
from ._reports import printable, shortened, wrapped

Report = t.Mapping[str, t.Any]

#: More hosts than these are summed up; the files have all of them.
SHOWN = 25
_PHASES = {"idle": "idle", "executing": "executing", "sending": "sending"}


def lines(report: Report, shown: int = SHOWN) -> list[str]:
    """The worst hosts, one line each, then the findings by how many hosts have them."""
    hosts = sorted(report["hosts"], key=_rank)
    rows = [["host", "worst finding", *_PHASES.values(), "stale", "drift"], *(_row(host) for host in hosts[:shown])]
    # Why a host has no promises goes where these would be.
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if len(row) > 2), strict=True)]
    widths[0] = min(max(len(row[0]) for row in rows), 34)
    text = [_line(row, widths) for row in rows]
    if len(hosts) > shown:
        text.append(f"… and {len(hosts) - shown} hosts that are no worse")
    findings = list(_findings(report))
    text += ["", *findings] if findings else []
    counts = collections.Counter(map(_standing, hosts))
    parts = [f"{counts[name]} {name}" for name in ("failed", "down", *SEVERITIES, "none") if counts[name]]
    text += ["", f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}, by their worst: {', '.join(parts)}"]
    return [printable(line).rstrip() for line in text]


def _standing(host: Report) -> str:
    return worst(host) if host["status"] == "ok" else str(host["status"])


def _rank(host: Report) -> tuple[int, int, str]:
    order = ("failed", "down", *SEVERITIES, "none")
    return order.index(_standing(host)), -len(host["findings"]), host["host"]


def _row(host: Report) -> list[str]:
    if host["status"] != "ok":
        return [host["host"], f"{host['status']}: {host['reason']}"]
    first = next(iter(host["findings"]), None)
    promises = {line["phase"]: _duration.human(line["seconds"]) for line in host["timelines"]}
    return [
        host["host"],
        f"{first['id']} {first['severity']}" if first else "none",
        *(promises[phase] for phase in _PHASES),
        str(host["stale_sessions"] or ""),
        drifted(host),
    ]


def _line(row: t.Sequence[str], widths: t.Sequence[int]) -> str:
    *cells, last = row
    padded = (shortened(text, width).ljust(width) for text, width in zip(cells, widths, strict=False))
    return shortened("  ".join([*padded, last]))


def _findings(report: Report) -> t.Iterator[str]:
    hosts: dict[str, list[str]] = {}
    for host in report["hosts"]:
        for id in dict.fromkeys(row["id"] for row in host["findings"]):
            hosts.setdefault(id, []).append(host["host"])
    ranked = sorted(hosts, key=lambda id: (SEVERITIES.index(report["rules"][id]["severity"]), -len(hosts[id]), id))
    for id in ranked:
        rule, some = report["rules"][id], hosts[id]
        names = ", ".join(some[:3]) + (f" and {len(some) - 3} more" if len(some) > 3 else "")
        yield from wrapped(f"{id} {rule['severity']}: {rule['title']}: {names}", "")
    ignored = sum(len(host["ignored"]) for host in report["hosts"])
    if ignored:
        yield f"{ignored} {'finding is' if ignored == 1 else 'findings are'} ignored, with the reasons in the report"
