# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server log: where a server of this host writes its log."""

from __future__ import annotations

import contextlib
import glob
import os
import re
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


#: The title of the logging collector's process.
_LOGGER = re.compile(r"postgres: (?:.*: )?logger\b")


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
    first = database.peer()
    if found["current"]:
        return Place(_from_here(first, os.path.join(found["data"], found["current"])), collector=True)
    # The number that the server knows itself by is one of its own container, if it is in one.
    pid = first or found["pid"]
    if not _runs(pid):
        return Place(None, "the server's processes cannot be seen from here; give log_files (of docker logs, say)")
    path = _of_collector(pid)
    return Place(path, collector=True) if path else standard_error(pid)


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
    path = _from_here(pid, path)
    if os.path.isfile(path):
        return Place(path)
    reason = f"the server's standard error goes to {path.partition(':')[0]}"
    return Place(None, reason, unit=_unit(pid) if path.startswith("socket:") else None)


def _runs(pid: int) -> bool:
    """Whether there is a process of PostgreSQL's with this number here."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip() in ("postgres", "postmaster")
    except OSError:
        return False


def _from_here(pid: int | None, path: str) -> str:
    """A path of process *pid*, which may have other mounts than we, as one in a container has."""
    theirs = f"/proc/{pid}/root{path}"
    if not pid or not path.startswith("/") or not os.path.exists(theirs):
        return path
    return path if os.path.exists(path) and os.path.samefile(path, theirs) else theirs


def _of_collector(pid: int) -> str | None:
    """The text file that the logging collector writes, for logins that may not ask: as Red Hat and SUSE log."""
    first = pid if not _title(pid).startswith("postgres: ") else _parent(pid)
    for entry in filter(str.isdigit, os.listdir("/proc")):
        if _parent(int(entry)) == first and _LOGGER.match(_title(int(entry))):
            for name in _names(f"/proc/{entry}/fd"):
                with contextlib.suppress(OSError):
                    path = _from_here(int(entry), os.readlink(f"/proc/{entry}/fd/{name}"))
                    # Not what it was started with: there its own standard error goes.
                    if int(name) > 2 and os.path.isfile(path) and not path.endswith((".csv", ".json")):
                        return path
    return None


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _title(pid: int) -> str:
    """What a process calls itself; the servers' are ``postgres: cluster: logger``."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as words:
            return os.fsdecode(words.read().rstrip(b"\0 "))
    except OSError:
        return ""


def _parent(pid: int | None) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as fields:
            return int(fields.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _unit(pid: int) -> str | None:
    """The service of systemd's that a process belongs to, by the name of its control group."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as lines:
            names = [line.strip().rpartition("/")[2] for line in lines]
    except OSError:
        return None
    return next((name for name in names if name.endswith(".service")), None)
