# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit page, on the controller: the report as one HTML file that needs no network, also for ten thousand hosts.

Findings and timelines that many hosts share are written once, and hosts refer to them by number.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ._audit_data import DOCUMENTATION

Report = t.Mapping[str, t.Any]

_PARTS = Path(__file__).resolve().parent / "page"


def page(report: Report) -> str:
    """The page; its parts lie in the directory `page`."""
    html, style, script = ((_PARTS / f"audit.{ending}").read_text(encoding="utf-8") for ending in ("html", "css", "js"))
    # Within an element, only its end tag and <!-- mean anything to a browser.
    data = json.dumps(_interned(report), separators=(",", ":")).replace("<", "\\u003c")
    return html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script).replace("/*DATA*/", data)


class _Pool:
    """What is the same is kept once; `number` says where."""

    def __init__(self) -> None:
        self.values: list[t.Any] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: t.Any) -> int:
        key = json.dumps(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def _interned(report: Report) -> dict[str, t.Any]:
    findings, timelines = _Pool(), _Pool()
    hosts = []
    for host in report["hosts"]:
        row = dict(host)
        for name in ("findings", "ignored"):
            row[name] = [findings.number(finding) for finding in host[name]]
        for name in ("timelines", "before", "wanted"):
            row[name] = timelines.number(host[name])
        hosts.append(row)
    pools = {"findings": findings.values, "timelines": timelines.values}
    return {**report, "documentation": DOCUMENTATION, "hosts": hosts, **pools}
