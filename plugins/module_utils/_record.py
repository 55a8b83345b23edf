# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record: what was found before the first hardening of a host, kept as JSON in the revert file.

A second hardening adds what it newly touches and keeps what is there, so the way back always leads to the beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import typing as t

from . import _files
from ._errors import Failure
from ._layers._layer import Outcome
from ._layers._os import OsLayer, content_of
from ._layers._places import ConfigFile, OfRole
from ._layers._server import ServerLayer
from ._login import Login

_ROOT_DIRECTORY = "/var/lib/pgharden-connection"
_FORMAT = 1
#: What each entry has at least, by its layer.
_KEYS = {"os": ("sysctl_file", "content", "mode", "directory", "live", "sha256"), "server": ("values",)}

Entry = t.Dict[str, t.Any]


def path_for(login: Login) -> str:
    """The revert file of a server: one for each host and port that a user hardens from here."""
    directory = _ROOT_DIRECTORY
    if os.geteuid() != 0:
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        directory = os.path.join(state, "pgharden-connection")
    host = re.sub(r"[^A-Za-z0-9.-]+", "_", login.unix_socket or login.host or "local").strip("_")
    return os.path.join(directory, f"{host}-{login.port}.json")


def record(path: str, outcomes: list[Outcome]) -> t.Callable[[], None]:
    """Note what was found by layers that are about to change; what an older record says stays.

    Gives what makes the record what it was, for a run that in the end has changed nothing.
    """
    before = _files.read(path)
    entries = load(path) or []
    for outcome in outcomes:
        if outcome.changed:
            _merge(entries, _entry(outcome))
    _save(path, entries)
    return lambda: _files.remove(path) if before is None else _files.replace(path, before)


def load(path: str) -> list[Entry] | None:
    """The record, or None where there is none."""
    data = _files.read(path)
    if data is None:
        return None
    try:
        content = json.loads(data)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']}")
        for entry in content["layers"]:
            missing = [key for key in _KEYS[entry["layer"]] if key not in entry]
            if missing:
                raise ValueError(f"it has no {missing[0]}")
        return t.cast("list[Entry]", content["layers"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(
            "bad_revert_file",
            f"reading the revert file {path}",
            f"it cannot be read: {error}",
            "Move it away; what it recorded has to be put back by hand.",
        ) from error


def _entry(outcome: Outcome) -> Entry:
    """What there was, and for a file which contents of it are none of anybody else's: before and after this run."""
    layer, found = outcome.layer, outcome.found
    if isinstance(layer, OsLayer):
        kept = {key: found[key] for key in ("sysctl_file", "content", "mode", "directory")}
        live = {key: {"value": one["value"]} for key, one in found["live"].items()}
        return {"layer": "os", **kept, "live": live, "sha256": _either(content_of(found), layer.planned(found))}
    server = t.cast(ServerLayer, layer)
    entry: Entry = {"layer": "server", "values": found["values"]}
    place = server.place
    if isinstance(place, OfRole):
        return {**entry, "role": place.role, "database": place.name}
    if isinstance(place, ConfigFile):
        hashes = _either(content_of(found), place.planned(found, server.unwritten(found)))
        return {**entry, "path": place.path, "content": found["content"], "sha256": hashes}
    return entry


def _merge(entries: list[Entry], new: Entry) -> None:
    """Add *new*; of what an older entry of the same place has, the older one stays."""
    for old in entries:
        if old["layer"] == new["layer"] == "os":
            # The kernel's values do not belong to one file.
            new["live"] = {key: one for key, one in new["live"].items() if key not in old["live"]}
        if all(old.get(key) == new.get(key) for key in ("layer", "role", "database", "path", "sysctl_file")):
            for key in ("values", "live"):
                if key in old:
                    old[key] = {**new[key], **old[key]}
            if "sha256" in old:
                # Others have edited the file between two runs: from then on it is never put back whole.
                old["sha256"] = new["sha256"] if new["sha256"][0] in old["sha256"] else []
            return
    entries.append(new)


def _save(path: str, entries: list[Entry]) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise Failure(
            "no_directory", f"writing the revert file {path}", str(error.strerror), "Choose another revert_file."
        ) from error
    data = json.dumps({"format": _FORMAT, "layers": entries}, indent=1, sort_keys=True)
    _files.replace(path, data.encode() + b"\n", mode=0o600)


def _either(before: bytes | None, after: bytes | None) -> list[str | None]:
    return [sha256(before), sha256(after)]


def sha256(data: bytes | None) -> str | None:
    """The hash that an entry has of a file; None where there is none."""
    return None if data is None else hashlib.sha256(data).hexdigest()
