# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry: where in a large log to begin, when only what is in it from some time on is wanted."""

from __future__ import annotations

import os
import typing as t

#: So much before that time is read all the same: it says who it was that was lost later.
BEFORE = 256 << 20
#: Places of a file whose times are looked at. They tell where to enter it, and whether its times ascend at all.
_PLACES = 256
#: Lines of several processes may be so many seconds out of order.
_DISORDER = 5.0
#: How far from a place a line with a time is looked for: a statement may be long.
_FAR = 4 << 20
_NEAR = 64 << 10


def enter(log: t.BinaryIO, since: float, time_of: t.Callable[[bytes], float | None], before: int = BEFORE) -> int:
    """Move to a line *before* bytes ahead of *since*; the number of that line, 1 where nothing could be left out.

    *time_of* reads a line's time. Nothing is left out of files whose times do not ascend, or cannot be read.
    """
    size = os.fstat(log.fileno()).st_size
    place = _last_before(log, since, time_of, size) - before if size > before else 0
    line = 1
    if place > 0:
        line = _newlines(log, place) + 1
        log.readline()  # the rest of a line
        line += 1
    else:
        log.seek(0)
    return line


def _last_before(log: t.BinaryIO, since: float, time_of: t.Callable[[bytes], float | None], size: int) -> int:
    """The last of the places before *since*; 0 if there is none, or they are not in the order of time."""
    found = 0
    latest: float | None = None
    for place in range(0, size - _NEAR, max(_NEAR, size // _PLACES)):
        time = _time_at(log, place, time_of)
        if time is None or (latest is not None and time < latest - _DISORDER):
            return 0
        latest = time if latest is None else max(latest, time)
        if latest < since - _DISORDER:
            found = place
    return found


def _time_at(log: t.BinaryIO, place: int, time_of: t.Callable[[bytes], float | None]) -> float | None:
    """The time of the first line behind a place that has one."""
    data = b""
    for length in (_NEAR, _FAR):
        log.seek(place)
        data = log.read(length)
        lines = data.split(b"\n")[1 if place else 0 : -1]
        time = next((time for time in map(time_of, lines) if time is not None), None)
        if time is not None:
            return time
    return None


def _newlines(log: t.BinaryIO, end: int) -> int:
    """How many there are before *end*, where the file then is."""
    log.seek(0)
    count = 0
    while end > 0:
        chunk = log.read(min(end, 1 << 20))
        if not chunk:
            break  # it has become shorter
        count += chunk.count(b"\n")
        end -= len(chunk)
    return count
