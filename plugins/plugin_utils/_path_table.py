# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Path table, on the controller: a path, its promises and its findings, in at most 100 columns."""

from __future__ import annotations

import typing as t

from ..module_utils._path._hops import Hop
from ._reports import printable, shortened, wrapped

Report = t.Mapping[str, t.Any]

#: Waiting for a lock is noticed as executing is.
_COLUMNS = {
    "idle": "idle",
    "executing": "executing",
    "waiting": "waiting",
    "sending": "sending",
    "idle_in_transaction": "in transaction",
}
_ENDS = {"backend": "until the backend is gone", "client": "until the client knows"}


def lines(report: Report) -> list[str]:
    """The table of a report of `_path_report`."""
    text = wrapped(f"path: {_route(report['hops'])}", "")
    for end, title in _ENDS.items():
        rows = [row for row in report["promises"] if row["end"] == end]
        if rows:
            text += ["", *_table(title, rows)]
    text.append("")
    for finding in report["findings"]:
        text += wrapped(f"{finding['id']} {finding['severity']}: {finding['where']}: {finding['evidence']}", "")
        text += wrapped(f"-> {finding['remedy']}")
    if not report["findings"]:
        text.append("no findings")
    for hop in report["hops"]:
        missing = [row["host"] for row in hop["hosts"] if not row["in_force"]]
        if missing:
            text += wrapped(f"without a result, and so not in these figures: {', '.join(missing)}", "")
    return [printable(line).rstrip() for line in text]


def _route(hops: t.Sequence[Report]) -> str:
    parts = []
    for hop in hops:
        parts.append(Hop(hop["kind"], str(hop.get("group", ""))).label)
        limits = [
            f"{name} {hop[key]}" for key, name in (("path_idle_limit", "idle"), ("age_limit", "age")) if hop.get(key)
        ]
        leg = ["Unix socket"] if hop.get("unix_socket") else limits
        parts.append(f"-({', '.join(leg)})->" if leg else "->")
    return " ".join(parts[:-1])


def _table(title: str, rows: t.Sequence[Report]) -> list[str]:
    """A line for each hop that is lost, a column for each phase: the formula's seconds, and at worst."""
    phases = [phase for phase in _COLUMNS if any(row["phase"] == phase for row in rows)]
    losses = list(dict.fromkeys(row["lost"] for row in rows))
    cells = [[title, *(_COLUMNS[phase] for phase in phases), "noticed by"]]
    for lost in losses:
        of_lost = {row["phase"]: row for row in rows if row["lost"] == lost}
        cells.append(
            [f"{lost} vanished", *(_cell(of_lost[phase]) for phase in phases), of_lost[phases[0]]["noticed_by"]]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        shortened(f"  {'  '.join(text.ljust(width) for text, width in zip(row, widths, strict=True))}") for row in cells
    ]


def _cell(row: Report) -> str:
    if row["formula"] == "not_linked":
        return "-"
    if row["bound"] is None:
        return "never" if row["formula"] != "unknown" else "?"
    return f"{_seconds(row['seconds'])} ({_seconds(row['bound'])})".replace(" s (", " (")


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
