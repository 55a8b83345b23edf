# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server log: where a server of this host writes its log."""

from __future__ import annotations

import glob
import os
import typing as t

from ._database import Database
from ._errors import Failure

_WHERE = """
    SELECT json_build_object('current', pg_current_logfile(), 'data', current_setting('data_directory'),
        'pid', pg_backend_pid())
"""
_OWN_PROCESS = "SELECT json_build_object('current', NULL, 'data', NULL, 'pid', pg_backend_pid())"


#: Where Debian's postgresql-common has the standard error of a cluster's service, postgresql@VERSION-NAME.
_OF_DEBIAN = "/var/log/postgresql/postgresql-{}.log"


class Place(t.NamedTuple):
    """The file that is written now, and whether the server rotates it itself; or the *reason* why it is not known.

    *unit* is the service whose standard error systemd's journal takes.
    """

    path: str | None
    reason: str | None = None
    collector: bool = False
    unit: str | None = None

    def rotated(self) -> list[str]:
        """The file and what was rotated away from it."""
        path = str(self.path)
        if self.collector:
            return [os.path.dirname(path)]
        return sorted({path, *glob.glob(f"{glob.escape(path)}.*"), *glob.glob(f"{glob.escape(path)}-*")})


def place(database: Database, local: bool) -> Place:
    """By the server's own word, else where its standard error goes; *local* says whether it runs on this host."""
    if not local:
        return Place(None, "the server is on another host; give log_files, or run on that host")
    try:
        found = database.ask("asking for the log file", _WHERE)
    except Failure:  # both are for members of pg_monitor
        found = database.ask("asking for the process", _OWN_PROCESS)
    if found["current"]:
        return Place(os.path.join(found["data"], found["current"]), collector=True)
    return standard_error(found["pid"])


def standard_error(pid: int) -> Place:
    """The file that a server process writes its standard error to, as packages of Debian and Ubuntu have it."""
    try:
        path = os.readlink(f"/proc/{pid}/fd/2")
    except OSError as error:  # in a container also root may not
        unit = _unit(pid) or ""
        path = _OF_DEBIAN.format(unit[len("postgresql@") : -len(".service")])
        if os.path.isfile(path):
            return Place(path)
        reason = f"the server's standard error cannot be looked at ({error.strerror})"
        return Place(None, reason, unit=unit or None)
    if os.path.isfile(path):
        return Place(path)
    reason = f"the server's standard error goes to {path.partition(':')[0]}"
    return Place(None, reason, unit=_unit(pid) if path.startswith("socket:") else None)


def _unit(pid: int) -> str | None:
    """The service of systemd's that a process belongs to, by the name of its control group."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as lines:
            names = [line.strip().rpartition("/")[2] for line in lines]
    except OSError:
        return None
    return next((name for name in names if name.endswith(".service")), None)
