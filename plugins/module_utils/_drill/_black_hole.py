# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Black hole: an address of this host that answers no SYN, for the phase connecting."""

from __future__ import annotations

import contextlib
import select
import socket

from .._errors import Failure


class BlackHole:
    """As a host that is gone: a listener whose queue is full. *address* is where it does not answer."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._fillers: list[socket.socket] = []
        for _turn in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(self.address)
            self._fillers.append(filler)
            if not select.select([], [filler], [], 0.3)[1]:
                return
        raise Failure("unexpected", "filling a queue", "connections are still taken", "Report this as a bug.")
