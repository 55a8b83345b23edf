# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems, sysctl, a pure room: what the program sysctl of Linux, FreeBSD and macOS prints."""

from __future__ import annotations

import re
import typing as t

# name: value (BSD), name = value (Linux), name=value (-e), and name: before -> after where one was set
_LINE = re.compile(r"([A-Za-z0-9_.*/-]+)(?:: ?| ?= ?)(.*)\Z")


class Reading(t.NamedTuple):
    """One line of output: *before* is the former value where the line tells of a change."""

    name: str
    value: str
    before: str | None = None


def readings(output: str) -> list[Reading]:
    """The values of any output of sysctl; lines that tell of no value are left out."""
    found = []
    for line in output.splitlines():
        match = _LINE.match(line.strip())
        if not match or match.group(1) == "sysctl":
            continue
        before, arrow, after = match.group(2).partition(" -> ")
        found.append(Reading(match.group(1), after, before) if arrow else Reading(match.group(1), before))
    return found


def values(output: str) -> dict[str, str]:
    """The same as a mapping; the last line of a name counts."""
    return {reading.name: reading.value for reading in readings(output)}


def is_unknown(errors: str) -> bool:
    """Whether sysctl's complaint is that this kernel does not have the setting."""
    return bool(re.search(r"unknown oid|No such file or directory|name .* in .* is unknown", errors))
