# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In force: what is configured on a server and in this host's kernel now, in the form that promises are made from."""

from __future__ import annotations

import dataclasses
import typing as t

from . import _promises
from ._layers import _snapshot
from ._layers._procsys import Live

_OS_KEYS = tuple(field.name for field in dataclasses.fields(_promises.OsValues))


def settings(snapshot: dict[str, t.Any]) -> _promises.Settings:
    """What the server is configured to give new sessions, overrides for single roles and databases aside.

    ALTER ROLE ALL is no such override: it is for every session.
    """
    values: dict[str, int | None] = {}
    for row in snapshot["settings"]:
        name = row["name"]
        if name in _promises.SETTINGS:
            outranked = row["source"] in _snapshot.OUTRANKING
            value = row["reset_val"] if outranked else _snapshot.configured(snapshot, name)
            values[name] = int(value) if value is not None and value.lstrip("-").isdigit() else None
    return dataclasses.replace(_promises.Settings.of(values), **_numbers(_snapshot.overrides_of(snapshot, "", "")))


def _numbers(overrides: t.Mapping[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in overrides.items() if name in _promises.SETTINGS and value.isdigit()}


def of_session(snapshot: dict[str, t.Any], role: str, database: str) -> _promises.Settings:
    """The same, for sessions of *role* in *database*, with the overrides that concern them."""
    own = _numbers(_snapshot.overrides_of(snapshot, role, database))
    return dataclasses.replace(settings(snapshot), **own)


def kernel() -> _promises.OsValues:
    """The values of this network namespace; Linux's defaults for what cannot be read."""
    live = Live("/proc/sys")
    values = {key: live.read(f"net.ipv4.{key}")["value"] for key in _OS_KEYS}
    return _promises.OsValues(**{key: int(value) for key, value in values.items() if value is not None})


def platform(build: str) -> str:
    """The operating system in the text of version(): the server's, which need not be that of this host."""
    for mark, name in (("linux", "linux"), ("darwin", "darwin"), ("mingw", "windows"), ("visual", "windows")):
        if mark in build.lower():
            return name
    return "freebsd" if "bsd" in build.lower() else "other"
