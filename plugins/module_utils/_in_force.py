# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In force: what is configured on a server and in this host's kernel now, in the form that promises are made from."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from . import _settings
from ._layers import _snapshot
from ._layers._procsys import Live
from ._systems import _table

_OS_KEYS = tuple(field.name for field in dataclasses.fields(_settings.OsValues) if field.name != "system")


def settings(snapshot: dict[str, t.Any]) -> _settings.Settings:
    """What the server is configured to give new sessions, overrides for single roles and databases aside.

    ALTER ROLE ALL is no such override: it is for every session.
    """
    values: dict[str, int | None] = {}
    for row in snapshot["settings"]:
        name = row["name"]
        if name in _settings.SETTINGS:
            outranked = row["source"] in _snapshot.OUTRANKING
            value = row["reset_val"] if outranked else _snapshot.configured(snapshot, name)
            values[name] = int(value) if value is not None and value.lstrip("-").isdigit() else None
    return dataclasses.replace(_settings.Settings.of(values), **_numbers(_snapshot.overrides_of(snapshot, "", "")))


def _numbers(overrides: t.Mapping[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in overrides.items() if name in _settings.SETTINGS and value.isdigit()}


def of_session(snapshot: dict[str, t.Any], role: str, database: str) -> _settings.Settings:
    """The same, for sessions of *role* in *database*, with the overrides that concern them."""
    own = _numbers(_snapshot.overrides_of(snapshot, role, database))
    return dataclasses.replace(settings(snapshot), **own)


def kernel() -> _settings.OsValues:
    """The values of this host, of this network namespace on Linux; the system's defaults for what cannot be read."""
    system = this_system()
    if system in ("darwin", "freebsd"):
        from ._layers import _bsd  # no other system needs it

        names = _table.SYSTEMS[system].names
        return _settings.OsValues.of_system(system, _bsd.Program().values(names))
    live = Live("/proc/sys")
    values = {key: live.read(f"net.ipv4.{key}")["value"] for key in _OS_KEYS}
    return _settings.OsValues(**{key: int(value) for key, value in values.items() if value is not None})


def kernel_of(snapshot: dict[str, t.Any] | None, elsewhere: bool = False) -> _settings.OsValues:
    """The same for the server's host: of one that is *elsewhere*, as one of another system is, its defaults."""
    system = platform(snapshot["build"]) if snapshot else this_system()
    return kernel() if system == this_system() and not elsewhere else _settings.OsValues.of_system(system)


def foreseen(values: _settings.OsValues, settings: t.Mapping[str, int]) -> _settings.OsValues:
    """The same once the sysctls of *settings*, in the names and units of the host, are in force."""
    read = _table.arithmetic(values.system).read(settings)
    parts = {_FIELD[part]: value for part, value in read.items()}
    if values.system == "linux" and "net.ipv4.tcp_retries2" in settings:
        parts["tcp_retries2"] = settings["net.ipv4.tcp_retries2"]
    return dataclasses.replace(values, **parts)


_FIELD = {"idle": "tcp_keepalive_time", "interval": "tcp_keepalive_intvl", "count": "tcp_keepalive_probes"}


def this_system() -> str:
    """The operating system of this host, as `platform` calls the server's."""
    name = os.uname().sysname.lower()
    return name if name in _table.SYSTEMS else "other"


def platform(build: str) -> str:
    """The operating system in the text of version(): the server's, which need not be that of this host."""
    marks = ("linux", "linux"), ("darwin", "darwin"), ("mingw", "windows"), ("visual", "windows"), ("msvc", "windows")
    # The other BSDs have settings and units of their own.
    for mark, name in (*marks, ("freebsd", "freebsd")):
        if mark in build.lower():
            return name
    return "other"
