# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revert: the way back to what a record has, all or nothing."""

from __future__ import annotations

import base64
import contextlib
import typing as t

from . import _files, _record
from ._database import Database
from ._errors import Failure
from ._layers import _server_run, _sysctlconf
from ._layers._layer import Found, Layer, reconcile
from ._layers._os import OsLayer, content_of
from ._login import Login


def revert(path: str, login: Login, check_mode: bool) -> dict[str, t.Any]:
    """Put back all that the record at *path* has, all or nothing, and remove it. Returns what the module returns."""
    entries = _record.load(path)
    if entries is None:
        return {"changed": False, "diff": [], "changes": {}, "skipped_entries": [], "revert_file": path}
    with _open_server(login, entries) as database:
        layers: list[_Back] = []
        skipped = []
        for entry in entries:
            gone = _gone(database, entry)
            if gone:
                skipped.append(gone)
            else:
                layers.append(_Back(_layer(database, entry), _found(entry)))
        outcomes = reconcile(layers, check_mode)
    if not check_mode:
        _files.remove(path)
    changes = [change for outcome in outcomes for change in outcome.changes if change]
    return {
        # the record itself goes, too
        "changed": True,
        "diff": [change.diff() for change in changes],
        "changes": {change.place: change.as_list() for change in changes},
        "skipped_entries": skipped,
        "revert_file": path,
    }


class _Back(Layer):
    """A layer whose wish is what was *recorded*."""

    def __init__(self, layer: Layer, recorded: Found) -> None:
        self._layer, self._recorded = layer, recorded

    def read(self) -> Found:
        return self._layer.read()

    def compare(self, found: Found) -> t.Any:
        return self._layer.restore(self._recorded, check_only=True)

    def examine(self, found: Found) -> None:
        self._layer.examine(found)

    def lock(self) -> t.ContextManager[t.Any]:
        return self._layer.lock()

    def apply(self, found: Found) -> None:
        self._layer.restore(self._recorded)

    def verify(self) -> None:
        left = [change.place for change in self._layer.restore(self._recorded, check_only=True) if change]
        if left:
            raise Failure(
                "not_restored",
                "putting back what was found before hardening",
                f"some of it is still different: {', '.join(left)}",
                "See what else manages these settings.",
            )

    def restore(self, found: Found, check_only: bool = False) -> t.Any:
        return self._layer.restore(found, check_only)


def _open_server(login: Login, entries: list[_record.Entry]) -> t.ContextManager[Database | None]:
    """A session if some entry needs one; a server that is down is no obstacle where only files are to be put back."""
    entries = [entry for entry in entries if entry["layer"] == "server"]
    if not entries:
        return contextlib.nullcontext()
    return _server_run.open_server(login, "config_file" if all(map(_is_file, entries)) else "alter_system")


def _is_file(entry: _record.Entry) -> bool:
    return bool(entry.get("path"))


def _layer(database: Database | None, entry: _record.Entry) -> Layer:
    if entry["layer"] == "os":
        return OsLayer(dict.fromkeys(entry["live"]), sysctl_file=entry["sysctl_file"])
    options = {
        "apply_through": "config_file" if entry.get("path") else "alter_system",
        "config_file": entry.get("path"),
        "reload": True,
        "reload_timeout": 10.0,
    }
    wishes = dict.fromkeys(entry["values"])
    return _server_run.layer(database, wishes, options, entry.get("role"), entry.get("database"))


def _found(entry: _record.Entry) -> Found:
    """What the layer's restore() takes: of a file that others edited since, only our settings are put back."""
    path = entry.get("path") or entry.get("sysctl_file")
    now = _files.read(path) if path else None
    if not path or _record.sha256(now) in entry["sha256"]:
        return entry
    if entry["layer"] == "server":
        return {key: value for key, value in entry.items() if key != "content"}
    was = content_of(entry)
    edited = _sysctlconf.edit(now, {key: _number(_sysctlconf.value_in(was, key)) for key in entry["live"]})
    return {**entry, "content": None if edited is None else base64.b64encode(edited).decode("ascii")}


def _number(text: str | None) -> int | None:
    return None if text is None else _sysctlconf.number(text)


def _gone(database: Database | None, entry: _record.Entry) -> str | None:
    """What there is nothing left of to put back: a role or database that was dropped since."""
    role, name = entry.get("role"), entry.get("database")
    if not database or not (role or name):
        return None
    there = database.snapshot([], role, name)
    if (role and not there["roles"]) or (name and not there["databases"]):
        return f"the {'role' if role else 'database'} {role or name} does not exist any more"
    return None
