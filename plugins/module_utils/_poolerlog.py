# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pooler log: where the PgBouncer and HAProxy processes of this host write their logs."""

from __future__ import annotations

import os
import re
import typing as t

from . import _serverlog

_PGBOUNCER, _HAPROXY = "pgbouncer", "haproxy"
#: Where rsyslog puts what HAProxy sends to /dev/log, as the packages of Debian and Red Hat have it.
_OF_HAPROXY = "/var/log/haproxy.log"
_INCLUDE = re.compile(r"\s*%include\s+(\S+)")
_LOGFILE = re.compile(r"\s*logfile\s*=\s*(.*?)\s*$")
_MOST_INCLUDES = 20


class Found(t.NamedTuple):
    """Files of logs, services of systemd whose journal has them, and a line for each process whose log is not known."""

    files: list[str]
    units: list[str]
    problems: list[str]


def logs(proc: str = "/proc", of_haproxy: str = _OF_HAPROXY) -> Found:
    """By the processes that run now, and their configuration; those in containers have hosts of their own."""
    found = Found([], [], [])
    for pid in sorted(int(entry) for entry in os.listdir(proc) if entry.isdigit()) if os.path.isdir(proc) else []:
        own = os.path.join(proc, str(pid))
        name = _read(os.path.join(own, "comm")).strip() if _shares(own, "net") else ""
        if name == _PGBOUNCER:
            _add(found, pid, own, name, _of_pgbouncer(own))
        elif name == _HAPROXY:
            _add(found, pid, own, name, of_haproxy if os.path.isfile(of_haproxy) else None)
    return found


def _add(found: Found, pid: int, own: str, name: str, path: str | None) -> None:
    """The log at *path*, or what the process writes to its standard error, or the journal of its service."""
    place = _serverlog.Place(path) if path and os.path.isfile(path) else _serverlog.standard_error(pid)
    if place.path:
        found.files.extend(one for one in place.rotated() if one not in found.files)
    elif place.unit:
        found.units.extend(one for one in [place.unit] if one not in found.units)
    elif name == _PGBOUNCER:  # of HAProxy one process of several tells
        found.problems.append(f"the log of {name}, process {pid}: {path or 'it has no logfile'}, {place.reason}")


def _of_pgbouncer(own: str) -> str | None:
    """The setting logfile, as this process sees it and as it is seen from here."""
    arguments = _read(os.path.join(own, "cmdline")).split("\0")[1:]
    names = [argument for argument in arguments if argument.endswith(".ini")]
    path = _logfile(own, names[-1], _MOST_INCLUDES) if names else None
    return _from_here(own, path) if path else None


def _logfile(own: str, name: str, most: int) -> str | None:
    """The last word of a configuration file and of those that it includes."""
    path = None
    for line in _read(_from_here(own, name)).splitlines():
        include, setting = _INCLUDE.match(line), _LOGFILE.match(line)
        if include and most:
            path = _logfile(own, include[1], most - 1) or path
        elif setting:
            path = setting[1] or None
    return path


def _from_here(own: str, name: str) -> str:
    """A path of the process, which may have another root, as services of systemd do, and another working directory."""
    if not os.path.isabs(name):
        name = os.path.join(_link(os.path.join(own, "cwd")) or "/", name)
    return name if _shares(own, "mnt") else os.path.join(own, "root", name.lstrip("/"))


def _shares(own: str, namespace: str) -> bool:
    here = os.path.join(os.path.dirname(own), "self")
    return _link(os.path.join(own, "ns", namespace)) == _link(os.path.join(here, "ns", namespace))


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""  # it has ended, or is hidden from us
