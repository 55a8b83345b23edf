# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Default sockets: where servers of this host listen for a login that names no place.

libpq looks in one directory only, the one that it was built for: /run/postgresql in the packages of all distributions,
/tmp if it was built from source. Servers of the PostgreSQL project's packages for Red Hat and SUSE listen in both.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
import typing as t

DIRECTORIES = ("/run/postgresql", "/tmp")
_SOCKET = re.compile(r"\.s\.PGSQL\.(\d+)")
_PLACES = ("host", "hostaddr", "service")
_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE")


def others(
    conninfo: t.Mapping[str, t.Any], environment: t.Mapping[str, str], directories: t.Sequence[str] = DIRECTORIES
) -> list[dict[str, t.Any]]:
    """Where else to look for a server that *conninfo* names no place for, as keywords of libpq.

    In a directory where everybody may make a socket, only a server that runs as ``postgres`` or as the present user is
    taken for one, and libpq is told to make sure of it (``requirepeer``): the login may carry a password.
    """
    if any(conninfo.get(name) for name in _PLACES) or any(environment.get(name) for name in _VARIABLES):
        return []
    found = []
    for directory in directories:
        with contextlib.suppress(OSError, KeyError):
            status = os.lstat(os.path.join(directory, f".s.PGSQL.{conninfo['port']}"))
            owner = pwd.getpwuid(status.st_uid).pw_name
            place = {"host": directory}
            if os.stat(directory).st_mode & stat.S_IWOTH:
                if status.st_uid != os.geteuid() and owner != "postgres":
                    continue
                place["requirepeer"] = owner
            if stat.S_ISSOCK(status.st_mode):
                found.append(place)
    return found


def there(directories: t.Sequence[str] = DIRECTORIES) -> list[str]:
    """The sockets that servers have in the usual places, for an error message."""
    found = []
    for directory in directories:
        with contextlib.suppress(OSError):
            names = sorted(filter(_SOCKET.fullmatch, os.listdir(directory)))
            found += [f"{directory}, port {name.rpartition('.')[2]}" for name in names]
    return found
