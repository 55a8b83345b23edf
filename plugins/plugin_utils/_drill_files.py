# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drill files, on the controller: the newest run on a host, and the one before its settings were changed."""

from __future__ import annotations

import datetime
import json
import os
import typing as t

from ..module_utils import _files
from . import _drill_picture, _reports
from . import _drill_words as words
from ._drill_words import Result

SCHEMA = 1

#: What a run keeps of the module's result; the rest is Ansible's.
_KEPT = ("side", "method", "patience", "tolerance", "server", "client", "settings", "cells", "log", "notes")


def write(directory: str, host: str, result: Result, now: datetime.datetime) -> list[str]:
    """Put the *result* of *host* into its two files below *directory*; their paths, none if nothing was drilled."""
    if not words.drilled(result):
        return []
    path = os.path.join(directory, _stem(host, result["side"]))
    with _reports.locked(directory):
        report = merged(_read(f"{path}.json", host, result["side"]), host, result, now)
        contents = {"json": json.dumps(report, indent=2, sort_keys=True) + "\n", "svg": _drill_picture.svg(report)}
        for ending, content in contents.items():
            _files.replace(f"{path}.{ending}", content.encode(), mode=0o644)
    return [f"{path}.{ending}" for ending in contents]


def merged(old: Result | None, host: str, result: Result, now: datetime.datetime) -> dict[str, t.Any]:
    """The report with *result* as the newest run, and the newest of the *old* ones that had other settings."""
    after = {"time": _reports.stamp(now), **{key: result[key] for key in _KEPT}}
    earlier = (old["after"], old["before"]) if old else ()
    before = next((run for run in earlier if run and words.in_force(run) != words.in_force(after)), None)
    return {"schema": SCHEMA, "host": host, "before": before, "after": after}


def _stem(host: str, side: str) -> str:
    """The name of the files without their ending."""
    return f"drill-{_reports.file_name(host)}" + ("" if side == "server" else f".{side}")


def _read(path: str, host: str, side: str) -> Result | None:
    def ours(report: t.Any) -> bool:
        runs = (report["after"], report["before"] or report["after"])
        same = (report["schema"], report["host"]) == (SCHEMA, host)
        return same and all({"time", *_KEPT} <= set(run) and run["side"] == side for run in runs)

    return _reports.read(path, ours, f"a drill of {host}, {side} side, with schema {SCHEMA}")
