# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record: what was found before the first hardening of a host, kept as JSON in the revert file.

A second hardening adds what it newly touches and keeps what is there, so the way back always leads to the beginning.
"""

from __future__ import annotations

import json
import os
import typing as t

from . import _files
from ._errors import Failure
from ._layers._layer import Outcome

_FORMAT = 1
#: What each entry has at least, by its layer.
_KEYS = {
    "os": ("sysctl_file", "content", "mode", "directory", "live", "sha256"),
    "server": ("values",),
    "patroni": ("values", "raw", "parents", "options"),
    **dict.fromkeys(("pgbouncer", "haproxy", "client"), ("files", "options")),
}

Entry = t.Dict[str, t.Any]


def record(path: str, outcomes: list[Outcome]) -> t.Callable[[], None]:
    """Note what was found by layers that are about to change; what an older record says stays.

    Gives what makes the record what it was, for a run that in the end has changed nothing.
    """
    before = _files.read(path)
    entries = load(path) or []
    for outcome in outcomes:
        entry = outcome.layer.entry(outcome.found) if outcome.changed else None
        if entry:
            _merge(entries, entry)
    if entries:
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


def together(records: t.Iterable[list[Entry] | None]) -> list[Entry]:
    """The entries of several records of one host.

    Its kernel's settings are everybody's: they go back to what the first of the programs found.
    """
    entries: list[Entry] = []
    for entry in sorted((one for record in records for one in record or ()), key=lambda one: one.get("time", 0.0)):
        if entry["layer"] == "os":
            _merge(entries, entry)
        else:
            entries.append(entry)
    return entries


def _merge(entries: list[Entry], new: Entry) -> None:
    """Add *new*; of what an older entry of the same place has, the older one stays."""
    for old in entries:
        if "files" in new and old["layer"] == new["layer"]:
            _merge_files(old["files"], new["files"])
            old["options"] = _merge_options(old["options"], new["options"])
            return
        if old["layer"] == new["layer"] == "os":
            # The kernel's values do not belong to one file.
            new["live"] = {key: one for key, one in new["live"].items() if key not in old["live"]}
        if all(old.get(key) == new.get(key) for key in ("layer", "role", "database", "path", "sysctl_file")):
            for key in ("values", "raw", "live"):
                if key in old:
                    old[key] = {**new[key], **old[key]}
            if "sha256" in old:
                old["sha256"] = _known(old, new)
            return
    entries.append(new)


def _merge_files(old: dict[str, Entry], new: dict[str, Entry]) -> None:
    for path, one in new.items():
        if path in old:
            old[path]["sha256"] = _known(old[path], one)
        else:
            old[path] = one


def _merge_options(old: Entry, new: Entry) -> Entry:
    """Those of the last run; lists name what there is to undo and grow."""
    united = {key: list(dict.fromkeys([*old.get(key, []), *one])) for key, one in new.items() if isinstance(one, list)}
    return {**new, **united}


def _known(old: Entry, new: Entry) -> list[str | None]:
    """Where others have edited the file between two runs, it is from then on never put back whole."""
    return new["sha256"] if new["sha256"][0] in old["sha256"] else []


def _save(path: str, entries: list[Entry]) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise Failure(
            "no_directory", f"writing the revert file {path}", str(error.strerror), "Choose another revert_file."
        ) from error
    data = json.dumps({"format": _FORMAT, "layers": entries}, indent=1, sort_keys=True)
    _files.replace(path, data.encode() + b"\n", mode=0o600)
