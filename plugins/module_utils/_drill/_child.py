# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Child of a drill: the process that has the connection, obeys the drill, and can be killed."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
import typing as t

from .. import _channel
from .._errors import Failure
from . import _namespace
from ._connection import Connection, Job


def serve(channel: socket.socket, job: Job) -> t.NoReturn:
    """The child. Never returns."""
    try:
        _keep_only(channel.fileno())
        _Child(channel, job).obey()
    finally:
        os._exit(0)  # the parent's exit handlers and buffers are not the child's to run


def _keep_only(handle: int) -> None:
    """Close what was inherited: the drill's end of another client's channel would keep that alive without it."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != handle:
            with contextlib.suppress(OSError):
                os.close(int(name))


class _Child:
    """Obeys commands in the main thread; what may block for ever, libpq, is in the other."""

    def __init__(self, channel: socket.socket, job: Job) -> None:
        self._channel = channel
        self._job = job
        self._lock = threading.Lock()
        self._connection = Connection(job, self._say, self._aside)

    def obey(self) -> None:
        connection = self._connection
        commands: dict[str, t.Callable[..., None]] = {
            "connect": lambda: self._aside(connection.connect),
            "enter": lambda: self._aside(connection.enter),
            "fault": connection.fault,
            "heal": self._heal,
            "use": connection.use,
            "end": self._end,
        }
        if self._job.link:
            _namespace.leave()
        self._say("ready")
        while True:
            # Of a drill that was killed there is nothing more to read.
            command = _channel.read(self._channel) or {"do": "end", "arguments": []}
            try:
                commands[command["do"]](*command["arguments"])
            except Exception as error:
                self._report(error)

    def _say(self, event: str, **details: t.Any) -> None:
        with self._lock:
            _channel.send(self._channel, {"event": event, "at": time.monotonic(), **details})

    def _report(self, error: Exception) -> None:
        found = error.found if isinstance(error, Failure) else " ".join(str(error).split()) or type(error).__name__
        with contextlib.suppress(OSError):
            self._say("error", found=found, sqlstate=getattr(error, "pgcode", None))

    def _aside(self, action: t.Callable[[], None]) -> None:
        def run() -> None:
            try:
                action()
            except Exception as error:
                self._report(error)

        threading.Thread(target=run, daemon=True).start()

    def _heal(self, at: float = 0.0) -> None:
        # Waited for here, where nothing delays it; only the end of the drill cuts it short.
        select.select([self._channel], [], [], max(0.0, at - time.monotonic()))
        self._connection.mend()
        self._say("healed")

    def _end(self) -> None:
        try:
            self._connection.close()
        finally:
            os._exit(0)
