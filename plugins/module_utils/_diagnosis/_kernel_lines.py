# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel lines, a pure room: the kernel's own log of a server's host, which says whom it killed for want of memory."""

from __future__ import annotations

import json
import re
import typing as t

from . import _lines
from ._clock import Clock
from ._lines import Format, Record

# As dmesg has them (plain, with -T, with --time-format iso), kern.log (old and new stamps), and journalctl -k.
_UPTIME = r"\[ *\d+\.\d+\] "
_DAY, _ZONE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", r"(?:Z|[+-]\d\d:?\d\d)"
_OLD = r"[A-Z]\w\w [ \d]\d \d\d:\d\d:\d\d"
_LINE = re.compile(
    rf"(?:<\d+>)?(?:{_UPTIME}|\[[A-Z]\w\w {_OLD} \d{{4}}\] |(?P<iso>{_DAY},\d+{_ZONE}) "
    rf"|(?:(?P<time>{_DAY}(?:\.\d+)?{_ZONE})|{_OLD}) \S+ kernel: (?:{_UPTIME})?)"
)
#: Lines of something else, where a line without a time belongs to the one before.
_OTHER = re.compile(rf"(?:<\d+>)?(?:{_DAY}|{_OLD}|{{)")
_KILLED = re.compile(rb"Kill(?:ed)? process \d")


def recognised(lines: t.Sequence[str], prefix: str | None, clock: Clock) -> Format | None:
    """As `_lines.recognised`; also for a log that has the kernel's lines alone."""
    found = _lines.recognised(lines, prefix, clock)
    if found:
        return found
    lines = lines[:-1] or lines  # the last may be cut
    others = [line for line in lines if not _read(line)]
    if len(others) > len(lines) / 2 or any(map(_OTHER.match, others)):
        return None
    return Format("kernel", _KILLED, _reader(clock)) if lines else None


def _reader(clock: Clock) -> t.Callable[[str], Record | None]:
    def read(line: str) -> Record | None:
        said = _read(line)
        if not said:
            return None
        stamp, message = said
        time = stamp if isinstance(stamp, float) else clock.read(stamp.replace(",", "."))
        return Record("LOG", message, time)

    return read


def _read(line: str) -> tuple[str | float, str] | None:
    """When the kernel said what; the time as it has it, or in seconds. None if it is no line of the kernel."""
    found = _LINE.match(line)
    if found:
        return found["time"] or found["iso"] or "", line[found.end() :]
    try:
        said = json.loads(line)
        if said["_TRANSPORT"] == "kernel":
            return int(said["__REALTIME_TIMESTAMP"]) / 1e6, str(said["MESSAGE"])
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return None
