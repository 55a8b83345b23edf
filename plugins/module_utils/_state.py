# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""State: where what is noted about a host lies, on that host. It knows no layer, so that looking costs little."""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ._login import Login

_ROOT_DIRECTORY = "/var/lib/pgharden-connection"


def path_for(login: Login) -> str:
    """The revert file of a server: one for each host and port that a user hardens from here."""
    return os.path.join(_directory(), f"{_slug(login.unix_socket or login.host or 'local')}-{login.port}.json")


def path_of(program: str, place: str) -> str:
    """The revert file of another program than the server, configured at *place*, a path."""
    return os.path.join(_directory(), f"{program}@{_slug(place)}.json")


def paths_of(programs: t.Iterable[str]) -> list[str]:
    """The revert files there are of these programs."""
    places = os.path.join(glob.escape(_directory()), "{}@*.json")
    return sorted(path for program in programs for path in glob.glob(places.format(program)))


def _directory() -> str:
    if os.geteuid() == 0:
        return _ROOT_DIRECTORY
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "pgharden-connection")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_")
