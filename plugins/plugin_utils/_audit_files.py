# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit files, on the controller: the report in every format, and what drill and diagnosis left beside it."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ..module_utils import _files
from ..module_utils._errors import Failure
from . import _audit_data, _audit_formats, _audit_page, _reports

Report = t.Mapping[str, t.Any]

#: By the ending of the file.
FORMATS: dict[str, t.Callable[[Report], str]] = {
    "json": lambda report: json.dumps(report, indent=1) + "\n",
    "html": _audit_page.page,
    "md": _audit_formats.markdown,
    "xml": _audit_formats.junit,
    "sarif": _audit_formats.sarif,
}


def previous(directory: str) -> Report | None:
    """The last report in *directory*. Raises Failure ``foreign_file`` for a file that is none."""

    def ours(report: t.Any) -> bool:
        return report["schema"] == _audit_data.SCHEMA and {"time", "rules", "hosts"} <= set(report)

    return _reports.read(os.path.join(directory, "audit.json"), ours, f"an audit with schema {_audit_data.SCHEMA}")


def collected(directory: str) -> list[dict[str, t.Any]]:
    """The hosts of every ``audit.json`` below *directory*, the newest row of each.

    Raises Failure ``no_directory``, and ``foreign_file`` for a file of that name that is no report.
    """
    if not os.path.isdir(directory):
        raise Failure(
            "no_directory", f"collect reports in {directory}", "there is no such directory", "Correct the path."
        )
    newest: dict[str, tuple[str, dict[str, t.Any]]] = {}
    for folder, _folders, names in os.walk(directory):
        report = previous(folder) if "audit.json" in names else None
        if report:
            for row in report["hosts"]:
                if row["host"] not in newest or newest[row["host"]][0] < report["time"]:
                    newest[row["host"]] = (report["time"], row)
    return [newest[host][1] for host in sorted(newest)]


def write(directory: str, report: dict[str, t.Any], formats: t.Iterable[str]) -> list[str]:
    """Write the report; their paths. JSON is always there: the next audit reads it."""
    paths = []
    for host in report["hosts"]:
        # What was collected elsewhere has them from there.
        host["drill"] = _drill(directory, host["host"]) or host.get("drill")
        host["diagnosis"] = _diagnosis(directory, host["host"]) or host.get("diagnosis")
    with _reports.locked(directory):
        for ending in dict.fromkeys(("json", *formats)):
            path = os.path.join(directory, f"audit.{ending}")
            # Findings name roles, databases and addresses.
            _files.replace(path, FORMATS[ending](report).encode(), mode=0o600)
            paths.append(path)
    return paths


def _drill(directory: str, host: str) -> dict[str, t.Any] | None:
    report = _beside(directory, f"drill-{_reports.file_name(host)}.json", host)
    with contextlib.suppress(LookupError, TypeError):
        if report:
            run = report["after"]
            keys = ("phase", "fault", "bound", "measured", "verdict")
            return {"time": run["time"], "cells": [{key: cell[key] for key in keys} for cell in run["cells"]]}
    return None


def _diagnosis(directory: str, host: str) -> dict[str, t.Any] | None:
    report = _beside(directory, f"diagnosis-{_reports.file_name(host)}.json", host)
    with contextlib.suppress(LookupError, TypeError):
        if report:
            harmful = [row for row in report["result"]["causes"] if not row["harmless"]]
            causes = [{"cause": row["cause"], "losses": row["count"]} for row in harmful]
            return {"time": report["time"], "causes": causes}
    return None


def _beside(directory: str, name: str, host: str) -> t.Any:
    """The report of another role on this host; one that cannot be read is no reason to have no audit."""
    with contextlib.suppress(Failure, ValueError, LookupError, TypeError):
        report = json.loads(_files.read(os.path.join(directory, name)) or b"null")
        if report and report["host"] == host:
            return report
    return None
