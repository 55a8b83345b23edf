# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture: tcpdump catches packets, this room takes their payload off and keeps the newest of them in a ring of files.

tcpdump writes to a pipe, never to a file. Hence no payload is ever on a disk (a snap length alone cannot cut where each
TCP header ends), tcpdump needs no right to any directory, and a ring by size and by time is one ring.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import tempfile
import time
import typing as t

from .. import _signals
from .._errors import Failure
from ._records import Scope, Stream
from ._ring import Full, Ring, need_room
from ._tcpdump import Tcpdump, command_line, explained, try_out
from ._wish import Wish, check

_PARENT = "/var/tmp"
_START_SECONDS = 30.0
#: The kernel hands packets on in blocks, and keeps one that is not full for a second; the rest is for a busy host.
_LINGER_SECONDS = 2.0


def run(wish: Wish, check_mode: bool) -> dict[str, t.Any]:
    """Capture; what a user is told of it. In check mode, find out whether it would be possible."""
    check(wish)
    scope = Scope(wish)
    asked = f"capture on {wish.interface}"
    command = command_line(asked, wish)
    plan = {
        "changed": True,
        "filter": scope.expression,
        "interface": wish.interface,
        "payload": wish.payload,
        "room": wish.file_size * wish.files,
    }
    try:
        if check_mode:
            directory = os.path.abspath(wish.directory or _PARENT)
            _need_room_to_begin(asked, directory if os.path.isdir(directory) else os.path.dirname(directory), wish)
            try_out(asked, [*command, "-d", scope.expression])
            return plan
        with _signals.noted() as signals, _directory(asked, wish) as directory:
            return {**plan, "directory": directory, **_capture(asked, command, wish, scope, directory, signals)}
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise Failure(
            "capture_failed", asked, f"{os.strerror(error.errno or 0)}{place}", "Look at the directory and its disk."
        ) from error


def _capture(
    asked: str, command: list[str], wish: Wish, scope: Scope, directory: str, signals: list[signal.Signals]
) -> dict[str, t.Any]:
    with contextlib.closing(Ring(wish, directory, Stream(wish, scope))) as ring, contextlib.closing(
        Tcpdump([*command, "-U", "-w", "-", scope.expression])
    ) as tcpdump:
        started = time.monotonic()
        listening: float | None = None  # since when
        last: float | None = None  # when it is to be asked to end
        reason = ""
        full = False
        for chunk in tcpdump.chunks():
            now = time.monotonic()
            try:
                if not full:
                    ring.add(chunk)
            except Full as no_more:
                full, reason, last = True, f"free_{no_more}", now
            if tcpdump.listening and listening is None:
                listening = now
            if listening is None and now - started > _START_SECONDS:
                break
            if not reason and signals:
                reason, last = "signal", now + _LINGER_SECONDS
            elif not reason and listening is not None and now - listening >= wish.seconds:
                reason, last = "time", now + _LINGER_SECONDS
            if last is not None and now >= last:
                tcpdump.end()
    if not reason:
        raise explained(asked, tcpdump.said, files=ring.told())
    return {
        "files": ring.told(),
        "stopped_because": reason,
        "seconds": round(time.monotonic() - (listening or started), 1),
        "packets_captured": tcpdump.counted("captured"),
        "packets_dropped": tcpdump.counted("dropped by kernel"),
        "packets_overwritten": ring.overwritten,
    }


@contextlib.contextmanager
def _directory(asked: str, wish: Wish) -> t.Iterator[str]:
    """The directory to capture to; one that was made for it goes again if it is empty in the end."""
    made = True
    if wish.directory is None:
        directory = tempfile.mkdtemp(prefix="pgharden-capture-", dir=_PARENT)
    else:
        directory = os.path.abspath(wish.directory)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            made = False
            if not os.path.isdir(directory):
                raise NotADirectoryError(errno.ENOTDIR, "", directory) from None
    try:
        _need_room_to_begin(asked, directory, wish)
        yield directory
    finally:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def _need_room_to_begin(asked: str, directory: str, wish: Wish) -> None:
    try:
        need_room(directory, wish.least_free)
    except Full as full:
        raise Failure(
            "disk_full",
            f"{asked} to {directory}",
            f"its file system has too few {full} left (least_free is {wish.least_free >> 20} MB)",
            "Free some, name another directory, or lower least_free.",
        ) from None
