# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revert: the way back to what a record has, all or nothing."""

from __future__ import annotations

import contextlib
import typing as t

from . import _files, _hardened, _record
from ._database import Database
from ._errors import Failure
from ._layers import _server_run
from ._layers._client import ClientLayer
from ._layers._files_layer import FilesLayer
from ._layers._haproxy import HAProxyLayer
from ._layers._layer import Found, Layer, reconcile
from ._layers._os import OsLayer, content_of
from ._layers._patroni import PatroniLayer
from ._layers._pgbouncer import PgBouncerLayer
from ._login import Login

#: What makes the layer of a program that is no server from its entry.
_PROGRAMS: dict[str, type[FilesLayer]] = {one.program: one for one in (ClientLayer, HAProxyLayer, PgBouncerLayer)}


def revert(paths: t.Sequence[str], login: Login, check_mode: bool) -> dict[str, t.Any]:
    """Put back all that the records at *paths* have, all or nothing, and remove them. Returns what the module returns.

    Of the records there need not be any.
    """
    records = {path: _record.load(path) for path in paths}
    there = [path for path, one in records.items() if one is not None]
    if not there:
        _forget(paths, check_mode)
        return {"changed": False, "diff": [], "changes": {}, "skipped_entries": [], "notes": [], "revert_files": []}
    entries = _record.together(records.values())
    with _open_server(login, entries) as database:
        layers: list[_Back] = []
        skipped = []
        for entry in entries:
            gone = _gone(database, entry)
            if gone:
                skipped.append(gone)
            elif "files" in entry:
                layer = _PROGRAMS[entry["layer"]].of_entry(list(entry["files"]), entry["options"])
                layers.append(_Back(layer, layer.found_of(entry)))
            else:
                layers.append(_Back(_layer(database, entry), _found(entry)))
        outcomes = reconcile(layers, check_mode)
    if not check_mode:
        for path in there:
            _files.remove(path)
    _forget(paths, check_mode)
    changes = [change for outcome in outcomes for change in outcome.changes if change]
    return {
        # the records themselves go, too
        "changed": True,
        "diff": [change.diff() for change in changes],
        "changes": {change.place: change.as_list() for change in changes},
        "skipped_entries": skipped,
        "notes": [note for layer in layers for note in layer.notes],
        "revert_files": there,
    }


def _forget(paths: t.Sequence[str], check_mode: bool) -> None:
    """Nothing is wanted of this host any more, also where another member of its cluster has the record."""
    if not check_mode:
        for path in paths:
            _hardened.forget(path)


class _Back(Layer):
    """A layer whose wish is what was *recorded*."""

    def __init__(self, layer: Layer, recorded: Found) -> None:
        self._layer, self._recorded = layer, recorded

    @property
    def notes(self) -> list[str]:
        return self._layer.notes if isinstance(self._layer, FilesLayer) else []

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
    entries = [entry for entry in entries if entry["layer"] in ("server", "patroni")]
    if not entries:
        return contextlib.nullcontext()
    return _server_run.open_server(login, "config_file" if all(map(_is_file, entries)) else "alter_system")


def _is_file(entry: _record.Entry) -> bool:
    return bool(entry.get("path"))


def _layer(database: Database | None, entry: _record.Entry) -> Layer:
    if entry["layer"] == "os":
        return OsLayer(dict.fromkeys(entry["live"]), sysctl_file=entry["sysctl_file"])
    if entry["layer"] == "patroni":
        return PatroniLayer.of_entry(t.cast(Database, database), entry)
    options = {
        "apply_through": "config_file" if entry.get("path") else "alter_system",
        "config_file": entry.get("path"),
        "reload": True,
        "reload_timeout": 10.0,
    }
    wishes = dict.fromkeys(entry["values"])
    return _server_run.layer(database, wishes, options, entry.get("role"), entry.get("database"))


def _os_layer(entry: _record.Entry) -> OsLayer:
    return OsLayer(dict.fromkeys(entry["live"]), sysctl_file=entry["sysctl_file"])


def _found(entry: _record.Entry) -> Found:
    """What the layer's restore() takes: of a file that others edited since, only our settings are put back."""
    path = entry.get("path") or entry.get("sysctl_file")
    now = _files.read(path) if path else None
    if not path or _files.sha256(now) in entry["sha256"]:
        return entry
    if entry["layer"] == "server":
        return {key: value for key, value in entry.items() if key != "content"}
    edited = _os_layer(entry).put_into(now, content_of(entry))
    return {**entry, "content": _files.encoded(edited)}


def _gone(database: Database | None, entry: _record.Entry) -> str | None:
    """What there is nothing left of to put back: a role or database that was dropped since."""
    role, name = entry.get("role"), entry.get("database")
    if not database or not (role or name):
        return None
    there = database.snapshot([], role, name)
    if (role and not there["roles"]) or (name and not there["databases"]):
        return f"the {'role' if role else 'database'} {role or name} does not exist any more"
    return None
