# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems, launchd, a pure room: the property list of a job that sets sysctls when macOS starts, read and edited."""

from __future__ import annotations

import plistlib
import re
import typing as t
import xml.parsers.expat

from .._errors import Failure

LABEL = "pgharden.connection.sysctl"
#: launchd reads this directory when the system starts. A file must be root's and nobody else may write it (0644).
FILE = f"/Library/LaunchDaemons/{LABEL}.plist"
SYSCTL = "/usr/sbin/sysctl"

_ASSIGNMENT = re.compile(r"([a-z0-9_]+(?:\.[a-z0-9_]+)+)=(.*)\Z", re.DOTALL)


def job(settings: t.Mapping[str, int], label: str = LABEL) -> dict[str, t.Any]:
    """A job of launchd.plist(5) that runs once when it is loaded."""
    arguments = [SYSCTL, *(f"{name}={number}" for name, number in sorted(settings.items()))]
    return {"Label": label, "ProgramArguments": arguments, "RunAtLoad": True}


def render(settings: t.Mapping[str, int], label: str = LABEL) -> bytes:
    """The property list as XML."""
    return plistlib.dumps(job(settings, label), sort_keys=False)


def read(data: bytes, asked: str) -> dict[str, t.Any]:
    """A property list that is a job which runs sysctl. Raises Failure ``foreign_file`` for any other."""
    try:
        found = plistlib.loads(data)
    except (plistlib.InvalidFileException, xml.parsers.expat.ExpatError, ValueError, IndexError, TypeError) as error:
        raise _foreign(asked, f"it is no property list: {error}") from error
    arguments = found.get("ProgramArguments") if isinstance(found, dict) else None
    if not isinstance(arguments, list) or not arguments or not all(isinstance(one, str) for one in arguments):
        raise _foreign(asked, "it is no job of launchd with ProgramArguments")
    if arguments[0].rpartition("/")[2] != "sysctl":
        raise _foreign(asked, f"it is a job that runs {arguments[0]}, not sysctl")
    return t.cast("dict[str, t.Any]", found)


def label_of(data: bytes, asked: str) -> str:
    """The name by which launchd knows the job."""
    return str(read(data, asked).get("Label", LABEL))


def lines(data: bytes, asked: str) -> bytes:
    """What the job sets, as lines of a sysctl.conf."""
    matches = map(_ASSIGNMENT.match, read(data, asked)["ProgramArguments"][1:])
    return "".join(f"{match.group(1)}={match.group(2)}\n" for match in matches if match).encode()


def edit(data: bytes | None, settings: t.Mapping[str, int | None], asked: str, label: str = LABEL) -> bytes | None:
    """The job with *settings* in it (None takes one out), all else as it was; None where it would set nothing."""
    if data is None:
        stated = {name: number for name, number in settings.items() if number is not None}
        return render(stated, label) if stated else None
    found = read(data, asked)
    arguments: list[str] = []
    before: dict[str, list[str]] = {}
    for argument in found["ProgramArguments"]:
        match = _ASSIGNMENT.match(argument)
        if match and match.group(1) in settings:
            before.setdefault(match.group(1), []).append(match.group(2))
        else:
            arguments.append(argument)
    if all(before.get(name, []) == ([] if number is None else [str(number)]) for name, number in settings.items()):
        return data
    arguments += [f"{name}={number}" for name, number in sorted(settings.items()) if number is not None]
    if not any(map(_ASSIGNMENT.match, arguments)):
        return None
    return plistlib.dumps({**found, "ProgramArguments": arguments}, sort_keys=False)


def _foreign(asked: str, found: str) -> Failure:
    return Failure("foreign_file", asked, found, "Choose another sysctl_file, or move that file away.")
