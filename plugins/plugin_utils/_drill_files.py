# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drill files, on the controller: the newest run on a host, and the one before its settings were changed."""

from __future__ import annotations

import datetime
import json
import os
import re
import typing as t

from ..module_utils import _files
from ..module_utils._errors import Failure
from . import _drill_picture
from . import _drill_words as words
from ._drill_words import Result

SCHEMA = 1

#: What a run keeps of the module's result; the rest is Ansible's.
_KEPT = ("side", "method", "patience", "tolerance", "server", "client", "settings", "cells", "log", "notes")


def write(directory: str, host: str, result: Result, now: datetime.datetime) -> list[str]:
    """Put the *result* of *host* into its two files below *directory*; their paths."""
    path = os.path.join(directory, _stem(host, result["side"]))
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        remedy = "Give another directory, or make it yourself."
        raise Failure("directory_not_made", f"make {directory}", os.strerror(error.errno or 0), remedy) from error
    with _files.lock(directory):
        report = merged(_read(f"{path}.json", host, result["side"]), host, result, now)
        contents = {"json": json.dumps(report, indent=2, sort_keys=True) + "\n", "svg": _drill_picture.svg(report)}
        for ending, content in contents.items():
            _files.replace(f"{path}.{ending}", content.encode(), mode=0o644)
    return [f"{path}.{ending}" for ending in contents]


def merged(old: Result | None, host: str, result: Result, now: datetime.datetime) -> dict[str, t.Any]:
    """The report with *result* as the newest run, and the newest of the *old* ones that had other settings."""
    time = now.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    after = {"time": time, **{key: result[key] for key in _KEPT}}
    earlier = (old["after"], old["before"]) if old else ()
    before = next((run for run in earlier if run and words.in_force(run) != words.in_force(after)), None)
    return {"schema": SCHEMA, "host": host, "before": before, "after": after}


def _stem(host: str, side: str) -> str:
    """The name of the files without their ending; two hosts whose names become the same are told apart by `_read`."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", host)[:200]
    return f"drill-{safe}" if side == "server" else f"drill-{safe}.{side}"


def _read(path: str, host: str, side: str) -> Result | None:
    """The report that is there; a file that is none, or that of another host, must not be lost."""
    content = _files.read(path)
    if content is None:
        return None
    try:
        report = json.loads(content)
        runs = (report["after"], report["before"] or report["after"])
        ours = (report["schema"], report["host"]) == (SCHEMA, host)
        ours = ours and all({"time", *_KEPT} <= set(run) and run["side"] == side for run in runs)
    except (ValueError, LookupError, TypeError):
        ours = False
    if not ours:
        raise Failure(
            "foreign_file",
            f"write {path}",
            f"what is there is no report of a drill of {host}, {side} side, with schema {SCHEMA}",
            "Move it away, or give another directory.",
        )
    return t.cast(Result, report)
