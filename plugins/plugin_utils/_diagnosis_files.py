# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis files, on the controller: the newest diagnosis of a host, as JSON and as a page to send on."""

from __future__ import annotations

import datetime
import json
import os
import typing as t

from ..module_utils import _files
from . import _diagnosis_page, _reports
from ._reports import Result

SCHEMA = 1

#: What is kept of the module's result; the rest is Ansible's.
_KEPT = (
    *("sources", "server", "connections", "healthy", "causes", "losses", "suspects", "sockets"),
    *("standbys", "statistics", "look", "host", "problems", "missing_evidence"),
)


def write(directory: str, host: str, result: Result, now: datetime.datetime) -> list[str]:
    """Put the *result* of *host* into its two files below *directory*; their paths, none if nothing was found out."""
    if "causes" not in result:
        return []
    path = os.path.join(directory, f"diagnosis-{_reports.file_name(host)}")
    found = {key: result[key] for key in _KEPT if key in result}
    time = _reports.stamp(now)
    report = {"schema": SCHEMA, "host": host, "time": time, "result": found}

    def ours(old: t.Any) -> bool:
        return (old["schema"], old["host"]) == (SCHEMA, host) and set(old) == set(report)

    with _reports.locked(directory):
        _reports.read(f"{path}.json", ours, f"a diagnosis of {host} with schema {SCHEMA}")
        contents = {
            "json": json.dumps(report, indent=2, sort_keys=True) + "\n",
            "md": _diagnosis_page.page(host, time, result),
        }
        for ending, content in contents.items():
            # They name clients and roles.
            _files.replace(f"{path}.{ending}", content.encode(), mode=0o600)
    return [f"{path}.{ending}" for ending in contents]
