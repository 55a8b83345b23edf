# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of a drill: a child process with one connection, as the drill holds it; what it does there is in `_child`.

It ends when the drill does, however that ends, and its connection with it. Its kernel then says goodbye to the server.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
import typing as t

from .. import _channel, _signals
from ._child import serve
from ._connection import Job

Event = t.Dict[str, t.Any]


class Client:
    """The drill's end of a client. Events are read with `receive`, commands given with `tell`."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._channel, other = socket.socketpair()
        # The child leaves them blocked: they may go to the whole group, and the drill tidies up in order.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, _signals.ENDING)
        self.pid = os.fork()
        if self.pid == 0:
            serve(other, job)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        other.close()
        self._held = contextlib.ExitStack()
        self._held.enter_context(self._channel)

    def connect(self) -> None:
        """Have it log in, once it is ready."""
        if self.job.link:
            # The network is to outlive the process: one that has forgotten a flow still answers, with RST.
            self._held.callback(os.close, os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY))
            self.job.link.connect(self.pid)
        self.tell("connect")

    def receive(self) -> t.Iterator[Event]:
        """The events that have come by now."""
        while self.pid and select.select([self._channel], [], [], 0)[0]:
            event = _channel.read(self._channel)
            if event is None:
                self._reap()
                return
            yield event

    def tell(self, command: str, *arguments: float) -> None:
        """Have the client do something; one that has ended is past caring."""
        with contextlib.suppress(OSError):
            _channel.send(self._channel, {"do": command, "arguments": arguments})

    def kill(self) -> None:
        """As a crash, the out-of-memory killer or kill -9 do."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def end(self, patience: float) -> None:
        """Have it say goodbye, or kill it."""
        self.tell("end")
        deadline = time.monotonic() + patience
        while self.pid and time.monotonic() < deadline:
            for _event in self.receive():
                pass
            time.sleep(0.005)
        self.kill()
        self._held.close()

    def _reap(self) -> None:
        os.waitpid(self.pid, 0)
        self.pid = 0
